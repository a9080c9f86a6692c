"""What makes each run like the last: a seeded source of random bytes, and trio's order of tasks."""

from __future__ import annotations

from random import Random

import trio

from onionshh.ids import RandomBytes


def seeded(seed: int) -> RandomBytes:
    """Random bytes that this seed fixes for ever."""
    return Random(seed).randbytes


def seed_tasks(seed: str) -> None:
    """The order in which trio runs the tasks that are ready, which is drawn, follows from this seed.

    pytest-trio has the order depend on nothing but trio's own `Random`; trio offers no other way to it.
    """
    trio._core._run._r.seed(seed)
