"""Layer 3: sockets, clocks and disk. trio lives here and above."""
