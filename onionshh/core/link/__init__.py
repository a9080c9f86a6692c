"""One link between two nodes, and the cells that wait for it."""
