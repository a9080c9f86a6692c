"""Cells through real switches: both ways, joined, with full queues, past the quota (SPEC 3, 7)."""

from __future__ import annotations

from collections import Counter

import pytest

from onionshh.core.link.port import REFUSALS_HELD_LEAST
from onionshh.errors import ProtocolError
from onionshh.geometry import BODY, CELL, CELL_HEADER, DATA
from onionshh.reasons import Reason
from onionshh.relay.forward import Switch
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    CREATE,
    CREATE_MORE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    RELAY,
    RELAY_EARLY,
    split_cells,
)
from onionshh.wire.framing import build_payload
from simulations.stranger import Stranger
from simulations.world import ANSWER, ASK, PureNetwork
from tests.relay.network import ID, Pair, everything_is_gone, network, parrot
from tests.seeded import seeded


def switches(net: PureNetwork) -> list[Switch]:
    return [relay.switch for relay in net.relays.values()]


# Both ways.


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_messages_go_both_ways_over_one_to_four_relays(count: int) -> None:
    net, relays = network(count)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    assert circuit.hops_added == [relay.identity for relay in relays]
    circuit.machine.accept(frozenset((ANSWER,)))
    bodies = [b"", b"x", seeded(1)(489), seeded(2)(490), seeded(3)(12_000)]
    for body in bodies:
        client.send(circuit, ASK, body)
    assert [body for _, body in parrot(relays[-1]).heard] == bodies
    assert circuit.messages == [(count - 1, ANSWER, body) for body in bodies]
    assert all(not parrot(relay).heard for relay in relays[:-1])
    assert circuit.machine.binding == relays[-1].circuit.binding
    assert len({relay.circuit.binding for relay in relays}) == count


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_set_up_shows_the_same_cells_on_the_first_link_for_every_length(count: int) -> None:
    net, relays = network(4)
    client = net.client(relays[0])
    circuit = client.build(*relays[:count])
    there = [command for _, command in net.cells_on(client.port)]
    back = [command for _, command in net.cells_on(client.guard_port)]
    assert there == [CREATE, CREATE_MORE, CREATE_MORE] + [RELAY_EARLY] * 9
    assert back == [CREATED, CREATED_MORE, CREATED_MORE] + [RELAY] * 9
    assert {circuit_id for circuit_id, _ in net.cells_on(client.port)} == {circuit.circuit_id}


def test_a_stub_that_is_padded_first_and_extended_later_shows_the_same_cells() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.circuit()
    client.extend(circuit, relays[0])
    client.extend(circuit, relays[1])
    circuit.machine.pad_setup(1)
    client.settle(circuit)
    client.extend(circuit, relays[2])
    assert Counter(c for _, c in net.cells_on(client.port)) == {CREATE: 1, CREATE_MORE: 2, RELAY_EARLY: 9}
    assert Counter(c for _, c in net.cells_on(client.guard_port)) == {CREATED: 1, CREATED_MORE: 2, RELAY: 9}
    assert circuit.hops_added == [relay.identity for relay in relays]


def test_bulk_both_ways_is_windowed_and_whole() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    circuit.machine.accept(frozenset((ANSWER,)))
    bodies = [seeded(n)(17_000) for n in range(12)]  # 35 cells each: more than three windows
    for body in bodies:
        circuit.machine.send(ASK, body)
    client.settle(circuit)
    assert [body for _, _, body in circuit.messages] == bodies
    assert circuit.machine.waiting_messages == 0
    assert all(node.memory.used_bytes == 0 for node in net.nodes)


def test_forwarded_cells_are_counted_and_change_at_every_hop() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    circuit.machine.accept(frozenset((ANSWER,)))
    seen: list[bytes] = []

    def look(port: object, frame: bytes) -> bytes:
        seen.extend(body for *_, body in split_cells(frame))
        return frame

    net.touch = look
    before = [switch.cells_forwarded for switch in switches(net)]
    client.send(circuit, ASK, b"once")
    forwarded = [switch.cells_forwarded - one for switch, one in zip(switches(net), before, strict=True)]
    assert forwarded == [2, 2, 0]  # the question and its answer
    extended = [switch.by_stage()["extended"] for switch in switches(net)]
    assert extended == [1, 1, 0]
    assert relays[2].switch.by_stage()["open"] == 1
    assert len(seen) == len(set(seen)) == 6


def test_a_relay_cell_for_a_hop_that_is_not_there_ends_the_circuit() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.raw(circuit.circuit_id, RELAY)
    assert relays[0].drops.counts[Reason.CELL_UNRECOGNISED] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_a_flipped_bit_ends_its_circuit_and_no_other() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit, other = client.build(*relays), client.build(*relays)

    def flip(port: object, frame: bytes) -> bytes:
        at = CELL_HEADER + 300
        return frame[:at] + bytes((frame[at] ^ 1,)) + frame[at + 1 :] if port is client.port else frame

    net.touch = flip
    client.send(circuit, ASK, b"hurt")
    net.touch = lambda port, frame: frame
    assert relays[2].drops.counts[Reason.CELL_UNRECOGNISED] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    other.machine.accept(frozenset((ANSWER,)))
    client.send(other, ASK, b"unharmed")
    assert other.messages == [(2, ANSWER, b"unharmed")]


