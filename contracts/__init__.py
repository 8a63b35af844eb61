"""What passes between rooms: typed params, pairs, documents, chunks, facts, verdicts, answers, releases.

The ground floor. Everything imports it, it imports no room, and importing it loads no model library.
"""
