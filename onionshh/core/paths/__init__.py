"""Which relays a circuit takes."""
