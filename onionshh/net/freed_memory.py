"""Gives freed memory back to the system.

Five thousand resting circuits free 40 MB of cipher contexts, scattered between objects that stay. The C
library keeps such memory unless we ask it to give it back. Asking takes some milliseconds.
"""

from __future__ import annotations

import ctypes

GIVE_BACK_SECONDS = 60.0


def give_back() -> None:
    """Give free memory back, if the C library can (glibc). Otherwise nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class GivingBack:
    """Gives memory back once per minute, for a program whose circuits come and go."""

    def __init__(self) -> None:
        self._due = 0.0

    def tick(self, now: float) -> None:
        """`now`: monotonic seconds."""
        if now >= self._due:
            self._due = now + GIVE_BACK_SECONDS
            give_back()
