"""Finds out which relays answer: rounds of checks, and checks of newcomers at once (SPEC 8).

The registry decides which relays to check and what follows from it. This file connects to nothing: `probe`
does that. A round that takes longer than its time goes on, and counts for the next consensus.

After a round, relays are asked at addresses that may be a stranger's. Only one thing is told of those:
whether the relay answered there with its keys. All else takes the same time and has the same words. So nobody
can have the directory find out which ports of a stranger are open.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from onionshh.core.base.params import Params
from onionshh.directory.asking import not_there
from onionshh.directory.own_clock import OwnClock
from onionshh.directory.registry import Registry
from onionshh.net.conditions import Condition
from onionshh.net.probe import Probed, check_seconds
from onionshh.net.signals import Poke
from onionshh.net.tcp import ONLY_TOR
from onionshh.wire.descriptor import RelayDescriptor

log = logging.getLogger("onionshh.directory")


class Probe(Protocol):
    """Makes a link handshake to a relay at each of the addresses that the descriptor has."""

    async def __call__(self, descriptor: RelayDescriptor, params: Params, /) -> Probed:
        """Where it did not answer, and why."""

    @property
    def slower_seconds(self) -> float:
        """How much longer than over a direct connection it may take."""

    @property
    def reaches_onions(self) -> bool:
        """Whether it reaches onion services."""


PROBES_AT_ONCE = 64
ELSEWHERE_AT_ONCE = 16
"""Beside the others, so that strangers who do not answer hold up no relay."""
_GRACE_SECONDS = 1


class Checks:
    """The checks of one authority; at most `PROBES_AT_ONCE` are under way."""

    def __init__(self, registry: Registry, probe: Probe, own_clock: OwnClock) -> None:
        self._registry = registry
        self._probe = probe
        self._own_clock = own_clock
        self._probes = trio.CapacityLimiter(PROBES_AT_ONCE)
        self._newcomers = Poke()
        self._cut_off = Condition(log.warning)
        self.round_going = False
        self._elsewhere_going = False

    def look_at_newcomers(self) -> None:
        """The registry has heard of a new descriptor."""
        self._newcomers.send()

    async def check_newcomers(self) -> None:
        """Check each newcomer at once, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._newcomers.wait()
                for descriptor in self._registry.take_fresh():
                    nursery.start_soon(self._check, descriptor)

    async def check_everyone(self) -> None:
        """Run one round of checks over all known relays, then ask elsewhere. Nothing is done while another
        round goes on."""
        if self.round_going:
            return
        self.round_going = True
        try:
            todo = iter(self._registry.start_round(self._own_clock.now(self._registry)))

            async def worker() -> None:
                for descriptor in todo:
                    await self._check(descriptor)

            async with trio.open_nursery() as nursery:
                for _ in range(PROBES_AT_ONCE):
                    nursery.start_soon(worker)
            result = self._registry.end_round(self._own_clock.now(self._registry))
            failed = f"{result.failed} of {result.checked} checks failed"
            log.debug("%s", failed)
            if result.held:
                self._cut_off.holds(f"{failed}: taken for a fault of our own network, the list stays")
            else:
                self._cut_off.over(f"{failed}: the list follows the checks again")
        finally:
            self.round_going = False
        await self._ask_elsewhere()

    async def _ask_elsewhere(self) -> None:
        """Ask relays at addresses that are not their own. Nothing is done while that still goes on."""
        if self._elsewhere_going:
            return
        self._elsewhere_going = True
        try:
            todo = iter(self._registry.elsewhere(self._own_clock.now(self._registry)))

            async def worker() -> None:
                for descriptor in todo:
                    await self._check_elsewhere(descriptor)

            async with trio.open_nursery() as nursery:
                for _ in range(ELSEWHERE_AT_ONCE):
                    nursery.start_soon(worker)
        finally:
            self._elsewhere_going = False

    async def _check(self, descriptor: RelayDescriptor) -> None:
        async with self._probes:
            probed = await self._probed(descriptor)
        if probed is None:
            self._registry.abandoned(descriptor)
            return
        wall = self._own_clock.now(self._registry)
        self._registry.checked(descriptor, probed.why or None, wall, probed.missed)

    async def _check_elsewhere(self, descriptor: RelayDescriptor) -> None:
        end = trio.current_time() + self._seconds
        probed = await self._probed(descriptor)
        if probed is None:
            return
        strangers = [address for address, why in probed.missed.items() if why != ONLY_TOR]
        if strangers:
            await trio.sleep_until(end)
        missed = {**probed.missed, **{address: not_there(address) for address in strangers}}
        self._registry.checked_elsewhere(descriptor, missed, self._own_clock.now(self._registry))

    @property
    def _seconds(self) -> float:
        """How long one check may take."""
        return check_seconds(self._registry.params, self._probe.slower_seconds) + _GRACE_SECONDS

    async def _probed(self, descriptor: RelayDescriptor) -> Probed | None:
        """What came of a check; None if it says nothing about the relay."""
        why = f"no answer within {self._seconds:g} seconds"
        probed = Probed(dict.fromkeys(descriptor.addresses, why), why)
        try:
            with trio.move_on_after(self._seconds):
                probed = await self._probe(descriptor, self._registry.params)
        except Exception:
            # The probe's own fault says nothing about the relay, and must not end the directory.
            log.exception("a check failed inside the directory")
            return None
        return probed
