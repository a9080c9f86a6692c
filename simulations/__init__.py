"""Experiments on the real machines, by the thousand: what an adversary sees of a network of any size.

Nothing here is shipped or needed to run onionshh. `python -m simulations.exposure` prints figures that
THREATS.md argues with.
"""
