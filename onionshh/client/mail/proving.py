"""Looks for proofs of work, off the event loop, one at a time for the whole node (SPEC 15).

A proof is looked for in small pieces, so that it can be cancelled between two of them, and so that others who
need a thread get one. A node that has much to prove must not slow down the program that it serves.
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
"""Told now and then, and at the end: the seconds and tries since it was told last."""


async def prove(
    context: Context, task: bytes, effort: int, told: Worked = lambda seconds, tries: None
) -> bytes:
    """A nonce that holds for this task and effort. ValueError if the effort is more than we ever pay."""
    if effort > EFFORT_MOST:
        raise ValueError(f"a proof of {effort} tries is more than a node looks for")
    async with context.shared.proving:
        search = Search(task, effort, context.chance.bytes)
        since, tries = context.clock.monotonic(), 0
        while not search.found:
            await context.run_long(partial(search.look, PIECE_TRIES))
            now = context.clock.monotonic()
            if search.found or now >= since + TELL_SECONDS:
                told(now - since, search.tries - tries)
                since, tries = now, search.tries
    return search.nonce
