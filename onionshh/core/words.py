"""Amounts of time as a person says them."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """For example "45 seconds", "11 minutes", "3 hours", "2 days": rounded down, whatever its sign."""
    size = int(abs(seconds))
    for unit, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if size >= 2 * length:
            return f"{size // length} {unit}s"
    return f"{size} second{'' if size == 1 else 's'}"
