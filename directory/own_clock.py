"""The clock that the whole network goes by, and what relays say of it (SPEC 8).

It may still be wrong. A jump that does not last is not followed (`Clock.steady`). What relays say of the time
is told to the operator, and has no other effect (witnesses.py).
"""

from __future__ import annotations

import logging

from onionshh.directory.registry import Registry
from onionshh.directory.witnesses import Witnesses
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition

log = logging.getLogger("onionshh.directory")

_SURE_SECONDS = 600
"""This long after its last change, a clock is taken for right, and what it contradicts is given up for good.
A machine that keeps no time while it is off may show another year until it has asked somebody."""


class OwnClock:
    """One authority's clock. `by_address`: each address is one witness, not each relay."""

    def __init__(self, clock: Clock, *, by_address: bool) -> None:
        self._clock = clock
        self._doubt = Condition(log.warning)
        self.witnesses = Witnesses(by_address=by_address)

    def now(self, registry: Registry) -> int:
        """The time for the registry in Unix seconds. The registry is told whether it is sure."""
        registry.sure = self._clock.rested() >= _SURE_SECONDS
        return self._clock.steady()

    def heard(self, identity: bytes, source: str, published: int) -> None:
        """A relay's descriptor came from this address, and says that it was written at this time."""
        self.witnesses.heard(identity, source, published, self._clock.monotonic())
        self.look()

    def look(self) -> None:
        """Say what relays say of our clock, once when it begins and once when it is over."""
        why = self.witnesses.doubt(self._clock.steady(), self._clock.monotonic())
        if why:
            self._doubt.holds(why)
        else:
            self._doubt.over("most relays agree with this directory's clock again")

    @property
    def doubt(self) -> str:
        """Why the clock is likely wrong, in a sentence; empty when nothing says so."""
        return self._doubt.now
