"""Layer 4, the library's own: a node, the endpoints it hosts and the contacts it makes."""
