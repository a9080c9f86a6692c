"""A relay: forwards cells, serves handshakes, lets roles be mounted on it. It knows nothing of rendezvous."""
