"""A client's circuits: what tasks see of them (SPEC 6, 7)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from onionshh.core.base.params import Params
from onionshh.core.circuit.inbox import INBOX_MESSAGES
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.link.port import LinkPort
from onionshh.core.roles import EndCircuit, Reply
from onionshh.geometry import BODY, CELL, LAYER_STATE
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason
from onionshh.rendezvous.meeting import Meeting
from onionshh.wire import messages as m
from onionshh.wire.cell import CREATE, DESTROY, LINK_AUTH, PADDING, RELAY, pack_cell
from simulations.world import ANSWER, ASK
from tests.core.networks import changed
from tests.net.world import Client, Relay, World, answer_as_peer
from tests.seeded import seeded

COOKIE = b"c" * 32

WINDOW = Params().window


@asynccontextmanager
async def network(relays: int) -> AsyncIterator[tuple[World, list[Relay], Client]]:
    world = World()
    made = [world.relay() for _ in range(relays)]
    async with world.running(), world.client() as client:
        yield world, made, client


# Set-up.


async def test_a_path_grows_as_relays_are_added(autojump_clock: MockClock) -> None:
    async with network(3) as (_, relays, client):
        circuit = await client.build(*relays)
        assert circuit.path == [relay.row for relay in relays]
        (inner,) = relays[-1].switch.circuits
        assert circuit.binding == inner.binding
        assert client.circuits.circuits == {circuit}
        await trio.sleep(5)
        assert circuit.age_seconds == 5.0


async def test_a_hop_that_does_not_answer_times_out(autojump_clock: MockClock) -> None:
    async with network(2) as (_, relays, client):
        relays[1].switch.serve_handshake = lambda now: False  # type: ignore[method-assign]
        port = await client.links.to(relays[0].row)
        circuit = client.circuits.start(port, Purpose.TEST, 1)
        await circuit.add(relays[0].row)
        start = trio.current_time()
        with pytest.raises(CircuitFailed) as info:
            await circuit.add(relays[1].row)
        assert trio.current_time() - start == 10.0
        assert (info.value.reason, info.value.relay) == (Reason.HOP_TIMEOUT, relays[1].identity)
        assert circuit.failed == Reason.HOP_TIMEOUT
        await trio.testing.wait_all_tasks_blocked()
        assert not relays[0].switch.circuits  # it was told
        assert not client.circuits.circuits


async def test_a_first_relay_that_does_not_answer_blames_no_extend(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        relays[0].switch.serve_handshake = lambda now: False  # type: ignore[method-assign]
        circuit = client.circuits.start(await client.links.to(relays[0].row), Purpose.TEST, 1)
        with pytest.raises(CircuitFailed) as info:
            await circuit.add(relays[0].row)
        assert info.value.relay is None


@pytest.mark.parametrize("step", ["add", "pad"])
async def test_a_cancelled_set_up_ends_the_circuit(autojump_clock: MockClock, step: str) -> None:
    async with network(2) as (_, relays, client):
        circuit = client.circuits.start(await client.links.to(relays[0].row), Purpose.TEST, 1)
        await circuit.add(relays[0].row)
        with trio.move_on_after(0):
            await (circuit.add(relays[1].row) if step == "add" else circuit.pad())
        assert circuit.failed == Reason.CANCELLED
        await trio.testing.wait_all_tasks_blocked()
        assert not client.circuits.circuits
        assert not any(relay.switch.circuits for relay in relays)


def watched(client: Client, guard: Relay) -> tuple[list[tuple[float, int]], list[tuple[float, int]]]:
    """(when, cells) of each frame of circuits' cells that passes the first link: out, and back."""
    frames: tuple[list[tuple[float, int]], list[tuple[float, int]]] = ([], [])
    for sink, seen, ours in (
        (guard.switch, frames[0], lambda port: port.peer is None),
        (client.circuits, frames[1], lambda port: True),
    ):

        def look(  # type: ignore[no-untyped-def]
            port: LinkPort, frame: bytes, now: float, *, receive=sink.receive_frame, seen=seen, ours=ours
        ) -> None:
            if ours(port) and int.from_bytes(frame[:4], "big"):
                seen.append((now, len(frame) // CELL))
            receive(port, frame, now)

        sink.receive_frame = look  # type: ignore[method-assign]
    return frames


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
async def test_the_first_link_shows_four_frames_of_three_cells_for_any_number_of_hops(
    autojump_clock: MockClock, hops: int
) -> None:
    async with network(4) as (_, relays, client):
        out, back = watched(client, relays[0])
        await client.build(*relays[: hops + 1])
        assert [cells for _, cells in out] == [3, 3, 3, 3]
        assert [cells for _, cells in back] == [3, 3, 3, 3]


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
async def test_padding_rounds_leave_when_those_of_a_longer_path_would(
    autojump_clock: MockClock, hops: int
) -> None:
    """Here every answer comes at once, but EXTENDs are known to take longer and longer."""
    async with network(4) as (_, relays, client):
        client.circuits.round_times.took(1, 0.3)
        client.circuits.round_times.took(2, 0.2)
        out, _ = watched(client, relays[0])
        start = trio.current_time()
        await client.build(*relays[: hops + 1])
        times = [now - start for now, _ in out]
        assert times[1] == 0.0
        assert times[2] == (pytest.approx(0.3, abs=0.03) if hops == 0 else 0.0)
        assert times[3] - times[2] == (pytest.approx(times[2] + 0.2, abs=0.02) if hops < 2 else 0.0)
        assert trio.current_time() - start == times[3]  # nobody waits after the last echo


async def test_a_circuit_that_ends_between_two_rounds_says_why(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        client.circuits.round_times.took(1, 0.3)
        circuit = client.circuits.start(await client.links.to(relays[0].row), Purpose.TEST, 1)
        await circuit.add(relays[0].row)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def end() -> None:
                await trio.sleep(0.1)
                circuit.close(Reason.CLOSED)

            with pytest.raises(CircuitFailed, match=Reason.CLOSED):
                await circuit.pad()


async def test_padding_that_is_not_echoed_times_out(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = client.circuits.start(await client.links.to(relays[0].row), Purpose.TEST, 1)
        await circuit.add(relays[0].row)
        relays[0].switch.control.recognised = lambda *args, **kinds: None  # type: ignore[method-assign]
        with pytest.raises(CircuitFailed, match=Reason.HOP_TIMEOUT):
            await circuit.pad()


# Messages.


async def test_an_answer_that_does_not_come_in_time_ends_the_circuit(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        relays[0].parrot.next_actions = ()
        with pytest.raises(CircuitFailed, match=Reason.ANSWER_TIMEOUT):
            await circuit.ask(ASK, b"", ANSWER, 7.0)
        assert circuit.failed == Reason.ANSWER_TIMEOUT


async def test_ask(autojump_clock: MockClock) -> None:
    async with network(2) as (_, relays, client):
        circuit = await client.build(*relays)
        assert await circuit.ask(ASK, b"question", ANSWER, 7.0) == b"question"


async def test_what_came_before_the_end_can_still_be_read(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        circuit.accept(ANSWER)
        circuit.send(ASK, b"one")
        await trio.testing.wait_all_tasks_blocked()
        (inner,) = relays[0].switch.circuits
        relays[0].parrot.next_actions = (EndCircuit(inner, Reason.CLOSED),)
        circuit.send(ASK, b"end")
        assert await circuit.closed() == Reason.DESTROYED
        assert (await circuit.receive()).body == b"one"
        with pytest.raises(CircuitFailed, match="destroyed"):
            await circuit.receive()
        with pytest.raises(CircuitFailed, match="destroyed"):
            circuit.send(ASK, b"two")


@pytest.mark.parametrize("wait", ["receive", "deliver", "closed"])
async def test_the_end_wakes_whoever_waits(autojump_clock: MockClock, wait: str) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        stuck_client(client)
        for _ in range(Params().window // 34 + 2):
            circuit.send(ASK, bytes(17_000))  # of 35 cells: more than a window holds
        woken = False

        async def waits() -> None:
            nonlocal woken
            if wait == "closed":
                assert await circuit.closed() == Reason.CLOSED
            else:
                with pytest.raises(CircuitFailed, match=Reason.CLOSED):
                    if wait == "receive":
                        await circuit.receive()
                    else:
                        await circuit.deliver(ASK, b"")
            woken = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(waits)
            await trio.testing.wait_all_tasks_blocked()
            assert not woken
            circuit.close(Reason.CLOSED)
        assert woken


def stuck_client(client: Client) -> None:
    """Nothing leaves the client any more."""
    client.circuits.flush = lambda: None


async def test_a_delivery_after_the_end_is_no_success(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        circuit.close(Reason.CLOSED)
        with pytest.raises(CircuitFailed, match=Reason.CLOSED):
            await circuit.deliver(ASK, b"")


async def test_a_delivery_returns_when_its_last_cell_left(autojump_clock: MockClock) -> None:
    """Two may be under way, so that one fills what window the other leaves; never more."""
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        circuit.accept(ANSWER)
        returned: list[int] = []

        async def one(size: int) -> None:
            await circuit.deliver(ASK, bytes(size))
            returned.append(size)
            assert circuit.waiting_messages <= 1

        async with trio.open_nursery() as nursery:
            for size in range(16_900, 17_000, 20):
                nursery.start_soon(one, size)
                await trio.testing.wait_all_tasks_blocked()
                assert circuit.waiting_messages <= 2
        assert len(returned) == 5
        assert circuit.waiting_messages == 0


async def test_a_reader_that_does_not_read_stops_the_sender(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        circuit.accept(ANSWER)
        (inner,) = relays[0].switch.circuits
        bodies = [seeded(number)(5000) for number in range(60)]  # eleven cells each
        relays[0].parrot.next_actions = tuple(Reply(inner, ANSWER, body) for body in bodies)
        circuit.send(ASK, b"")
        await trio.sleep(1)
        assert INBOX_MESSAGES <= circuit.unread_messages <= INBOX_MESSAGES + WINDOW // 11
        assert inner.waiting_messages >= 60 - INBOX_MESSAGES - WINDOW // 11 - 1
        assert [(await circuit.receive()).body for _ in bodies] == bodies
        assert circuit.failed is None


async def test_sending_is_bounded_by_the_window(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        stuck_client(client)
        for _ in range(10):
            circuit.send(ASK, bytes(17_000))
        assert client.memory.used_bytes <= WINDOW * CELL


# Joined circuits.


class Pair:
    """A visitor and an endpoint at a rendezvous point; the endpoint has not answered yet."""

    visitor: Circuit
    endpoint: Circuit
    keys = (seeded(1)(LAYER_STATE), seeded(2)(LAYER_STATE))
    sealed = seeded(3)(1168)

    async def come(self, visitor: Client, endpoint: Client, *relays: Relay) -> None:
        self.visitor = await visitor.build(*relays)
        self.endpoint = await endpoint.build(*relays)
        assert await self.visitor.ask(m.ESTABLISH_RENDEZVOUS, COOKIE, m.RENDEZVOUS_ESTABLISHED, 5.0) == bytes(
            (m.OK,)
        )
        self.visitor.expect_join(m.RENDEZVOUS2)

    def answer(self) -> None:
        self.endpoint.accept()
        self.endpoint.send(m.RENDEZVOUS1, m.Rendezvous1(COOKIE, self.sealed).encode())
        self.endpoint.join(*self.keys, as_visitor=False, accepts=frozenset((m.RECORD,)))

    async def answered(self) -> None:
        assert (await self.visitor.receive()).body == self.sealed
        self.visitor.join(*self.keys, as_visitor=True, accepts=frozenset((m.RECORD,)))


@asynccontextmanager
async def met() -> AsyncIterator[tuple[Pair, Client, Client]]:
    world = World()
    relays = [world.relay(), world.relay(Meeting(lambda: world.params))]
    async with world.running(), world.client() as visitor, world.client() as endpoint:
        pair = Pair()
        await pair.come(visitor, endpoint, *relays)
        yield pair, visitor, endpoint


async def test_an_endpoint_that_speaks_first_is_heard(autojump_clock: MockClock) -> None:
    """Its first cells may come in one frame with RENDEZVOUS2, before the visitor's task has run."""
    async with met() as (pair, visitor, _):
        pair.answer()
        for body in (b"first", seeded(4)(30_000), b"third"):
            pair.endpoint.send(m.RECORD, body)
        await trio.testing.wait_all_tasks_blocked()
        assert pair.visitor.failed is None
        await pair.answered()
        assert [(await pair.visitor.receive()).body for _ in range(3)] == [
            b"first",
            seeded(4)(30_000),
            b"third",
        ]
        pair.visitor.send(m.RECORD, b"and back")
        assert (await pair.endpoint.receive()).body == b"and back"
        assert visitor.memory.used_bytes == 0


async def test_an_end_that_comes_before_the_join_ends_it(autojump_clock: MockClock) -> None:
    async with met() as (pair, _, _):
        pair.answer()
        await trio.testing.wait_all_tasks_blocked()
        pair.endpoint.close(Reason.CLOSED)
        await trio.testing.wait_all_tasks_blocked()
        assert pair.visitor.failed == Reason.DESTROYED
        with pytest.raises(CircuitFailed, match="destroyed"):
            await pair.answered()


async def test_what_comes_before_the_join_is_bounded(autojump_clock: MockClock) -> None:
    async with met() as (pair, visitor, _):
        pair.answer()
        await trio.testing.wait_all_tasks_blocked()
        for number in range(Params().window + 1):
            assert pair.visitor.failed is None, number
            pair.visitor.cell(RELAY, bytes(BODY))
        assert pair.visitor.failed == Reason.WINDOW_OVERRUN
        assert visitor.drops.counts[Reason.WINDOW_OVERRUN] == 1


async def test_junk_that_came_before_the_join_is_one_drop(autojump_clock: MockClock) -> None:
    async with met() as (pair, visitor, _):
        pair.answer()
        await trio.testing.wait_all_tasks_blocked()
        for _ in range(300):
            pair.visitor.cell(RELAY, bytes(BODY))
        await pair.answered()
        assert pair.visitor.failed == Reason.LAYER_UNRECOGNISED
        assert visitor.drops.counts[Reason.LAYER_UNRECOGNISED] == 1


# Cells that belong nowhere.


@pytest.mark.parametrize(
    "circuit_id, command, reason",
    [
        (0, RELAY, Reason.LINK_COMMAND),
        (0, LINK_AUTH, Reason.LINK_COMMAND),
        (9, CREATE, Reason.CREATE_NOT_ALLOWED),
    ],
)
async def test_what_a_relay_may_not_send_ends_the_link(
    autojump_clock: MockClock, circuit_id: int, command: int, reason: Reason
) -> None:
    async with network(1) as (world, (relay,), client):
        listener = world.network.listen("30.0.0.1")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def answer() -> None:
                peer = await answer_as_peer(listener, relay)
                peer.push(peer.machine.seal(pack_cell(0, PADDING, bytes(BODY))))
                peer.push(peer.machine.seal(pack_cell(9, RELAY, bytes(BODY))))
                await trio.sleep(1)
                assert client.links.open_links == 1
                peer.push(peer.machine.seal(pack_cell(circuit_id, command, bytes(BODY))))

            port = await client.links.to(changed(relay.row, host="30.0.0.1", port=listener.address[1]))
            circuit = client.circuits.start(port, Purpose.TEST, 1)
            assert await circuit.closed() == Reason.LINK_CLOSED
        assert client.drops.counts[reason] == 1
        assert client.drops.counts[Reason.UNKNOWN_CIRCUIT] == 1


async def test_a_bad_cell_ends_its_circuit_tells_the_relay_and_harms_no_other(
    autojump_clock: MockClock,
) -> None:
    async with network(2) as (_, relays, client):
        circuit = await client.build(*relays)
        first = relays[0].switch
        (inner,) = first.circuits
        other = await client.build(*relays)
        inner.inward.port.send(inner.inward.circuit_id, RELAY, bytes(BODY))
        relays[0].links.flush()
        assert await circuit.closed() == Reason.LAYER_UNRECOGNISED
        await trio.testing.wait_all_tasks_blocked()
        assert len(first.circuits) == len(relays[1].switch.circuits) == 1
        other.accept(ANSWER)
        other.send(ASK, b"unharmed")
        assert (await other.receive()).body == b"unharmed"


async def test_a_destroy_is_not_answered(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        (inner,) = relays[0].switch.circuits
        inner.inward.port.send(inner.inward.circuit_id, DESTROY, bytes(BODY))
        relays[0].links.flush()
        assert await circuit.closed() == Reason.DESTROYED
        await trio.testing.wait_all_tasks_blocked()
        assert len(relays[0].switch.circuits) == 1  # we destroyed it behind the switch's back


async def test_closing_twice_says_the_first_reason(autojump_clock: MockClock) -> None:
    async with network(1) as (_, relays, client):
        circuit = await client.build(*relays)
        circuit.close(Reason.CLOSED)
        circuit.close(Reason.CANCELLED)
        assert circuit.failed == Reason.CLOSED
        assert await circuit.closed() == Reason.CLOSED


async def test_a_link_that_breaks_while_joining_gives_memory_back_once(autojump_clock: MockClock) -> None:
    world = World()
    relay = world.relay()
    async with world.running(), world.client() as client:
        circuit = await client.build(relay)
        circuit.accept(ANSWER)
        circuit.send(ASK, bytes(1000))
        await trio.sleep(1)  # the answer lies unread
        assert client.memory.used_bytes == 1000
        stuck_client(client)
        circuit.send(ASK, b"")  # something waits for that link
        client.circuits.flush = client.links.flush
        world.network.cut("20.1.0.1")
        circuit.join(bytes(80), bytes(80), as_visitor=True, accepts=frozenset())
        assert circuit.failed is not None
        assert client.memory.used_bytes == 0
