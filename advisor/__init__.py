"""RAG, fine-tuning, or both? Rules with reasons, costs with dated prices; from flags or from the project's evidence."""
