"""Looks for proofs of work, off the event loop, with one thread at a time for the whole node (SPEC 15).

A proof is looked for in small pieces, so that it can be cancelled between two of them, and so that others who
need a thread get one. A node that has much to prove must not slow down the program that it serves.

Proofs take turns, a piece each. A relay may ask for a thousand times the usual work, and a stranger can
choose at which relay an endpoint leaves the receipt for him. Dear proofs must not keep the others waiting.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Final

from onionshh.client.context import Context
from onionshh.core.mailbox.price import EFFORT_MOST
from onionshh.core.mailbox.work import Search

PIECE_TRIES: Final = 128
"""About 20 ms of work."""
TELL_SECONDS: Final = 1.0

Worked = Callable[[float, int], None]
"""Told now and then, and at the end: the seconds of work and the tries since it was told last."""


async def prove(
    context: Context, task: bytes, effort: int, told: Worked = lambda seconds, tries: None
) -> bytes:
    """A nonce that holds for this task and effort. ValueError if the effort is more than we ever pay."""
    if effort > EFFORT_MOST:
        raise ValueError(f"a proof of {effort} tries is more than a node looks for")
    search, clock = Search(task, effort, context.chance.bytes), context.clock
    seconds, tries = 0.0, 0
    while not search.found:
        async with context.shared.proving:
            began = clock.monotonic()
            await context.run_long(partial(search.look, PIECE_TRIES))
            seconds += clock.monotonic() - began
        if search.found or seconds >= TELL_SECONDS:
            told(seconds, search.tries - tries)
            seconds, tries = 0.0, search.tries
    return search.nonce