def test_a_link_that_closes_ends_every_circuit_over_it_and_only_those() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    through, beside = client.build(*relays), client.build(relays[0], relays[2])
    net.cut(relays[0].links[relays[1].identity])
    net.settle()
    assert through.machine.failed == Reason.DESTROYED
    assert beside.machine.failed is None
    assert not relays[1].switch.circuits
    assert len(relays[2].switch.circuits) == len(relays[0].switch.circuits) == 1
    assert all(node.memory.used_bytes == 0 for node in net.nodes)


# Joined circuits.


@pytest.mark.parametrize("endpoint_hops", [0, 1, 2, 3])
@pytest.mark.parametrize("visitor_hops", [0, 1, 2, 3])
def test_end_to_end_messages_cross_the_point_both_ways(visitor_hops: int, endpoint_hops: int) -> None:
    pair = Pair(visitor_hops, endpoint_hops)
    pair.join()
    small, large = b"hello", seeded(8)(66_000)
    pair.visitor.send(pair.circuit, m.RECORD, small)
    pair.endpoint.send(pair.answer, m.RECORD, large)
    pair.visitor.send(pair.circuit, m.RECORD, large)
    pair.endpoint.send(pair.answer, m.RECORD, small)
    joined = {"open": 0, "dialling": 0, "extending": 0, "extended": 0, "joined": 2}
    assert pair.point.switch.by_stage() == joined
    end = endpoint_hops + 1
    assert pair.answer.messages == [(end, m.RECORD, small), (end, m.RECORD, large)]
    end = visitor_hops + 1
    assert pair.circuit.messages == [(end, m.RECORD, large), (end, m.RECORD, small)]
    assert all(node.memory.used_bytes == 0 for node in pair.net.nodes)
    # Ends: one side goes, everything goes, through the join.
    pair.visitor.raw(pair.circuit.circuit_id, DESTROY)
    assert pair.answer.machine.failed == Reason.DESTROYED
    assert pair.point.drops.counts[Reason.JOIN_ENDED] == 1
    assert not any(switch.circuits for switch in switches(pair.net))


def test_the_endpoint_end_of_a_join_ends_the_visitor_too() -> None:
    pair = Pair(2, 1)
    pair.join()
    pair.net.cut(pair.endpoint.port)
    pair.net.settle()
    assert pair.circuit.machine.failed == Reason.DESTROYED
    assert not any(switch.circuits for switch in switches(pair.net))


def test_a_flipped_bit_end_to_end_kills_both_halves() -> None:
    pair = Pair(1, 1)
    pair.join()

    def flip(port: object, frame: bytes) -> bytes:
        return frame[:-1] + bytes((frame[-1] ^ 1,)) if port is pair.visitor.port else frame

    pair.net.touch = flip
    pair.visitor.send(pair.circuit, m.RECORD, b"hurt")
    assert pair.answer.machine.failed == Reason.LAYER_UNRECOGNISED
    assert pair.circuit.machine.failed == Reason.DESTROYED


# Queues and memory.


def test_a_queue_up_to_the_cap_is_kept_and_one_more_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit, other = client.build(*relays), client.build(*relays)
    onward = relays[0].links[relays[1].identity]
    net.stuck.add(onward)
    cap = net.params.queue_cap
    for _ in range(cap):
        client.raw(circuit.circuit_id, RELAY)
    assert onward.outbox.waiting == cap
    assert circuit.circuit_id in client.circuits
    client.raw(circuit.circuit_id, RELAY)
    assert relays[0].drops.counts[Reason.QUEUE_FULL] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    assert onward.outbox.waiting == 1  # the DESTROY
    assert other.machine.failed is None
    assert relays[0].memory.used_bytes == CELL


def test_past_the_memory_quota_the_oldest_data_goes_first() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuits = [client.build(*relays) for _ in range(4)]
    onward = relays[0].links[relays[1].identity]
    net.stuck.add(onward)
    relays[0].memory.most_bytes = 32 * CELL
    for age, (circuit, cells) in enumerate(zip(circuits[:3], (10, 10, 15), strict=True)):
        net.now += 1 + age
        for _ in range(cells):
            client.raw(circuit.circuit_id, RELAY)
    relays[0].switch.relieve()
    net.settle()
    assert [one.machine.failed for one in circuits] == [Reason.DESTROYED, None, None, None]
    assert relays[0].drops.counts[Reason.MEMORY] == 1
    assert relays[0].memory.used_bytes <= relays[0].memory.most_bytes


