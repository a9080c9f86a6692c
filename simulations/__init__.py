"""Experiments with thousands of the real machines: what an adversary sees in a network of any size.

Nothing here is shipped or needed to run onionshh. `python -m simulations.exposure` prints figures that
THREATS.md uses.
"""
