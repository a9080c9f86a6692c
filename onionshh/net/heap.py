"""Memory that was freed, given back to the system.

Five thousand circuits that rest free 40 MB of cipher contexts, each between things that live on. The C
library keeps such memory for itself unless it is asked; asking takes some milliseconds.
"""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """What is free goes back, where the C library knows how (glibc); elsewhere nothing happens."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
