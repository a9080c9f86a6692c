"""Numbers and times as the directory's page writes them: short, and rounded to what people need. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from onionshh.core.base.words import amount, utc

_NARROW = "\u202f"
"""Stands between thousands, and no line breaks there."""


def number(value: int) -> str:
    """A whole number, in groups of three digits."""
    return f"{value:,}".replace(",", _NARROW)


def about(value: int) -> str:
    """A number of which only two digits are meant."""
    if value < 100:
        return number(value)
    unit = 10 ** (len(str(value)) - 2)
    return number((value + unit // 2) // unit * unit)


def size(count: int) -> str:
    """So many bytes, in a unit that people know."""
    for unit, length in (("TB", 10**12), ("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= length:
            return f"{about(count // length)}\u00a0{unit}"
    return f"{count}\u00a0bytes"


def span(seconds: int) -> str:
    """How long, in the largest unit that fits exactly: `8 days`, `1 hour`."""
    for unit, length in (("day", 86_400), ("hour", 3600), ("minute", 60), ("second", 1)):
        if seconds >= length and seconds % length == 0:
            return f"1 {unit}" if seconds == length else f"{number(seconds // length)} {unit}s"
    return "0 seconds"


def every(seconds: int) -> str:
    """How often: `every hour`, `every 5 seconds`."""
    return f"every {span(seconds).removeprefix('1 ')}"


def moment(seconds: int) -> str:
    """A time in UTC (Unix seconds), which programs can read too."""
    said = utc(seconds).replace(":00 UTC", " UTC") if seconds % 60 == 0 else utc(seconds)
    return f'<time datetime="{iso(seconds)}">{said}</time>' if iso(seconds) else said


def ago(seconds: int, now: int) -> str:
    """How long ago it was. The exact time comes with it, for who points at it."""
    passed = now - seconds
    said = f"{amount(passed)} ago" if passed >= 60 else "just now"
    return f'<time datetime="{iso(seconds)}" title="{utc(seconds)}">{said}</time>' if iso(seconds) else said


def clock(seconds: int) -> str:
    """Hours and minutes in UTC."""
    return utc(seconds)[11:16]


def iso(seconds: int) -> str:
    """A time as HTML wants it, empty for one that no calendar has."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return ""
