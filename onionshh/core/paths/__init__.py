"""Which relays a circuit uses."""
