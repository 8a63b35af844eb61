"""Base, rag, tuned and hybrid on the same golden questions; the gates that block a release; the report card."""
