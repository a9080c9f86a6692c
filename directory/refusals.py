"""Which relays' descriptors were refused lately, and why, for relays that ask by their own id (SPEC 8). Pure.

A refused descriptor leaves nothing in the registry. Its relay was told why, but who looks after the relay may
not have seen that. Anyone can make ids, so only so many are remembered: the oldest goes first. No address is
remembered but those that a relay advertises itself.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from onionshh.core.base.words import amount

MOST = 1024
REMEMBERED_SECONDS = 24 * 3600


class _Refusal(NamedTuple):
    why: str
    at: float


class Refusals:
    """The last refusal of each relay. `now` is in monotonic seconds."""

    def __init__(self) -> None:
        self._last: dict[bytes, _Refusal] = {}

    def __len__(self) -> int:
        return len(self._last)

    def refused(self, identity: bytes, why: str, now: float, *, source: str, hosts: Collection[str]) -> None:
        """A descriptor was refused. It came from the IP address `source` and advertises `hosts`."""
        if source and source not in hosts:
            why = why.replace(source, "another address")
        self._last.pop(identity, None)
        if len(self._last) >= MOST:
            del self._last[next(iter(self._last))]
        self._last[identity] = _Refusal(why, now)

    def taken(self, identity: bytes) -> None:
        """A later descriptor was accepted."""
        self._last.pop(identity, None)

    def why(self, identity: bytes, now: float) -> str | None:
        """Why the relay's last descriptor was refused; None if it was not, or long ago."""
        last = self._last.get(identity)
        if last is None or now > last.at + REMEMBERED_SECONDS:
            return None
        return f"refused {amount(now - last.at)} ago: {last.why}"
