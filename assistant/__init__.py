"""The hybrid itself: guard, retrieve, prompt, generate, cite."""
