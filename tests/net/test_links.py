"""Links of whole nodes: one dial shared, streams that misbehave, limits, ends (SPEC 5, 17)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.link import strangers as strangers_file
from onionshh.core.link.link import LinkResponder
from onionshh.core.link.outbox import CellQueue
from onionshh.core.link.port import LinkPort
from onionshh.crypto.identity import SigningKey
from onionshh.geometry import BODY, CELL, FRAME
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.link_driver import LinkDriver
from onionshh.net.links import LinkFailed
from onionshh.net.memory import BUFFER_BYTES, MemoryDialer, MemoryStream
from onionshh.net.timers import STEP_SECONDS
from onionshh.net.transport import Dialer, NoRoom, StreamBroken
from onionshh.reasons import Reason
from onionshh.wire.cell import CREATE, DESTROY, LINK_AUTH, PADDING, RELAY, pack_cell, split_cells
from simulations.world import ANSWER, ASK
from tests.core.networks import changed
from tests.net.world import Client, Peer, Relay, World, answer_as_peer, dial_as_peer
from tests.seeded import seeded


@asynccontextmanager
async def network(relays: int, **kinds: object) -> AsyncIterator[tuple[World, list[Relay], Client]]:
    world = World(**kinds)  # type: ignore[arg-type]
    made = [world.relay() for _ in range(relays)]
    async with world.running(), world.client() as client:
        yield world, made, client


async def port_of(relay: Relay, count: int = 1) -> list[LinkPort]:
    """The open ports at a relay, once all is quiet."""
    await trio.testing.wait_all_tasks_blocked()
    ports = relay.links.ports()
    assert len(ports) == count
    return ports


# Rest.


async def test_while_it_rests_a_node_has_no_links_whoever_dials(autojump_clock: MockClock) -> None:
    async with network(2) as (_, relays, client):
        circuit = await client.build(*relays)
        relays[0].links.rest(Reason.HIBERNATING)
        await trio.testing.wait_all_tasks_blocked()
        assert (relays[0].links.open_links, relays[1].links.open_links) == (0, 0)
        with pytest.raises(CircuitFailed):
            circuit.send(ASK, b"")
            await circuit.receive()
        with pytest.raises(LinkFailed):
            await client.build(relays[0])
        assert relays[0].drops.counts[Reason.HIBERNATING] >= 2
        with pytest.raises(LinkFailed) as caught:
            await relays[0].links.to(relays[1].row)
        assert caught.value.reason is Reason.HIBERNATING
        relays[0].links.resume()
        circuit = await client.build(*relays)
        circuit.accept(ANSWER)
        circuit.send(ASK, b"hello")
        assert (await circuit.receive()).body == b"hello"
        sent = relays[0].links.moved
        assert sent.both_ways == sent.bytes + sent.bytes_received > 0


# Over memory and over TCP alike.


@pytest.mark.parametrize("tcp", [False, True])
@pytest.mark.parametrize("count", [1, 4])
async def test_messages_go_both_ways_over_real_links(
    autojump_clock: MockClock, tcp: bool, count: int
) -> None:
    async with network(count, tcp=tcp) as (_, relays, client):
        circuit = await client.build(*relays)
        circuit.accept(ANSWER)
        for body in (b"", b"hello", seeded(1)(17_000)):
            circuit.send(ASK, body)
            assert (await circuit.receive()).body == body
        bodies = [seeded(number)(17_000) for number in range(10)]
        for body in bodies:
            circuit.send(ASK, body)
        assert [(await circuit.receive()).body for _ in bodies] == bodies
    assert client.drops.counts[Reason.LINK_BROKEN] == 0


@pytest.mark.parametrize("tcp", [False, True])
async def test_many_circuits_share_one_link_and_none_hears_another(
    autojump_clock: MockClock, tcp: bool
) -> None:
    async with network(3, tcp=tcp) as (_, relays, client):
        circuits = [await client.build(*relays) for _ in range(5)]
        assert client.links.open_links == 1
        for number, circuit in enumerate(circuits):
            circuit.accept(ANSWER)
            circuit.send(ASK, bytes((number,)) * 3000)
        for number, circuit in enumerate(circuits):
            assert (await circuit.receive()).body == bytes((number,)) * 3000
        circuits[0].close()
        circuits[1].send(ASK, b"still here")
        assert (await circuits[1].receive()).body == b"still here"


async def test_two_relays_share_one_link_both_ways(autojump_clock: MockClock) -> None:
    async with network(2) as (world, (one, other), client):
        await client.build(one, other)
        await client.build(other, one)
        assert world.network.dialled.count((one.row.host, other.row.host)) == 1
        assert world.network.dialled.count((other.row.host, one.row.host)) == 0


# Dialling.


async def test_callers_at_the_same_time_share_one_dial(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        ports: list[LinkPort] = []

        async def ask() -> None:
            ports.append(await client.links.to(relay.row))

        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(ask)
        ports.append(await client.links.to(relay.row))
        assert len(set(ports)) == 1
        assert len(world.network.dialled) == 1
        assert client.links.peers() == [relay.identity]


async def test_a_cancelled_caller_takes_the_link_from_nobody(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        patient: list[LinkPort] = []

        async def ask() -> None:
            patient.append(await client.links.to(relay.row))

        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                nursery.start_soon(ask)
                scope.cancel()
                await client.links.to(relay.row)
            assert scope.cancelled_caught
        assert len(patient) == 1
        assert len(world.network.dialled) == 1


async def test_the_first_caller_may_go_and_the_others_get_their_link(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        with trio.move_on_after(0):
            await client.links.to(relay.row)
        port = await client.links.to(relay.row)
        assert port.peer == relay.identity
        assert len(world.network.dialled) == 1


async def test_nobody_listens(autojump_clock: MockClock) -> None:
    async with network(1) as (_, (relay,), client):
        relay.listener.close()
        for _ in range(2):
            with pytest.raises(LinkFailed, match="nothing listens there"):
                await client.links.to(relay.row)
        assert client.links.open_links == 0
        assert client.links.statistics().dialling == 0


async def test_a_relay_with_other_keys_is_refused_and_tried_anew(autojump_clock: MockClock) -> None:
    async with network(2) as (_, (relay, other), client):
        wrong = relay.row._replace(onion_key=other.onion.public)
        with pytest.raises(LinkFailed):
            await client.links.to(wrong)
        assert (await client.links.to(relay.row)).peer == relay.identity


async def test_a_peer_that_says_nothing_times_out_after_ten_seconds(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        listener = world.network.listen("30.0.0.1")
        start = trio.current_time()
        with pytest.raises(LinkFailed):
            await client.links.to(changed(relay.row, host="30.0.0.1", port=listener.address[1]))
        assert 10.0 <= trio.current_time() - start <= 10.1
        stream = await listener.accept()
        while await stream.receive_some():  # the flight, and then the end
            pass
        numbers = client.links.statistics()
        assert (numbers.open, numbers.opening, numbers.dialling) == (0, 0, 0)


class Hanging(MemoryDialer):
    async def dial(self, host: str, port: int) -> MemoryStream:
        await trio.sleep_forever()
        raise StreamBroken("never")


class HangingWorld(World):
    def dialer(self, host: str) -> Dialer:
        return Hanging(self.network, host)


async def test_a_dial_that_hangs_times_out_for_all_who_wait(autojump_clock: MockClock) -> None:
    world = HangingWorld()
    relay = world.relay()
    async with world.running(), world.client() as client:
        failed: list[float] = []

        async def ask() -> None:
            with pytest.raises(LinkFailed, match="timeout"):
                await client.links.to(relay.row)
            failed.append(trio.current_time())

        start = trio.current_time()
        async with trio.open_nursery() as nursery:
            for _ in range(3):
                nursery.start_soon(ask)
        assert [time - start for time in failed] == [10.0] * 3


async def test_a_peer_that_leaves_before_our_proof_leaves_no_link_behind(autojump_clock: MockClock) -> None:
    """Its flight is there, but nothing takes our LINK_AUTH any more."""
    async with network(1) as (world, (relay,), client):
        listener = world.network.listen("30.0.0.1")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def answer() -> None:
                stream = await listener.accept()
                machine = LinkResponder(
                    identity=relay.identity,
                    onion_keys=[relay.onion],
                    is_relay=lambda identity: False,
                    earliest=0,
                    params=world.params,
                    chance=Chance(seeded(1)),
                    now=0.0,
                )
                peer = Peer(stream, machine)
                await peer.read()
                stream.close()

            opened: list[LinkPort] = []
            client.circuits.link_opened = lambda port, now: opened.append(port)  # type: ignore[method-assign]
            with pytest.raises(LinkFailed):
                await client.links.to(changed(relay.row, host="30.0.0.1", port=listener.address[1]))
        assert opened == []
        assert client.links.peers() == []
        numbers = client.links.statistics()
        assert (numbers.open, numbers.opening, numbers.dialling) == (0, 0, 0)
        assert client.drops.counts[Reason.LINK_BROKEN] == 1


async def test_after_the_node_closed_no_link_is_dialled(autojump_clock: MockClock) -> None:
    world = World()
    relay = world.relay()
    async with world.running():
        async with world.client() as client:
            port = await client.links.to(relay.row)
            assert port.peer == relay.identity
        with pytest.raises(LinkFailed):
            await client.links.to(relay.row)
        assert client.drops.counts[Reason.NODE_CLOSED] == 1


async def test_a_link_that_closed_is_dialled_anew(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        first = await client.links.to(relay.row)
        world.network.cut("20.1.0.1")
        await trio.sleep(1)
        world.network.heal("20.1.0.1")
        second = await client.links.to(relay.row)
        assert second is not first
        assert len(world.network.dialled) == 2


# Who dials us.


async def test_a_proven_relay_is_a_peer_and_is_not_dialled_again(autojump_clock: MockClock) -> None:
    async with network(2) as (world, (one, other), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), one, identity=other.key)
        (port,) = await port_of(one)
        assert port.peer == other.identity
        assert await one.links.to(other.row) is port
        peer.stream.close()


@pytest.mark.parametrize("identity", [None, SigningKey(b"unknown".ljust(32))])
async def test_whoever_is_no_relay_of_the_consensus_is_nobody(
    autojump_clock: MockClock, identity: SigningKey | None
) -> None:
    async with network(1) as (world, (relay,), _):
        await dial_as_peer(world.network.dialer("40.0.0.1"), relay, identity=identity)
        (port,) = await port_of(relay)
        assert port.peer is None
        assert port.host == "40.0.0.1"
        assert relay.links.peers() == []


async def test_a_half_open_link_ends_and_others_go_on(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        stream = await world.network.dialer("40.0.0.1").dial(relay.row.host, relay.row.port)
        stream.send_some(bytes(1000))
        start = trio.current_time()
        circuit = await client.build(relay)
        assert await stream.receive_some() == b""
        assert 10.0 <= trio.current_time() - start <= 10.1
        assert relay.drops.counts[Reason.LINK_SETUP_TIMEOUT] == 1
        assert circuit.failed is None


async def test_a_peer_that_sends_one_byte_a_second_never_opens_a_link(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay, open_it=False)
        flight = peer.machine.data_to_send()
        sent = 0
        with pytest.raises(StreamBroken):
            while True:
                peer.stream.send_some(flight[sent : sent + 1])
                sent += 1
                await trio.sleep(1)
        assert 10 <= sent <= 11
        assert relay.links.open_links == 0


async def test_a_peer_that_sends_a_frame_byte_by_byte_loses_its_link(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        circuit = await client.build(relay)
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        frame = peer.machine.seal(pack_cell(0, PADDING, bytes(BODY)))
        sent = 0
        with pytest.raises(StreamBroken):
            while True:
                peer.stream.send_some(frame[sent : sent + 1])
                sent += 1
                await trio.sleep(1)
        assert 10 <= sent <= 11
        assert relay.drops.counts[Reason.FRAME_TIMEOUT] == 1
        assert circuit.failed is None


@pytest.mark.parametrize("how", ["tamper", "size", "auth-again", "create"])
async def test_a_bad_frame_ends_its_link_and_no_other(autojump_clock: MockClock, how: str) -> None:
    async with network(1) as (world, (relay,), client):
        circuit = await client.build(relay)
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        seal = peer.machine.seal
        sealed = seal(pack_cell(0, PADDING, bytes(BODY)))
        data = {
            "tamper": sealed[:-1] + bytes((sealed[-1] ^ 1,)),
            "size": b"\0\0",
            "auth-again": seal(pack_cell(0, LINK_AUTH, bytes(BODY))),
            "create": seal(pack_cell(5, CREATE, bytes(BODY))),
        }[how]
        peer.push(data)
        await peer.ends()
        assert peer.ended == Reason.LINK_ENDED  # and nothing else: no reason goes over the wire
        assert peer.frames == []
        circuit.accept(ANSWER)
        circuit.send(ASK, b"unharmed")
        assert (await circuit.receive()).body == b"unharmed"


async def test_frames_behind_a_bad_one_are_not_looked_at(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        bad = peer.machine.seal(pack_cell(0, RELAY, bytes(BODY)))
        good = peer.machine.seal(pack_cell(1 << 31 | 9, RELAY, bytes(BODY)))
        peer.push(bad + good)
        await peer.ends()
        assert relay.drops.counts[Reason.LINK_COMMAND] == 1
        assert relay.drops.counts[Reason.UNKNOWN_CIRCUIT] == 0


# Limits.


async def test_so_many_links_an_address_and_no_more(autojump_clock: MockClock) -> None:
    params = replace(World().params, links_per_ip=3)
    async with network(1, params=params) as (world, (relay,), _):
        dialer = world.network.dialer("40.0.0.1")
        peers = [await dial_as_peer(dialer, relay) for _ in range(3)]
        refused = await dial_as_peer(dialer, relay, open_it=False)
        await refused.ends()
        assert relay.drops.counts[Reason.LINKS_PER_ADDRESS] == 1
        await dial_as_peer(world.network.dialer("40.0.0.2"), relay)
        peers[0].stream.close()
        await port_of(relay, 3)
        await dial_as_peer(dialer, relay)
        assert relay.drops.counts[Reason.LINKS_PER_ADDRESS] == 1


async def test_half_open_links_count_too(autojump_clock: MockClock) -> None:
    params = replace(World().params, links_per_ip=2)
    async with network(1, params=params) as (world, (relay,), _):
        dialer = world.network.dialer("40.0.0.1")
        for _ in range(2):
            await dial_as_peer(dialer, relay, open_it=False)
        refused = await dial_as_peer(dialer, relay, open_it=False)
        await refused.ends()
        assert relay.drops.counts[Reason.LINKS_PER_ADDRESS] == 1
        await trio.sleep(20)
        assert relay.links.statistics().addresses == 0
        await dial_as_peer(dialer, relay)


async def test_so_many_links_a_second_from_one_address(autojump_clock: MockClock) -> None:
    params = replace(World().params, link_rate=2, link_burst=4)
    async with network(1, params=params) as (world, (relay,), _):
        dialer = world.network.dialer("40.0.0.1")
        for _ in range(10):
            await dialer.dial(relay.row.host, relay.row.port)
        await trio.testing.wait_all_tasks_blocked()
        assert relay.drops.counts[Reason.LINK_RATE] == 6
        await trio.sleep(1)
        for _ in range(3):
            await dialer.dial(relay.row.host, relay.row.port)
        await trio.testing.wait_all_tasks_blocked()
        assert relay.drops.counts[Reason.LINK_RATE] == 7
        world.params = replace(world.params, link_rate=0)
        for _ in range(50):
            await dialer.dial(relay.row.host, relay.row.port)
        await trio.testing.wait_all_tasks_blocked()
        assert relay.drops.counts[Reason.LINK_RATE] == 7


# Places for streams: descriptors, with TCP.


def links_of(relay: Relay) -> list[str]:
    """Addresses at the other ends of that relay's open links."""
    return sorted(port.host for port in relay.links.ports())


