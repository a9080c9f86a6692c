"""A visitor's ways back: held, told, replaced, taken up again, and what comes over them. Whole networks in
virtual time."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh import geometry as g
from onionshh.client.context import WAYS_MOST
from onionshh.client.endpoint import Endpoint
from onionshh.client.identities import Identity
from onionshh.client.node import Node
from onionshh.client.session import ways
from onionshh.client.session.ways import LIFE_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.roles import CircuitHandle, Reply, RoleAction
from onionshh.core.session.session import UNANSWERED_MOST, Session
from onionshh.core.session.way_back import WayBack
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.client.hostile import DeafIntroducer, by_id, introducer_of, junk, mount
from tests.client.test_speaking_first import IDLE_MOST, called, first, met, world
from tests.client.world import PATIENCE_SECONDS, QUIET, hosted, small, until
from tests.inside import behind, inside, parts


def held(node: Node) -> list[str]:
    """The relays at the ends of this node's ways back, hex."""
    return sorted(circuit.relays[-1] for circuit in node.circuits() if circuit.purpose == "way back")


def session_of(endpoint: Endpoint) -> Session:
    """Its one session."""
    (session,) = parts(endpoint).peers.keeper.table.sessions
    return session


def known(endpoint: Endpoint) -> tuple[WayBack, ...]:
    """The ways that the endpoint knows."""
    return session_of(endpoint).way_back


async def idle() -> None:
    await trio.sleep(IDLE_MOST + 40)


async def introduce_at(node: Node, way: WayBack, message: bytes) -> int:
    """Give the relay of this way an INTRODUCE1; its status."""
    row = inside(node).view.any_relay(way.relay)
    assert row is not None
    circuit = await inside(node).builder.build(Purpose.INTRODUCE, last=row.identity)
    try:
        return m.status_untrusted(await circuit.ask(m.INTRODUCE1, message, m.INTRODUCE_ACK, 10.0))
    finally:
        circuit.close(Reason.FINISHED)


async def test_two_ways_stand_under_keys_of_their_own(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        await until(lambda: len(known(w.endpoint)) == 2)
        told = known(w.endpoint)
        assert sorted(way.relay.hex() for way in told) == held(w.visitor)
        assert len({way.auth_key for way in told}) == 2
        wall = w.net.clock.wall()
        for way in told:
            assert wall + LIFE_SECONDS[0] - 120 <= way.expires <= wall + LIFE_SECONDS[1]
        for circuit in w.visitor.circuits():
            if circuit.purpose == "way back":
                assert len(circuit.path) == 4
        assert parts(w.endpoint).peers.keeper.get(session_of(w.endpoint).session_id) is not None


async def test_without_being_asked_for_there_is_none(autojump_clock: MockClock) -> None:
    async with world() as w:
        await trio.sleep(30)
        assert held(w.visitor) == []
        assert known(w.endpoint) == ()


async def test_a_way_that_ends_is_replaced_and_the_endpoint_is_told_though_nobody_speaks(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ways, "HELD", replace(ways.HELD, life_seconds=(600, 900)))
    async with world(way_back=True) as w:
        await idle()

        def stand() -> set[bytes]:
            return {way.auth_key for way in known(w.endpoint) if way.expires > w.net.clock.wall()}

        before = stand()
        for _ in range(10):
            await trio.sleep(150)
            await until(lambda: bool(stand()), 100)  # both may end at once, and to tell it takes a minute
        assert not before & stand()
        assert called(w.contact)
        receipt = w.peer.send(b"still there?")
        assert (await first(w.contact)).body == b"still there?"
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await receipt.final()).status == "delivered"
        assert session_of(w.endpoint).history.exchanges < 40


