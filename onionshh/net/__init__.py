"""Layer 3: sockets, clocks and disk. Only this layer and the layers above use trio."""
