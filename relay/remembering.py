"""What roles asked to have remembered, in order and bounded (core/roles.py).

The switch puts requests here. The driver takes them out, commits them in a thread and comes back with the
outcome. A stranger's messages may cause requests, so there is a bound. It counts the requests that wait and
those that are being committed.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from onionshh.core.roles import Remember

REMEMBERED_MOST: Final = 256
"""Each holds at most as much as a message: about 4 MiB in all. Past this the answer is `not_remembered`."""
BATCH_MOST: Final = 64
"""Committed together, which costs one sync."""


class Remembering:
    """A queue with a bound, for all roles of a relay."""

    def __init__(self) -> None:
        self._waiting: deque[Remember] = deque()
        self._under_way = 0

    def __len__(self) -> int:
        """How many are not answered yet."""
        return len(self._waiting) + self._under_way

    @property
    def waits(self) -> bool:
        """Whether any waits to be taken."""
        return bool(self._waiting)

    def add(self, asked: Remember) -> bool:
        """Add one. False when there is no room for it."""
        if len(self) >= REMEMBERED_MOST:
            return False
        self._waiting.append(asked)
        return True

    def take(self) -> list[Remember]:
        """What goes into one commit: the oldest, and those right behind it that have the same store."""
        taken: list[Remember] = []
        while self._waiting and len(taken) < BATCH_MOST:
            if taken and self._waiting[0].role.store is not taken[0].role.store:
                break
            taken.append(self._waiting.popleft())
        self._under_way += len(taken)
        return taken

    def answered(self) -> None:
        """One that was taken is done: its role is told how it went."""
        self._under_way -= 1