async def test_a_relay_that_leaves_is_replaced(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        await until(lambda: len(known(w.endpoint)) == 2)
        await idle()
        gone = known(w.endpoint)[0]
        await by_id(w.net, gone.relay.hex()).stop()
        await until(
            lambda: gone not in known(w.endpoint) and len(known(w.endpoint)) == 2 and called(w.contact), 1800
        )
        w.peer.send(b"news")
        assert (await first(w.contact)).body == b"news"


async def test_relays_that_refuse_leave_the_endpoint_to_wait(autojump_clock: MockClock) -> None:
    async with (
        small(8, **QUIET) as net,
        hosted(net, introducers=2) as (_, endpoint),
        net.join("visitor") as visitor,
    ):
        taken = {entry.relay_id.hex() for entry in parts(endpoint).introducers.entries}
        for relay in net.relays:
            if relay.id not in taken:
                mount(relay, Refusing(introducer_of(relay)))
        async with visitor.contact(endpoint.address, way_back=True) as contact:
            peer = await met(endpoint, contact)
            await trio.sleep(600)
            receipt = peer.send(b"news", ttl_seconds=1200)
            await trio.sleep(30)
            contact.send(b"hello again")
            assert (await first(contact)).body == b"news"
            with trio.fail_after(PATIENCE_SECONDS):
                assert (await receipt.final()).status == "delivered"


class Refusing(DeafIntroducer):
    """Takes no key."""

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        if message_type == m.ESTABLISH_INTRO:
            return (Reply(circuit, m.INTRO_ESTABLISHED, bytes((m.BUSY,))),)
        return super().handle(circuit, message_type, body, now, wall)


async def test_an_introduction_at_a_way_back_is_dropped(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        (way, *_) = known(w.endpoint)
        message = junk(way.auth_key, 1)
        assert await introduce_at(w.host, way, message) == m.OK
        await until(lambda: Reason.WAY_BACK_INTRODUCTION in w.visitor.drops())
        assert called(w.contact)


async def test_junk_at_a_way_back_is_dropped(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        (way, *_) = known(w.endpoint)
        message = m.Resume(way.auth_key, b"t" * 16, b"s" * 12, bytes(g.RESUME_SEALED)).encode()
        assert await introduce_at(w.host, way, message) == m.OK
        await until(lambda: Reason.RESUME_UNKNOWN in w.visitor.drops())
        w.peer.send(b"news")
        assert (await first(w.contact)).body == b"news"


async def test_after_a_restart_of_both_sides_the_ways_are_the_same(autojump_clock: MockClock) -> None:
    async with small(8, **QUIET) as net:
        async with hosted(net) as (_, endpoint), net.join("visitor") as visitor:
            async with visitor.contact(endpoint.address, way_back=True, name="friend") as contact:
                await met(endpoint, contact)
                await until(lambda: len(known(endpoint)) == 2)
                before = known(endpoint)
            address = endpoint.address
        async with hosted(net) as (_, endpoint), net.join("visitor") as visitor:
            async with visitor.contact(address, way_back=True, name="friend") as contact:
                await until(lambda: len(held(visitor)) == 2)
                assert known(endpoint) == before
                assert held(visitor) == sorted(way.relay.hex() for way in before)
                (peer,) = endpoint.peers()
                receipt = peer.send(b"good morning")  # nobody has spoken since the restart
                assert (await first(contact)).body == b"good morning"
                with trio.fail_after(PATIENCE_SECONDS):
                    assert (await receipt.final()).status == "delivered"


async def test_ways_that_are_switched_off_are_forgotten_by_both(autojump_clock: MockClock) -> None:
    async with world(way_back=True, name="friend") as w:
        assert known(w.endpoint)
        w.contact.close()
        await trio.sleep(5)
        async with w.visitor.contact(w.endpoint.address, name="friend") as contact:
            await trio.sleep(120)
            assert held(w.visitor) == []
            assert known(w.endpoint)  # nothing is opened for that
            assert (await contact.whisper(b"hello")).status == "delivered"
            await until(lambda: known(w.endpoint) == ())


async def test_a_new_session_has_new_ways(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        before = {way.auth_key for way in known(w.endpoint)}
        await w.peer.forget()
        await met(w.endpoint, w.contact)
        await until(lambda: len(known(w.endpoint)) == 2 and called(w.contact))
        assert not before & {way.auth_key for way in known(w.endpoint)}
        assert len(held(w.visitor)) == 2


async def test_a_node_has_few_ways(autojump_clock: MockClock) -> None:
    async with small(5) as net, net.join("visitor") as visitor, AsyncExitStack() as stack:
        address = Identity.generate().address
        for _ in range(WAYS_MOST // 2):
            await stack.enter_async_context(visitor.contact(address, way_back=True))
        with pytest.raises(ValueError, match="at most 16 ways back"):
            async with visitor.contact(address, way_back=True):
                pass
        await stack.aclose()
        async with visitor.contact(address, way_back=True):
            pass


async def test_the_last_step_that_may_be_out_asks_for_a_circuit(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        await idle()
        sessions = behind(w.contact).sessions
        assert sessions is not None
        assert sessions.current is not None
        chain = sessions.current.chains.spend
        while chain.unanswered < UNANSWERED_MOST - 1:
            chain.spend()
        assert sessions.current.last_without_answer
        receipt = await w.contact.whisper(b"short")
        assert receipt.status == "delivered"
        assert chain.unanswered == 0
        assert any(circuit.purpose == "rendezvous" for circuit in w.visitor.circuits())
