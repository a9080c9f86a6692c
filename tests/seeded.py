"""A seeded source of random bytes, for everything that takes `RandomBytes`."""

from __future__ import annotations

from random import Random

from onionshh.ids import RandomBytes


def seeded(seed: int) -> RandomBytes:
    """Random bytes that this seed fixes for ever."""
    return Random(seed).randbytes
