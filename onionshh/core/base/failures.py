"""Which relays could not be reached recently, so that the next path avoids them (SPEC 6).

This is a preference, not a ban. The list is short-lived and holds at most a third of the network, and
`choose_path` ignores it when nothing else is left. With a stronger rule, an adversary who makes circuits fail
could steer them to its own relays.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from onionshh.ids import RelayId

FIRST_SECONDS: Final = 60.0
MOST_SECONDS: Final = 600.0
MOST_KEPT: Final = 1024


@dataclass(slots=True)
class _Failure:
    until: float
    seconds: float


class FailureMemory:
    """One node's failures to extend to relays."""

    def __init__(self) -> None:
        self._failures: dict[RelayId, _Failure] = {}

    def __len__(self) -> int:
        return len(self._failures)

    def failed(self, identity: RelayId, now: float) -> None:
        """An EXTEND to this relay failed or timed out: avoid the relay for 60 s, doubling up to 10 min.

        Circuits that fail together count as one failure. The time doubles only if a later try fails too.
        """
        known = self._failures.pop(identity, None)
        if known is None or now >= known.until + MOST_SECONDS:
            seconds = FIRST_SECONDS
        elif now < known.until:
            seconds = known.seconds
        else:
            seconds = min(2 * known.seconds, MOST_SECONDS)
        # Put back at the end: the dict is in order of the last failure, and the oldest is dropped first.
        self._failures[identity] = _Failure(now + seconds, seconds)
        if len(self._failures) > MOST_KEPT:
            del self._failures[next(iter(self._failures))]

    def worked(self, identity: RelayId) -> None:
        """A circuit went through this relay: forget its failures."""
        self._failures.pop(identity, None)

    def avoided(self, now: float, total_relays: int) -> frozenset[RelayId]:
        """The relays to avoid, at most a third of all: first the longest avoided, then the latest failed."""
        for identity in [i for i, f in self._failures.items() if now >= f.until + MOST_SECONDS]:
            del self._failures[identity]
        active = [(f.seconds, f.until, identity) for identity, f in self._failures.items() if now < f.until]
        active.sort(reverse=True)
        return frozenset(identity for _, _, identity in active[: total_relays // 3])
