"""What keeps a hidden endpoint findable, reachable and its whispers on disk."""