def places_taken(relay: Relay) -> int:
    """By open links and by handshakes."""
    numbers = relay.links.statistics()
    return numbers.open + numbers.opening


async def test_when_places_are_rare_the_idlest_link_of_who_holds_most_ends(
    autojump_clock: MockClock,
) -> None:
    async with network(1) as (world, (relay,), client):
        world.network.places[relay.row.host] = 9
        circuit = await client.build(relay)
        peers = []
        for _ in range(6):
            peers.append(await dial_as_peer(world.network.dialer("40.0.0.1"), relay))
            await trio.sleep(1)
        for _ in range(2):
            await dial_as_peer(world.network.dialer("40.0.0.2"), relay)
        assert relay.drops.counts[Reason.NO_ROOM] == 0
        for number in range(4):
            newcomer = await dial_as_peer(world.network.dialer(f"50.0.0.{number}"), relay)
            assert newcomer.opened is not None
            await trio.testing.wait_all_tasks_blocked()
            assert relay.drops.counts[Reason.NO_ROOM] == number + 1
            await peers[number].ends()  # the one without a circuit for longest
            assert places_taken(relay) == 9
        assert circuit.failed is None
        assert links_of(relay).count("40.0.0.2") == 2


async def test_a_link_with_circuits_outlives_those_without_and_few_go_before_many(
    autojump_clock: MockClock,
) -> None:
    async with network(1) as (world, (relay,), _):
        async with AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(world.client("40.0.0.1")) for _ in range(4)]
            circuits = []
            for client, count in zip(clients, (3, 1, 2, 1), strict=True):
                await trio.sleep(1)
                circuits.append([await client.build(relay) for _ in range(count)])
            idle = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
            world.network.places[relay.row.host] = 5
            lost = []
            for number in range(4):
                await dial_as_peer(world.network.dialer(f"50.0.0.{number}"), relay)
                await trio.testing.wait_all_tasks_blocked()
                lost.append([sum(one.failed is not None for one in many) for many in circuits])
            await idle.ends()
            # The idle one; then of two with one circuit that from which nothing came for longer.
            assert lost == [[0, 0, 0, 0], [0, 1, 0, 0], [0, 1, 0, 1], [0, 1, 2, 1]]


