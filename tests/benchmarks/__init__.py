"""Measurements, never tests: what onionshh costs, beside C tor and by itself. Start them with `make bench`."""
