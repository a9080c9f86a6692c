"""Layer 2: the protocol's state machines. Pure: bytes and times in, actions out."""