async def test_a_link_whose_circuits_have_gone_counts_from_then(autojump_clock: MockClock) -> None:
    async with network(2) as (world, (relay, further), _):
        async with world.client("40.0.0.1") as client:
            circuit = await client.build(relay, further)
            await trio.sleep(5)
            idle = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
            await trio.sleep(5)
            circuit.close()
            await trio.sleep(5)
            world.network.places[relay.row.host] = 3  # with the link to the further relay
            await dial_as_peer(world.network.dialer("50.0.0.1"), relay)
            await idle.ends()
            assert client.links.open_links == 1


async def test_half_open_links_go_too_and_the_newcomer_never(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        world.network.places[relay.row.host] = 3
        for number in range(10):
            stream = await world.network.dialer("40.0.0.1").dial(relay.row.host, relay.row.port)
            await trio.testing.wait_all_tasks_blocked()
            assert stream.receive_now() is None, number
            assert places_taken(relay) <= 3
        assert relay.drops.counts[Reason.NO_ROOM] == 7


async def test_a_dial_makes_room_as_well(autojump_clock: MockClock) -> None:
    async with network(2) as (world, (relay, further), client):
        for _ in range(2):
            await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        world.network.places[relay.row.host] = 3  # with the client's
        circuit = await client.build(relay, further)
        assert circuit.failed is None
        assert relay.drops.counts[Reason.NO_ROOM] == 1
        assert links_of(relay).count("40.0.0.1") == 1


async def test_room_is_sought_among_so_many_links_and_no_more(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(strangers_file, "LOOKED_AT_MOST", 5)
    looked_at = 0
    in_use = LinkDriver.in_use

    def counted(driver: LinkDriver) -> tuple[int, float]:
        nonlocal looked_at
        looked_at += 1
        return in_use(driver)

    monkeypatch.setattr(LinkDriver, "in_use", counted)
    async with network(1) as (world, (relay,), _):
        world.network.places[relay.row.host] = 20
        for number in range(23):  # all hold one: the last row is long
            await dial_as_peer(world.network.dialer(f"40.0.0.{number}"), relay)
        assert looked_at == 3 * 5


class Short:
    """The listener of a process that has no descriptors left: streams come, and cannot be taken."""

    address = ("10.0.0.1", 1)

    def __init__(self) -> None:
        self.refusals = 0

    async def accept(self) -> MemoryStream:
        while not self.refusals:
            await trio.sleep(0.05)
        self.refusals -= 1
        raise NoRoom("Too many open files")

    def close(self) -> None:
        pass


async def test_without_any_place_links_end_one_by_one_and_one_line_says_why(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with network(1) as (world, (relay,), _), trio.open_nursery() as nursery:
        listener = Short()
        serve = partial(
            relay.links.serve,
            listener,
            identity=relay.identity,
            onion_keys=lambda: [relay.onion],
            is_relay=world.knows,
        )
        nursery.start_soon(serve)
        for _ in range(3):
            await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        listener.refusals = 2
        await trio.sleep(1)
        assert relay.links.open_links == 1
        listener.refusals = 20
        await trio.sleep(10)
        assert not listener.refusals
        assert relay.links.open_links == 0
        assert [record.message for record in caplog.records] == [
            "no room for new links (Too many open files): the idlest ones end; raise the limit of open files"
        ]
        await trio.sleep(600)
        await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        listener.refusals = 5
        await trio.sleep(5)
        assert [record.message[:22] for record in caplog.records[1:]] == [
            "there is room for new ",
            "no room for new links ",
        ]
        nursery.cancel_scope.cancel()


# Backpressure.


async def flood(relay: Relay, port: LinkPort, stop: Callable[[], bool]) -> int:
    """One circuit's cells as fast as its queue takes them; the most bytes that ever waited."""
    most, queue = 0, CellQueue()
    while not stop():
        for _ in range(64):
            if port.outbox.count(queue) < 256:
                port.outbox.push(queue, pack_cell(7, RELAY, bytes(BODY)))
        most = max(most, relay.memory.used_bytes)
        relay.links.flush()
        await trio.sleep(0.1)
    return most


@pytest.mark.parametrize("tcp", [False, True])
async def test_a_peer_that_stops_reading_loses_its_link_after_thirty_seconds(
    autojump_clock: MockClock, tcp: bool
) -> None:
    world = World(tcp=tcp)
    relay = world.relay()
    async with world.running():
        peer = await dial_as_peer(world.dialer("40.0.0.1"), relay)
        (port,) = await port_of(relay)
        start = trio.current_time()
        unsent = 0

        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def keep_talking() -> None:
                nonlocal unsent
                try:
                    while not relay.drops.counts[Reason.LINK_STUCK]:
                        unsent = max(unsent, relay.links.statistics().unsent_bytes)
                        peer.push(peer.machine.seal(pack_cell(0, PADDING, bytes(BODY))))
                        await trio.sleep(5)
                except StreamBroken:
                    pass

            with trio.fail_after(120):
                most = await flood(relay, port, lambda: bool(relay.drops.counts[Reason.LINK_STUCK]))
        assert 30.0 <= trio.current_time() - start <= 35.1  # looked at every five seconds
        assert most <= 256 * CELL  # the circuit's cap: what waits beyond one frame stays in its queue
        assert 0 < unsent <= FRAME
        assert relay.links.statistics().unsent_bytes == 0
        assert relay.links.open_links == 0
        assert relay.memory.used_bytes == 0
        peer.stream.close()


async def test_a_peer_that_reads_again_gets_everything_in_order(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        (port,) = await port_of(relay)
        cells = [pack_cell(0, PADDING, seeded(number)(BODY)) for number in range(2000)]  # four buffers full
        for cell in cells:
            port.outbox.push(port.control, cell)
        relay.links.flush()
        await trio.sleep(5)
        assert isinstance(peer.stream, MemoryStream)
        incoming, _ = peer.stream.pipes
        assert len(incoming.data) <= BUFFER_BYTES
        got: list[bytes] = []
        while len(got) < len(cells):
            await peer.read()
            got = [cell for frame in peer.frames for cell in _cells(frame)]
        assert got == cells
        assert relay.memory.used_bytes == 0
        assert relay.links.open_links == 1


def _cells(frame: bytes) -> list[bytes]:
    return [frame[at : at + CELL] for at in range(0, len(frame), CELL)]


async def test_a_slow_link_slows_no_other(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        (port,) = await port_of(relay)
        for _ in range(2000):
            port.outbox.push(port.control, pack_cell(0, PADDING, bytes(BODY)))
        relay.links.flush()
        circuit = await client.build(relay)
        circuit.accept(ANSWER)
        start = trio.current_time()
        circuit.send(ASK, seeded(1)(17_000))
        assert (await circuit.receive()).body == seeded(1)(17_000)
        assert trio.current_time() == start


async def test_many_cells_share_a_frame_and_one_goes_alone(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        (port,) = await port_of(relay)
        for count in (1, 127, 130):
            for _ in range(count):
                port.outbox.push(port.control, pack_cell(0, PADDING, bytes(BODY)))
            relay.links.flush()
        await peer.read_until(lambda: sum(map(len, peer.frames)) == 258 * CELL)
        assert [len(frame) // CELL for frame in peer.frames] == [1, 127, 127, 3]


# Time.


async def test_an_idle_link_closes_after_three_minutes_on_both_sides(autojump_clock: MockClock) -> None:
    async with network(1) as (_, (relay,), client):
        await client.links.to(relay.row)
        start = trio.current_time()
        while client.links.open_links:
            await trio.sleep(1)
        assert 180.0 <= trio.current_time() - start <= 181.0
        await trio.sleep(10)
        assert relay.links.open_links == 0
        # Whichever side looks first ends it; both do when they look at the same moment.
        assert client.drops.counts[Reason.LINK_IDLE] + relay.drops.counts[Reason.LINK_IDLE] in (1, 2)


async def test_three_minutes_count_from_the_end_of_the_last_circuit(autojump_clock: MockClock) -> None:
    async with network(1) as (_, (relay,), client):
        circuit = await client.build(relay)
        await trio.sleep(303.3)  # longer than a link without circuits lasts
        circuit.close()
        start = trio.current_time()
        while client.links.open_links and relay.links.open_links:
            await trio.sleep(0.05)
        assert 180.0 <= trio.current_time() - start <= 180.1


Frame = tuple[float, str]


def sends(relay: Relay, monkeypatch: pytest.MonkeyPatch) -> list[Frame]:
    """(when, to which address) of each frame that leaves over links the relay was dialled by."""
    frames: list[Frame] = []
    send = MemoryStream.send_some

    def watch(stream: MemoryStream, data: bytes) -> int:
        if stream.host != relay.row.host:
            frames.append((trio.current_time(), stream.host))
        return send(stream, data)

    monkeypatch.setattr(MemoryStream, "send_some", watch)
    return frames


def silences(frames: list[Frame]) -> list[float]:
    """Seconds from each frame to the next on the same link."""
    last: dict[str, float] = {}
    found = []
    for now, host in frames:
        if host in last:
            found.append(now - last[host])
        last[host] = now
    return found


async def test_each_link_s_padding_leaves_at_its_own_time(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else whoever sees a relay's lines would know by the instant which links are its own."""
    world = World()
    relay = world.relay()
    async with world.running(), AsyncExitStack() as stack:
        for _ in range(40):
            client = await stack.enter_async_context(world.client())
            await client.build(relay)
        frames = sends(relay, monkeypatch)
        await trio.sleep(120)
        assert len({host for _, host in frames}) == 40
        assert len(frames) > 40 * 120 / 9.5
        found = silences(frames)
        assert 1.5 <= min(found) < 2.0
        assert 9.0 < max(found) <= 9.5 + STEP_SECONDS + 1e-6
        instants = Counter(round(now, 3) for now, _ in frames)
        assert sum(many for many in instants.values() if many > 1) < len(frames) / 20


async def test_padding_leaves_within_a_hundredth_of_a_second(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(params=replace(World().params, client_padding_min_ms=3000, client_padding_max_ms=3000))
    relay = world.relay()
    async with world.running(), AsyncExitStack() as stack:
        for number in range(20):
            client = await stack.enter_async_context(world.client())
            await client.build(relay)
            await trio.sleep(0.003 * number)
        frames = sends(relay, monkeypatch)
        await trio.sleep(60)
        found = silences(frames)
        assert len(found) >= 20 * 18
        assert min(found) >= 3.0 - 1e-6
        assert max(found) <= 3.0 + STEP_SECONDS + 1e-6


async def test_a_link_that_opens_while_others_are_far_from_due_pads_in_time(
    autojump_clock: MockClock,
) -> None:
    params = replace(World().params, client_padding_min_ms=200, client_padding_max_ms=300)
    world = World()
    relay = world.relay()
    async with world.running(), world.client() as first, world.client() as second:
        await first.build(relay)
        await trio.sleep(0.5)
        world.params = params
        await second.build(relay)
        for client in (first, second):
            sent = client.links.cells_sent
            await trio.sleep(0.32)
            assert (client.links.cells_sent > sent) == (client is second)


async def test_links_that_ended_are_soon_forgotten_where_deadlines_wait(autojump_clock: MockClock) -> None:
    async with network(1) as (_, (relay,), _):
        for number in range(30):
            peer = await dial_as_peer(relay.world.dialer(f"40.0.0.{number}"), relay)
            peer.stream.close()
        await trio.testing.wait_all_tasks_blocked()
        assert relay.links.open_links == 0
        await trio.sleep(10)
        assert relay.links.statistics().deadlines == 1  # that of what is done once a second


async def test_padding_keeps_a_quiet_link_with_a_circuit_open(autojump_clock: MockClock) -> None:
    async with network(2) as (_, relays, client):
        circuit = await client.build(*relays)
        await trio.sleep(3600)
        assert circuit.failed is None
        assert client.links.open_links == 1
        circuit.accept(ANSWER)
        circuit.send(ASK, b"after an hour")
        assert (await circuit.receive()).body == b"after an hour"


async def test_a_peer_that_falls_silent_is_noticed_after_thirty_seconds(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), client):
        listener = world.network.listen("30.0.0.1")
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_as_peer, listener, relay)
            port = await client.links.to(changed(relay.row, host="30.0.0.1", port=listener.address[1]))
        circuit = client.circuits.start(port, Purpose.TEST, 1)
        start = trio.current_time()
        assert await circuit.closed() == Reason.LINK_CLOSED
        assert 30.0 <= trio.current_time() - start <= 30.1
        assert client.drops.counts[Reason.LINK_SILENT] == 1


# Ends.


async def test_a_relay_that_dies_ends_the_circuits_through_it_and_no_others(
    autojump_clock: MockClock,
) -> None:
    async with network(4) as (world, relays, client):
        through = await client.build(relays[0], relays[1], relays[2])
        beside = await client.build(relays[0], relays[3], relays[2])
        world.kill(relays[1])
        with trio.fail_after(5):
            assert await through.closed() == Reason.DESTROYED
        beside.accept(ANSWER)
        beside.send(ASK, b"still here")
        assert (await beside.receive()).body == b"still here"
        assert len(relays[0].switch.circuits) == len(relays[2].switch.circuits) == 1


async def test_an_extend_to_a_dead_relay_ends_the_circuit(autojump_clock: MockClock) -> None:
    async with network(2) as (world, relays, client):
        world.kill(relays[1])
        port = await client.links.to(relays[0].row)
        circuit = client.circuits.start(port, Purpose.TEST, 1)
        await circuit.add(relays[0].row)
        with pytest.raises(CircuitFailed) as info:
            await circuit.add(relays[1].row)
        assert info.value.relay == relays[1].identity
        assert relays[0].drops.counts[Reason.EXTEND_FAILED] == 1
        assert not relays[0].switch.circuits


async def test_a_closed_circuit_is_forgotten_all_along(autojump_clock: MockClock) -> None:
    async with network(3) as (_, relays, client):
        circuit = await client.build(*relays)
        circuit.close()
        await trio.testing.wait_all_tasks_blocked()
        assert not client.circuits.circuits
        for relay in relays:
            assert not relay.switch.circuits
            assert relay.memory.used_bytes == 0
        assert client.memory.used_bytes == 0


async def test_a_client_that_leaves_tells_its_relay_at_once(autojump_clock: MockClock) -> None:
    world = World()
    relays = [world.relay() for _ in range(2)]
    async with world.running():
        async with world.client() as client:
            await client.build(*relays)
        await trio.testing.wait_all_tasks_blocked()
        assert all(not relay.switch.circuits for relay in relays)


async def test_no_cell_of_a_relay_to_a_client_tells_why(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        for number in range(3):
            cell = pack_cell(1 << 31 | 9, CREATE if not number else 10, bytes(BODY))
            peer.push(peer.machine.seal(cell))
        await peer.read_until(lambda: peer.frames)
        ((circuit_id, command, body),) = split_cells(peer.frames[0])
        assert (circuit_id, command, body[0]) == (1 << 31 | 9, DESTROY, 0)
        assert relay.drops.counts[Reason.CREATE_SIZE] == 1


def test_defaults_are_strict() -> None:
    params = Params()
    assert (params.link_rate, params.link_burst, params.links_per_ip) == (20, 40, 100)


# Faults of ours, which somebody's bytes brought out.


@pytest.mark.parametrize("where", ["receive_frame", "link_closed", "both"])
async def test_a_fault_ends_one_link_and_no_other(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    async with network(1) as (world, (relay,), client):
        circuit = await client.build(relay)
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        (port,) = [one for one in await port_of(relay, 2) if one.host == "40.0.0.1"]

        def breaking(name: str) -> None:
            real = getattr(relay.switch, name)

            def broken(at: LinkPort, *given: object) -> None:
                if at is port:
                    raise ZeroDivisionError
                real(at, *given)

            monkeypatch.setattr(relay.switch, name, broken)

        for name in ("receive_frame", "link_closed") if where == "both" else (where,):
            breaking(name)
        peer.push(peer.machine.seal(pack_cell(5, CREATE, bytes(BODY))))
        await peer.ends()
        assert relay.drops.counts[Reason.INTERNAL_FAULT] == 1
        assert relay.links.open_links == 1
        assert relay.links.statistics().addresses == 1
        assert links_of(relay) == ["20.1.0.1"]
        circuit.accept(ANSWER)
        circuit.send(ASK, b"unharmed")
        assert (await circuit.receive()).body == b"unharmed"


async def test_a_fault_when_something_is_due_ends_its_link_and_no_other(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(1) as (world, (relay,), client):
        circuit = await client.build(relay)
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        tick = LinkDriver.tick

        def broken(driver: LinkDriver, now: float) -> None:
            if driver.stream.host == "40.0.0.1":
                raise ZeroDivisionError
            tick(driver, now)

        monkeypatch.setattr(LinkDriver, "tick", broken)
        await peer.ends()
        await trio.sleep(60)
        assert relay.drops.counts[Reason.INTERNAL_FAULT] == 1
        assert links_of(relay) == ["20.1.0.1"]
        assert circuit.failed is None


async def test_a_relay_whose_onion_key_is_no_key_cannot_be_dialled_and_ends_nobody(
    autojump_clock: MockClock,
) -> None:
    async with network(1) as (_, relays, client):
        bad = relays[0].row._replace(identity=RelayId(bytes(31) + b"\1"), onion_key=bytes(32))
        with pytest.raises(LinkFailed):
            await client.links.to(bad)
        await client.build(relays[0])


async def test_addresses_of_one_64_are_one(autojump_clock: MockClock) -> None:
    world = World(params=Params().with_overrides({"links_per_ip": 2}))
    relay = world.relay()
    async with world.running():
        for number in range(5):
            dialer = world.network.dialer(f"2001:db8::{number + 1:x}")
            await dial_as_peer(dialer, relay, open_it=number < 2)
        await dial_as_peer(world.network.dialer("2001:db8:0:1::1"), relay)
        await trio.testing.wait_all_tasks_blocked()
        assert relay.links.open_links == 3
        assert relay.drops.counts[Reason.LINKS_PER_ADDRESS] == 3


async def test_a_link_that_ends_as_it_opens_is_none(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with network(1) as (_, (relay,), client):
        opened = client.circuits.link_opened

        def then_end(port: LinkPort, now: float) -> None:
            opened(port, now)
            client.links.end(port, Reason.LINK_ENDED)

        monkeypatch.setattr(client.circuits, "link_opened", then_end)
        with pytest.raises(LinkFailed):
            await client.links.to(relay.row)
