"""Memory that was freed, given back to the system.

Five thousand circuits that rest free 40 MB of cipher contexts, each between things that live on. The C
library keeps such memory for itself unless it is asked; asking takes some milliseconds.
"""

from __future__ import annotations

import ctypes

GIVE_BACK_SECONDS = 60.0


def give_back() -> None:
    """What is free goes back, where the C library knows how (glibc); elsewhere nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)


class GivingBack:
    """Gives back once a minute, for a program whose circuits come and go."""

    def __init__(self) -> None:
        self._due = 0.0

    def tick(self, now: float) -> None:
        """`now`: monotonic seconds."""
        if now >= self._due:
            self._due = now + GIVE_BACK_SECONDS
            give_back()
