"""Finds out which relays answer: rounds of checks, and checks of newcomers at once (SPEC 8).

The registry decides which relays to check and what follows from it. This file connects to nothing: `probe`
does that. A round that takes longer than its time goes on, and counts for the next consensus.
"""

from __future__ import annotations

import logging
from typing import Protocol

import trio

from onionshh.directory.own_clock import OwnClock
from onionshh.directory.registry import Registry
from onionshh.net.conditions import Condition
from onionshh.net.probe import Probed, check_seconds
from onionshh.net.signals import Poke
from onionshh.wire.descriptor import RelayDescriptor

log = logging.getLogger("onionshh.directory")


class Probe(Protocol):
    """Makes a link handshake to a relay at each of the addresses that the descriptor has."""

    async def __call__(self, descriptor: RelayDescriptor, /) -> Probed:
        """Where it did not answer, and why."""

    @property
    def slower_seconds(self) -> float:
        """How much longer than over a direct connection it may take."""

    @property
    def reaches_onions(self) -> bool:
        """Whether it reaches onion services."""


PROBES_AT_ONCE = 64
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
        """Run one round of checks over all known relays. Nothing is done while another round goes on."""
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

    async def _check(self, descriptor: RelayDescriptor) -> None:
        seconds = check_seconds(self._registry.params, self._probe.slower_seconds) + _GRACE_SECONDS
        why = f"no answer within {seconds:g} seconds"
        probed = Probed(dict.fromkeys(descriptor.addresses, why), why)
        try:
            async with self._probes:
                with trio.move_on_after(seconds):
                    probed = await self._probe(descriptor)
        except Exception:
            # The probe's own fault says nothing about the relay, and must not end the directory.
            log.exception("a check failed inside the directory")
            self._registry.abandoned(descriptor)
            return
        wall = self._own_clock.now(self._registry)
        self._registry.checked(descriptor, probed.why or None, wall, probed.missed)
