"""A bar on a terminal that shows how far something has come. Without a terminal nothing is shown."""

from __future__ import annotations

import os
import select
import sys
from contextlib import suppress
from typing import Final

from onionshh.cli import talk
from onionshh.client.transfer import TransferProgress

CELLS: Final = 30
_CLEAR: Final = "\r\x1b[K"


class Bar:
    """On stderr, the last bar that was made. What is said there takes its place until it is shown again. A
    terminal that takes nothing now is not waited for."""

    def __init__(self) -> None:
        self._on = sys.stderr is not None and sys.stderr.isatty()
        self._shown = False
        talk.stderr.before = self.clear

    def show(self, line: str) -> None:
        """Show this in place of what was shown before."""
        if self._on:
            self._write(_CLEAR + line)
            self._shown = True

    def clear(self) -> None:
        """Make room for a line."""
        if self._shown:
            self._write(_CLEAR)
            self._shown = False

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):
            descriptor = sys.stderr.fileno()
            room = select.poll()
            room.register(descriptor, select.POLLOUT)
            if room.poll(0):
                os.write(descriptor, text.encode())


def drawn(progress: TransferProgress) -> str:
    """`[#####-----] 48 %, 140 of 290 KiB`, or only the bytes while the size is unknown."""
    sent = _kib(progress.sent_bytes)
    if progress.size is None:
        return f"{sent} KiB"
    share = progress.sent_bytes / progress.size if progress.size else 1.0
    return f"{filled(share)} {int(100 * share)} %, {sent} of {_kib(progress.size)} KiB"


def filled(share: float) -> str:
    """`[#####-----]`. `share`: 0 to 1."""
    full = int(CELLS * share)
    return f"[{'#' * full}{'-' * (CELLS - full)}]"


def _kib(size: int) -> int:
    return -(-size // 1024)
