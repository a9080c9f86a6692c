"""One link between two nodes, and what waits for it."""
