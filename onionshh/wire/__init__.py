"""Layer 0: bytes to values and back. Pure, no keys, no state."""
