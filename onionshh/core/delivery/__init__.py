"""Delivery: every whisper arrives once, whatever happens to the circuits below. Pure."""
