"""Measurements, never tests: what onionshh costs, beside C tor and by itself. `make bench` runs them."""
