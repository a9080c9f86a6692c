"""Checks the arguments that programs give to the public functions. Each check raises ValueError or TypeError,
with one sentence that names the argument.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from onionshh.core.mailbox.item import TTL_LEAST_SECONDS, TTL_MOST_SECONDS
from onionshh.geometry import KEY
from onionshh.ids import RelayId


def check_whole(name: str, value: object, least: int, most: int | None = None) -> None:
    """A whole number from `least` to `most`. None means no upper bound."""
    bounds = f"{least} or more" if most is None else f"from {least} to {most}"
    if type(value) is not int or value < least or (most is not None and value > most):
        raise ValueError(f"{name} must be a whole number, {bounds}, not {value!r}.")


def check_seconds(name: str, value: object, *, least: float = 0.0) -> None:
    """A finite number of seconds, `least` or more."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{name} must be a number of seconds, not {type(value).__name__}.")
    if not math.isfinite(value) or value < least:
        raise ValueError(f"{name} must be a finite number of seconds, {least:g} or more, not {value}.")


def check_post_ttl(value: object, name: str = "ttl_seconds") -> None:
    """How long a post may lie on a board, in seconds: 60 to 7 days."""
    check_seconds(name, value, least=TTL_LEAST_SECONDS)
    if isinstance(value, int | float) and value > TTL_MOST_SECONDS:
        raise ValueError(f"{name} must be at most {TTL_MOST_SECONDS} (7 days), not {value}.")


def check_timeout(name: str, value: object) -> None:
    """A number of seconds above 0, or infinity."""
    if value != math.inf:
        check_seconds(name, value)
    if value == 0:
        raise ValueError(f"{name} must be more than 0.")


def check_name(name: str, value: object, most: int) -> None:
    """Text of 1 to `most` printable characters."""
    good = isinstance(value, str) and 1 <= len(value) <= most and value.isprintable()
    if not isinstance(value, str) or not good or value.isspace():
        raise ValueError(f"{name} must be text of 1 to {most} printable characters, not {value!r}.")


def check_key(name: str, value: object, most: int) -> None:
    """1 to `most` bytes."""
    if not isinstance(value, bytes):
        raise ValueError(f"{name} must be 1 to {most} bytes, not {type(value).__name__}.")
    if not 1 <= len(value) <= most:
        raise ValueError(f"{name} must be 1 to {most} bytes; this one has {len(value)}.")


def relay_ids(name: str, values: Iterable[str]) -> frozenset[RelayId]:
    """Identities of relays, each written as 64 hex digits."""
    if isinstance(values, str):
        raise TypeError(f"{name} must be a list of relay identities, not one string.")
    return frozenset(_relay_id(name, value) for value in values)


def _relay_id(name: str, value: object) -> RelayId:
    try:
        identity = bytes.fromhex(value) if isinstance(value, str) else b""
    except ValueError:
        identity = b""
    if len(identity) != KEY:
        raise ValueError(f"{name} must be relay identities of {2 * KEY} hex digits each, not {value!r}.")
    return RelayId(identity)
