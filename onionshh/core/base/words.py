"""Times in words, for people."""

from __future__ import annotations

from datetime import UTC, datetime


def utc(seconds: int) -> str:
    """A time for people, from any number that a peer may send."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    except (ValueError, OverflowError, OSError):
        return f"second {seconds}"


def amount(seconds: float) -> str:
    """How long, for people: seconds, minutes, hours or days, rounded down."""
    size = int(abs(seconds))
    for unit, length, least in (("days", 86_400, 20 * 86_400), ("hours", 3600, 7200), ("minutes", 60, 120)):
        if size >= least:
            return f"{size // length} {unit}"
    return f"{size} second{'' if size == 1 else 's'}"
