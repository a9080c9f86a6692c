"""A client's circuit, and the messages of its layers."""
