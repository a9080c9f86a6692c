"""Finds an endpoint's descriptor on the ring, by its address alone (SPEC 10)."""

from __future__ import annotations

from onionshh.client.context import Context
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.core.base.patience import RING_ANSWER_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.endpoint.descriptor import open_descriptor_untrusted
from onionshh.core.endpoint.ring import fetch_order
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
        context.descriptors.keep(address_key, found)
    return found


async def find(context: Context, address_key: bytes) -> CheckedDescriptor:
    """The descriptor of an address: of the current period, else of its neighbour.

    Raises NoDescriptor, CircuitFailed when no ring relay could be asked, NetworkUnreachable.
    """
    view = context.view
    failure: Exception | None = None
    asked = 0
    for period in periods_to_ask(view):
        blinded = blind_public(address_key, period, view.params.period_seconds)
        rows = fetch_order(view, period, blinded, context.chance) or ()
        for row in rows:
            try:
                data = await ask_ring(context, row, blinded, period, Purpose.RING)
                asked += 1
                if data is None:
                    continue
                descriptor = open_descriptor_untrusted(
                    data,
                    A=address_key,
                    period=period,
                    period_seconds=view.params.period_seconds,
                    wall=context.clock.earliest(),
                )
            except (CircuitFailed, NetworkUnreachable) as error:
                failure = error
            except ProtocolError as error:
                context.drops.count(error.reason)
            else:
                return CheckedDescriptor(descriptor, period, subcredential(address_key, blinded))
    if asked or failure is None:
        raise NoDescriptor
    raise failure


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