def test_what_stands_for_long_goes_before_bulk_that_drains() -> None:
    """A bulk circuit always has something in its queue; how old that is counts, not since when it is so."""
    net, relays = network(3)
    client = net.client(relays[0])
    bulk, little = client.build(*relays[:2]), client.build(relays[0], relays[2])
    drains, stands = (relays[0].links[relay.identity] for relay in relays[1:])
    net.stuck |= {drains, stands}
    for second in range(30):
        net.now = 200.0 + second
        for _ in range(100):
            client.raw(bulk.circuit_id, RELAY)
        if second:
            drains.outbox.take(100)  # the link takes as much as comes, a second later
        if second == 3:
            for _ in range(20):
                client.raw(little.circuit_id, RELAY)
        assert drains.outbox.waiting  # it is never empty
    relays[0].memory.most_bytes = relays[0].memory.used_bytes - 1
    relays[0].switch.relieve()
    net.settle()
    assert (bulk.machine.failed, little.machine.failed) == (None, Reason.DESTROYED)


def test_past_the_quota_an_eighth_of_it_is_made_free() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuits = [client.build(*relays) for _ in range(8)]
    net.stuck.add(relays[0].links[relays[1].identity])
    for circuit in circuits:
        net.now += 1
        for _ in range(10):
            client.raw(circuit.circuit_id, RELAY)
    relays[0].memory.most_bytes = 79 * CELL  # 80 are there
    relays[0].switch.relieve()
    net.settle()
    assert [one.machine.failed for one in circuits] == [Reason.DESTROYED] * 2 + [None] * 6


def test_a_partial_message_has_an_age_too_and_goes_before_what_is_younger() -> None:
    """Else a stranger's half messages would stay and everybody's waiting cells go."""
    net, relays = network(2)
    client = net.client(relays[0])
    idle, queued = client.build(*relays), client.build(*relays)
    stranger = Stranger(net, relays[0])
    stranger.create(ID, relays[0])
    for offset in (0, DATA):  # and nothing more of the 17 000
        stranger.say_to(ID, 0, build_payload(ASK, bytes(17_000), offset, seeded(1)))
    assert relays[0].memory.used_bytes == 2 * DATA
    net.now += 5
    net.stuck.add(relays[0].links[relays[1].identity])
    client.raw(queued.circuit_id, RELAY)
    relays[0].memory.most_bytes = 2 * DATA + CELL - 1
    relays[0].switch.relieve()
    net.settle()
    assert [one.machine.failed for one in (idle, queued)] == [None, None]
    assert stranger.ended(ID)


def test_circuits_that_hold_nothing_are_never_ended_for_memory() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    relays[0].memory.most_bytes = 10
    relays[0].memory.used_bytes = 1000  # links' own cells, say
    relays[0].switch.relieve()
    net.settle()
    assert circuit.machine.failed is None


def test_past_the_quota_a_link_that_reads_no_refusals_goes_before_younger_circuits() -> None:
    net = PureNetwork()
    a, b = net.relay(), net.relay()
    culprit, other = net.client(a), net.client(a)
    circuit = other.build(a, b)
    net.stuck.add(culprit.guard_port)
    net.stuck.add(a.links[b.identity])
    a.links[b.identity].destroy(7, seeded(7))  # older than all, and nobody's fault
    for number in range(REFUSALS_HELD_LEAST + 1):
        culprit.guard_port.refuse(number, seeded(number))
    net.now = a.memory.now = net.now + 1
    other.raw(circuit.circuit_id, RELAY)
    a.memory.most_bytes = 10 * CELL
    assert a.switch.relieve() is culprit.guard_port
    net.cut(culprit.guard_port)
    assert a.switch.relieve() is None
    assert circuit.machine.failed is None


# The client's side of the same circuits.


def test_a_failed_circuit_says_the_same_for_ever() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    machine = circuit.machine
    client.guard_port.send(circuit.circuit_id, RELAY, bytes(BODY))
    net.settle()
    assert machine.failed == Reason.LAYER_UNRECOGNISED
    for step in (
        lambda: machine.send(ASK, b""),
        lambda: machine.receive_cell(RELAY, bytes(BODY)),
        lambda: machine.pad_setup(1),
        lambda: machine.add_relay(relays[0].identity, relays[0].keys[0].public),
    ):
        with pytest.raises(ProtocolError) as info:
            step()
        assert info.value.reason == Reason.LAYER_UNRECOGNISED
    machine.fail(Reason.CLOSED)
    assert machine.failed == Reason.LAYER_UNRECOGNISED
    assert machine.take_cells() == []


def test_rounds_are_done_when_every_echo_came_and_not_before() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays, pad=False)
    echoes: list[bytes] = []

    def all_but_the_sixth(port: object, frame: bytes) -> bytes:
        if port is not client.guard_port:
            return frame
        came = [frame[at : at + CELL] for at in range(0, len(frame), CELL)]
        echoes.extend(came)
        return b"".join(came[:-1] if len(echoes) == 6 else came)

    net.touch = all_but_the_sixth
    circuit.machine.pad_setup(2)
    client.settle(circuit)
    assert len(echoes) == 6
    assert not circuit.rounds_done
    client.receive_frame(client.port, echoes[-1], net.now)
    assert circuit.rounds_done
