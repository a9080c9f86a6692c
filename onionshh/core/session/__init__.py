"""Sessions: what is left of a conversation that holds no circuit, and how it goes on (SPEC 12). Pure."""
