"""Keeps a hidden endpoint findable and reachable, and its whispers on disk."""
