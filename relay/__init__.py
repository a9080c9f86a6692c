"""A relay: forwards cells, serves handshakes, lets roles be mounted on it. Knows nothing of rendezvous."""
