"""An endpoint under a flood of junk: strangers who work get in, who has a session is not disturbed, and a
quiet time ends it (SPEC 15). Whole networks in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from onionshh import geometry as g
from onionshh import testing
from onionshh.client.assemble import assembled
from onionshh.client.context import Context
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.endpoint.admission import START_EFFORT, STEP_SECONDS
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.store import DataDirectory, run_inline
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry, ProofWanted
from tests.client.world import PATIENCE_SECONDS, QUIET, Stranger, echo, hosted, period_now, small, until
from tests.inside import behind, parts

SCARCE = {**QUIET, "interval_seconds": 600, "introduce_rate": 1, "introduce_burst": 3}
PAUSE_SECONDS = 100.0
"""After this time no exchange is open."""


class Junk:
    """Sends introductions that do not open, as fast as it is told, over circuits of one relay."""

    def __init__(self, context: Context, period: int) -> None:
        self._context = context
        self._period = period
        self.pause = 0.5
        self.statuses: list[int] = []

    async def run(self, entries: Sequence[IntroducerEntry]) -> None:
        """One to each of these introducers, again and again, until cancelled."""
        while True:
            for entry in entries:
                self.statuses.append(await self._one(entry))
            await trio.sleep(self.pause)

    async def _one(self, entry: IntroducerEntry) -> int:
        context = self._context
        try:
            circuit = await context.builder.build(Purpose.INTRODUCE, last=RelayId(entry.relay_id))
        except CircuitFailed:
            return -1
        sealed = context.chance.bytes(g.INTRODUCE_SEALED)
        body = m.Introduce(entry.auth_key, m.INTRODUCE_NEW, self._period & 0xFF, bytes(g.POW), sealed)
        try:
            return m.status_untrusted(
                await circuit.ask(m.INTRODUCE1, body.encode(), m.INTRODUCE_ACK, PATIENCE_SECONDS)
            )
        finally:
            circuit.close(Reason.FINISHED)


@asynccontextmanager
async def junk(net: testing.Network, period: int) -> AsyncIterator[Junk]:
    """Somebody near, with a node of its own, who wants to do harm cheaply."""
    async with assembled(
        net.file,
        folder=DataDirectory(net.folder / "junk"),
        source=net.source("junk"),
        dialer=net.dialer("junk"),
        clock=net.clock,
        random_bytes=testing.seeded(99),
        run_blocking=run_inline,
        introduction_hops=0,
    ) as context:
        yield Junk(context, period)


async def published(visitor: Node, endpoint: Endpoint) -> ProofWanted | None:
    """What the descriptor on the ring says that strangers must prove."""
    return (await Stranger(visitor, endpoint.address).find()).descriptor.proof


async def waits_for(visitor: Node, endpoint: Endpoint, pause: float, *, wanted: bool) -> ProofWanted | None:
    """Wait until the ring says that a proof is wanted, or that none is. It is asked after each pause."""
    with trio.fail_after(3 * STEP_SECONDS):
        while True:
            proof = await published(visitor, endpoint)
            if (proof is not None) == wanted:
                return proof
            await trio.sleep(pause)


async def strangers_get_in(net: testing.Network, endpoint: Endpoint, proof: ProofWanted) -> None:
    """Who knows nothing but the address works a little and gets in. Its receipt shows the work."""
    async with net.join("newcomer") as node, node.contact(endpoint.address) as contact:
        with trio.fail_after(PATIENCE_SECONDS):
            receipt = contact.send(b"who are you?")
            assert await receipt.reply() == b"who are you?"
        assert receipt.status == "delivered"
        assert receipt.proof_tries > 0
        assert receipt.proof_seconds >= 0
        entry = (await Stranger(node, endpoint.address).find()).descriptor.introducers[0]
        unpaid = m.Introduce(entry.auth_key, m.INTRODUCE_NEW, 0, bytes(g.POW), bytes(g.INTRODUCE_SEALED))
        assert await Stranger(node, endpoint.address).send(entry, unpaid.encode()) == m.BUSY
    assert proof.effort == START_EFFORT


async def test_under_junk_strangers_work_and_peers_do_not(autojump_clock: MockClock) -> None:
    async with (
        small(6, **SCARCE) as net,
        hosted(net) as (host, endpoint),
        net.join("visitor") as visitor,
        visitor.contact(endpoint.address, way_back=True) as contact,
        junk(net, period_now(host)) as flood,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(echo, endpoint)
        first = contact.send(b"before")
        assert await first.reply() == b"before"
        assert first.proof_tries == 0
        await until(lambda: behind(contact).ways is not None and contact.session is not None)
        assert await published(visitor, endpoint) is None
        introducers = parts(endpoint).introducers
        await until(lambda: introducers.complete)
        scope = trio.CancelScope()

        async def flooded() -> None:
            with scope:
                await flood.run(introducers.entries)

        nursery.start_soon(flooded)
        assert endpoint.status().effort == 0
        proof = await waits_for(visitor, endpoint, 2, wanted=True)
        assert proof is not None
        assert endpoint.status().effort >= START_EFFORT
        flood.pause = 3.0
        await strangers_get_in(net, endpoint, proof)
        # Who has a session goes on with it, and works for nothing.
        await trio.sleep(PAUSE_SECONDS)
        assert not list(behind(contact).lanes)
        again = contact.send(b"x" * 2000)
        with trio.fail_after(PATIENCE_SECONDS):
            assert await again.reply() == b"x" * 2000
        assert (again.resumed, again.proof_tries) == (True, 0)
        # What the endpoint tests of itself gets in as well, for the same price.
        assert await parts(endpoint).self_test.once() is None
        assert endpoint.reachability.reachable
        assert set(flood.statuses[-20:]) == {m.BUSY}
        scope.cancel()
        # A quiet time ends it.
        assert await waits_for(visitor, endpoint, 60, wanted=False) is None
        async with net.join("later") as node, node.contact(endpoint.address) as late:
            receipt = late.send(b"now")
            with trio.fail_after(PATIENCE_SECONDS):
                assert await receipt.reply() == b"now"
            assert receipt.proof_tries == 0
        assert not {Reason.INTRODUCER_JUNK, Reason.INTRODUCER_FLOODS, Reason.INTRODUCER_FAILED} & set(
            host.drops()
        )
        nursery.cancel_scope.cancel()
