"""Delivery: whispers brought over, each once, whatever happens to the circuits below. Pure."""
