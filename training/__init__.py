"""Pairs to adapter to merged model: QLoRA with a proof at the end."""
