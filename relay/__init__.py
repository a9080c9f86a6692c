"""A relay: forwards cells, serves handshakes, and lets roles be mounted on it. Knows nothing of rendezvous."""
