"""What roles asked to have remembered or read, in order and bounded (core/roles.py).

The switch puts requests here. The driver takes them out, goes to the disk in a thread and comes back with the
outcome. A stranger's messages may cause requests, so there is a bound. It counts the requests that wait and
those that the driver has taken.
"""

from __future__ import annotations

from collections import deque
from typing import Final, Generic, TypeVar

from onionshh.core.roles import Look, Remember

REMEMBERED_MOST: Final = 256
"""Each holds at most as much as a message: about 4 MiB in all. Past this the answer is `not_remembered`."""
LOOKS_MOST: Final = 256
"""Each finds at most what an answer holds. Past this the answer is `not_looked`."""
BATCH_MOST: Final = 64
"""Committed together, which costs one sync."""
LOOKS_AT_ONCE: Final = 16
"""Read together: at most 0.3 MB."""

Asked = TypeVar("Asked", Remember, Look)


class _Queue(Generic[Asked]):
    """A queue with a bound, for all roles of a relay."""

    def __init__(self) -> None:
        self._waiting: deque[Asked] = deque()
        self._under_way = 0

    def __len__(self) -> int:
        """How many are not answered yet."""
        return len(self._waiting) + self._under_way

    @property
    def waits(self) -> bool:
        """Whether any waits to be taken."""
        return bool(self._waiting)

    def answered(self) -> None:
        """One that was taken is done: its role is told how it went."""
        self._under_way -= 1

    def _add(self, asked: Asked, most: int) -> bool:
        if len(self) >= most:
            return False
        self._waiting.append(asked)
        return True

    def _take(self, most: int) -> list[Asked]:
        """The oldest, and those right behind it that have the same store."""
        taken: list[Asked] = []
        while self._waiting and len(taken) < most:
            if taken and self._waiting[0].role.store is not taken[0].role.store:
                break
            taken.append(self._waiting.popleft())
        self._under_way += len(taken)
        return taken


class Remembering(_Queue[Remember]):
    """What waits to be committed."""

    def add(self, asked: Remember) -> bool:
        """Add one. False when there is no room for it."""
        return self._add(asked, REMEMBERED_MOST)

    def take(self) -> list[Remember]:
        """What goes into one commit."""
        return self._take(BATCH_MOST)


class Looking(_Queue[Look]):
    """What waits to be read."""

    def add(self, asked: Look) -> bool:
        """Add one. False when there is no room for it."""
        return self._add(asked, LOOKS_MOST)

    def take(self) -> list[Look]:
        """What is read together."""
        return self._take(LOOKS_AT_ONCE)
