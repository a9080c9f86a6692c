"""Lines for people: what happens on stdout with its time, remarks on stderr."""

from __future__ import annotations

import sys
import time

from onionshh.cli.failures import one_line


def tell(line: str) -> None:
    """What happened, now."""
    print(f"{time.strftime('%H:%M:%S')} {one_line(line)}", flush=True)


def note(line: str) -> None:
    """A remark that is no part of the output."""
    print(f"onionshh: {one_line(line)}", file=sys.stderr, flush=True)


def printable(body: bytes) -> str:
    """A peer's bytes as text that a terminal can be given: nothing in it is obeyed."""
    text = body.decode(errors="replace")
    return "".join(one if one.isprintable() or one in "\n\t" else f"\\x{ord(one):02x}" for one in text)
