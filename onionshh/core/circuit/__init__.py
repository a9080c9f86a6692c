"""A client's circuit, and the messages that its layers carry."""
