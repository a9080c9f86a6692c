"""Finds an endpoint's descriptor on the ring, by its address alone (SPEC 10).

An endpoint that went away leaves a descriptor whose introducers are overdue. It leads nowhere now, but says
whether the endpoint takes letters. A ring relay that missed an upload shows the same, so we go on asking.
"""

from __future__ import annotations

from collections.abc import Sequence

from onionshh.client.context import Context
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.core.base.patience import RING_ANSWER_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.endpoint.descriptor import open_descriptor_untrusted
from onionshh.core.endpoint.ring import fetch_few, fetch_order
from onionshh.core.paths.view import View
from onionshh.crypto.identity import blind_public, subcredential
from onionshh.errors import NetworkUnreachable, ProtocolError
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow


class NoDescriptor(Exception):
    """Every ring relay that should hold the descriptor answered that it has none."""


async def find_or_cached(context: Context, address_key: bytes) -> CheckedDescriptor:
    """The stored descriptor while it is good, else one from the ring. Raises as `find`."""
    found = context.descriptors.get(address_key, context.view.period, context.clock.earliest())
    if found is None:
        found = await find(context, address_key)
        if not found.overdue(context.clock.earliest()):  # it may come back at any moment
            context.descriptors.keep(address_key, found)
    return found


async def find(context: Context, address_key: bytes, *, older: int = 0) -> CheckedDescriptor:
    """The descriptor of an address: of the current period, else of its neighbour.

    If those have none, so many `older` periods are asked too, the latest first, two relays of each: that is
    for whoever leaves a letter. If no relay has a descriptor that is still good, the result is the one that
    is overdue the shortest; see `CheckedDescriptor.overdue`.

    Raises NoDescriptor, CircuitFailed when no ring relay could be asked, NetworkUnreachable.
    """
    search = _Search(context, address_key)
    near = periods_to_ask(context.view)
    for period in near:
        if await search.whole(period):
            break
    first = min(near)
    for period in range(first - 1, first - 1 - older, -1):
        if search.found is not None:
            break
        await search.few(period)
    return search.result()


async def find_in_period(
    context: Context, address_key: bytes, period: int, purpose: Purpose
) -> CheckedDescriptor:
    """The descriptor of an address for one period, over circuits for this purpose. Raises as `find`."""
    search = _Search(context, address_key, purpose)
    await search.whole(period)
    return search.result()


class _Search:
    """One search for one descriptor."""

    def __init__(self, context: Context, address_key: bytes, purpose: Purpose = Purpose.RING) -> None:
        self._context = context
        self._address_key = address_key
        self._purpose = purpose
        self._view = context.view
        self._failure: Exception | None = None
        self._asked = 0
        self.found: CheckedDescriptor | None = None
        """The best so far: the one whose introducers last longest."""

    async def whole(self, period: int) -> bool:
        """Ask all relays that keep this period's descriptor, until one has it and it is not overdue."""
        order = fetch_order(self._view, period, self._blinded(period), self._context.chance)
        return await self._ask(period, order or ())

    async def few(self, period: int) -> None:
        """Ask two of those relays."""
        order = fetch_few(self._view, period, self._blinded(period), self._context.chance)
        await self._ask(period, order or ())

    def result(self) -> CheckedDescriptor:
        """What was found. Raises as `find`."""
        if self.found is not None:
            return self.found
        if self._asked or self._failure is None:
            raise NoDescriptor
        raise self._failure

    def _blinded(self, period: int) -> bytes:
        return blind_public(self._address_key, period, self._view.params.period_seconds)

    async def _ask(self, period: int, rows: Sequence[RelayRow]) -> bool:
        """Ask these in turn. Returns whether one had a descriptor that is not overdue."""
        context, blinded = self._context, self._blinded(period)
        for row in rows:
            try:
                data = await ask_ring(context, row, blinded, period, self._purpose)
                self._asked += 1
                if data is None:
                    continue
                descriptor = open_descriptor_untrusted(
                    data,
                    A=self._address_key,
                    period=period,
                    period_seconds=self._view.params.period_seconds,
                    wall=context.clock.earliest(),
                )
            except (CircuitFailed, NetworkUnreachable) as error:
                self._failure = error
            except ProtocolError as error:
                context.drops.count(error.reason)
            else:
                found = CheckedDescriptor(descriptor, period, subcredential(self._address_key, blinded))
                if self.found is None or descriptor.expiry > self.found.descriptor.expiry:
                    self.found = found
                if not found.overdue(context.clock.earliest()):
                    return True
        return False


async def ask_ring(
    context: Context, row: RelayRow, blinded: bytes, period: int, purpose: Purpose
) -> bytes | None:
    """What one ring relay holds under a blinded key, asked over a circuit of its own. None for nothing."""
    circuit = await context.pool.to(purpose, row)
    try:
        body = await circuit.ask(m.FETCH, m.Fetch(blinded, period).encode(), m.FOUND, RING_ANSWER_SECONDS)
        found = m.Found.decode_untrusted(body)
    finally:
        circuit.close(Reason.FINISHED)
    return found.descriptor if found.status == m.FOUND_IT else None


def periods_to_ask(view: View) -> tuple[int, int]:
    """The current period and the neighbour that is nearer in time."""
    period, seconds = view.period, view.params.period_seconds
    second_half = view.consensus.valid_after % seconds >= seconds // 2
    return (period, period + 1) if second_half else (period, period - 1)
