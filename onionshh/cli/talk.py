"""Lines for people: what happens on stdout with its time, remarks on stderr."""

from __future__ import annotations

import sys
import time

from onionshh.cli.text import one_line


def tell(line: str) -> None:
    """What happened, now."""
    print(f"{time.strftime('%H:%M:%S')} {one_line(line)}", flush=True)


def note(line: str) -> None:
    """A remark that is no part of the output."""
    print(f"onionshh: {one_line(line)}", file=sys.stderr, flush=True)
