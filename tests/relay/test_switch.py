"""Circuits through real switches: set-up, forwarding, ends, limits (SPEC 3, 6, 7, 17)."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from onionshh.core.base.params import Params
from onionshh.core.circuit.circuit import RoundsDone
from onionshh.core.roles import Drop, EndCircuit, Join, Reply
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import BODY, CELL, CELL_HEADER, LAYER_STATE
from onionshh.relay.switch import REPLIES_WAITING_MOST
from onionshh.rendezvous.meeting import Meeting
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    CREATE,
    CREATE_MORE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    LINK_AUTH,
    PADDING,
    RELAY,
    RELAY_EARLY,
    pack_cell,
    split_cells,
)
from tests.relay.pure import ANSWER, ASK, Parrot, PureCircuit, PureClient, PureNetwork, PureRelay
from tests.seeded import seeded

COOKIE = b"c" * 32


def network(relays: int, params: Params | None = None) -> tuple[PureNetwork, list[PureRelay]]:
    net = PureNetwork(params)
    return net, [net.relay() for _ in range(relays)]


def parrot(relay: PureRelay) -> Parrot:
    (role,) = relay.roles
    assert isinstance(role, Parrot)
    return role


def everything_is_gone(net: PureNetwork) -> None:
    """No circuit, no leg, no charged byte anywhere."""
    for node in net.nodes:
        assert node.memory.used_bytes == 0
        for port in node.ports.values():
            assert not port.legs
            assert not port.creating
    for relay in net.relays.values():
        assert not relay.switch.circuits


# Building and talking.


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
    before = [relay.switch.cells_forwarded for relay in relays]
    client.send(circuit, ASK, b"once")
    forwarded = [relay.switch.cells_forwarded - one for relay, one in zip(relays, before, strict=True)]
    assert forwarded == [2, 2, 0]  # the question and its answer
    assert len(seen) == len(set(seen)) == 6


def test_a_middle_relay_takes_nothing_more_for_itself_once_it_is_extended() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    machine = circuit.machine
    body, _ = machine._layers.send(0, RELAY, _payload(ASK, b"to the first"))
    client.raw(circuit.circuit_id, RELAY, body)
    assert relays[0].drops.counts["message-not-accepted"] == 1
    assert not parrot(relays[0]).heard
    everything_is_gone(net)


def _payload(message_type: int, body: bytes) -> bytes:
    return (message_type << 24 | len(body)).to_bytes(4, "big") + body + bytes(489 - len(body))


# EXTEND and RELAY_EARLY.


@pytest.mark.parametrize("plain", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_every_cell_of_an_extend_must_be_early(plain: tuple[int, ...]) -> None:
    """One early cell an EXTEND would let nine EXTENDs through, and circuits of ten relays."""
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    _extend_with(circuit, relays[1], plain)
    client.settle(circuit)
    assert relays[0].drops.counts["extend-not-early"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def _extend_with(circuit: PureCircuit, relay: PureRelay, plain: tuple[int, ...]) -> None:
    """An EXTEND some of whose cells go as RELAY; the client's own layers do the wrapping."""
    machine = circuit.machine
    send = machine._layers.send
    count = 0

    def wrap(hop: int, command: int, payload: bytes) -> tuple[bytes, bytes]:
        nonlocal count
        command = RELAY if count in plain else RELAY_EARLY
        count += 1
        return send(hop, command, payload)

    class Layers:
        send = staticmethod(wrap)
        receive = machine._layers.receive

    real, machine._layers = machine._layers, Layers()  # type: ignore[assignment]
    machine.add_relay(relay.identity, relay.keys[0].public)
    machine._layers = real
    cells = machine.take_cells()
    machine._cells = [(RELAY if at in plain else command, body) for at, (command, body) in enumerate(cells)]


def test_the_tenth_early_cell_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    assert relays[0].circuit.early_left == 0
    circuit.machine.pad_setup(1)
    client.settle(circuit)
    assert relays[0].drops.counts["early-too-many"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_an_early_cell_towards_the_client_ends_the_circuit_at_a_relay() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    back = relays[1].links[relays[0].identity]
    inner = relays[1].circuit.inward.circuit_id
    back.send(inner, RELAY_EARLY, bytes(BODY))
    net.settle()
    assert relays[0].drops.counts["early-inbound"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_an_early_cell_towards_the_client_ends_the_circuit_at_the_client() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.guard_port.send(circuit.circuit_id, RELAY_EARLY, bytes(BODY))
    net.settle()
    assert circuit.machine.failed == "early-inbound"
    everything_is_gone(net)


def test_a_relay_never_extends_to_itself() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays, pad=False)
    client.extend(circuit, relays[0])
    assert relays[0].drops.counts["extend-backward"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_a_relay_never_extends_back_to_the_hop_before() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays, pad=False)
    client.extend(circuit, relays[0])
    assert relays[1].drops.counts["extend-backward"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_a_relay_extends_only_to_relays_of_the_consensus() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    del net.relays[relays[1].identity]
    client.extend(circuit, relays[1])
    assert relays[0].drops.counts["extend-unknown-relay"] == 1
    assert not relays[0].switch.setup.wanted_links
    assert circuit.machine.failed == "destroyed"


def test_a_relay_obeys_one_extend() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays[:2], pad=False)
    # A second EXTEND to the first relay, under the layer that only it has.
    bodies = [circuit.machine._layers.send(0, RELAY_EARLY, _payload(m.EXTEND, b"x" * 16))[0]]
    client.raw(circuit.circuit_id, RELAY_EARLY, bodies[0])
    assert relays[0].drops.counts["message-not-accepted"] == 1
    everything_is_gone(net)


def test_a_second_extend_while_the_first_is_under_way_ends_the_circuit() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    circuit.machine.add_relay(relays[1].identity, relays[1].keys[0].public)
    net.serving = False  # the next relay does not answer
    client.settle(circuit)
    assert relays[0].circuit.extending_to == relays[1].identity
    body, _ = circuit.machine._layers.send(0, RELAY_EARLY, _payload(m.EXTEND, b"x"))
    client.raw(circuit.circuit_id, RELAY_EARLY, body)
    assert relays[0].drops.counts["message-not-accepted"] == 1
    assert not relays[0].switch.circuits


@pytest.mark.parametrize("side", ["client", "next hop"])
@pytest.mark.parametrize("command", [RELAY, RELAY_EARLY])
def test_while_an_extend_is_under_way_nothing_is_forwarded(side: str, command: int) -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    net.serving = False
    client.extend(circuit, relays[1])
    leg = relays[0].circuit.outward
    assert leg is not None
    net.wire.clear()
    if side == "client":
        client.raw(circuit.circuit_id, command)
        assert [sent for port, _, sent in net.wire if port is leg.port] == [DESTROY]
    else:
        net.far[leg.port].send(leg.circuit_id, command, bytes(BODY))
        net.settle()
        assert net.cells_on(client.guard_port) == [(circuit.circuit_id, DESTROY)]
    assert not relays[0].switch.circuits


def test_an_extend_of_wrong_size_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    body, _ = circuit.machine._layers.send(0, RELAY_EARLY, _payload(m.EXTEND, relays[1].identity))
    client.raw(circuit.circuit_id, RELAY_EARLY, body)
    assert relays[0].drops.counts["message-size"] == 1
    everything_is_gone(net)


def test_a_next_hop_that_cannot_be_had_ends_the_whole_circuit() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays[:2], pad=False)
    net.unreachable.add(relays[2].identity)
    client.extend(circuit, relays[2])
    assert relays[1].drops.counts["extend-failed"] == 1
    assert relays[0].drops.counts["destroyed"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_an_extend_that_gets_no_answer_ends_after_ten_seconds() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    net.serving = False
    client.extend(circuit, relays[1])
    net.tick(9.9)
    assert circuit.circuit_id in client.circuits
    net.tick(0.2)
    assert relays[0].drops.counts["extend-timeout"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_a_relay_cell_for_a_hop_that_is_not_there_ends_the_circuit() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.raw(circuit.circuit_id, RELAY)
    assert relays[0].drops.counts["cell-unrecognised"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_a_wrong_created_ends_the_circuit_at_the_client() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    other = client.build(relays[0])
    circuit.machine.add_relay(relays[1].identity, relays[0].keys[0].public)  # a key that is not its own
    client.settle(circuit)
    assert relays[1].drops.counts["handshake-unknown-key"] == 1
    assert circuit.machine.failed == "destroyed"
    assert other.machine.failed is None


def test_a_created_that_nobody_asked_for_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    back = relays[1].links[relays[0].identity]
    back.send(relays[1].circuit.inward.circuit_id, CREATED, bytes(BODY))
    net.settle()
    assert relays[0].drops.counts["created-not-due"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_a_key_in_grace_is_answered_and_an_older_one_is_not() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    old = relays[0].keys[0]
    relays[0].keys.insert(0, KeyPair.generate(seeded(77)))
    circuit = client.circuit()
    circuit.machine.add_relay(relays[0].identity, old.public)
    client.settle(circuit)
    assert circuit.hops_added == [relays[0].identity]
    del relays[0].keys[1]
    late = client.circuit()
    late.machine.add_relay(relays[0].identity, old.public)
    client.settle(late)
    assert late.machine.failed == "destroyed"
    assert circuit.machine.failed is None


# Cells that belong nowhere.


def test_a_cell_for_an_unknown_circuit_is_dropped_and_counted_and_no_more() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    for command in (CREATED, RELAY, DESTROY, LINK_AUTH, RELAY_EARLY, CREATE_MORE, CREATED_MORE, PADDING):
        client.raw(circuit.circuit_id ^ 1, command)
    client.raw(circuit.circuit_id ^ 1, 200)
    assert relays[0].drops.counts["unknown-circuit"] == 8
    assert relays[0].drops.counts["unknown-command"] == 1
    assert not net.ended_links
    client.send(circuit, ASK, b"still here")
    assert parrot(relays[0]).heard[-1][1] == b"still here"


@pytest.mark.parametrize("command", [CREATE, CREATED, RELAY, DESTROY, LINK_AUTH, RELAY_EARLY, 10, 11, 6, 255])
def test_any_command_but_padding_on_id_0_ends_the_link(command: int) -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    client.raw(0, PADDING)
    assert not net.ended_links
    client.raw(0, command)
    assert [reason for _, reason in net.ended_links] == ["link-command", "link-command"]


@pytest.mark.parametrize("command", [PADDING, CREATED, LINK_AUTH, CREATE_MORE, CREATED_MORE, 77])
def test_a_command_that_a_circuit_does_not_expect_ends_it_and_no_other(command: int) -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit, other = client.build(*relays), client.build(*relays)
    client.raw(circuit.circuit_id, command)
    assert relays[0].drops.counts["command-not-due"] == 1
    assert circuit.machine.failed == "destroyed"
    client.send(other, ASK, b"unharmed")
    assert parrot(relays[0]).heard[-1][1] == b"unharmed"
    assert not net.ended_links


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
    assert relays[2].drops.counts["cell-unrecognised"] == 1
    assert circuit.machine.failed == "destroyed"
    other.machine.accept(frozenset((ANSWER,)))
    client.send(other, ASK, b"unharmed")
    assert other.messages == [(2, ANSWER, b"unharmed")]


# DESTROY.


@pytest.mark.parametrize("where", [0, 1, 2])
def test_destroy_from_the_client_goes_on_and_is_never_answered(where: int) -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays[: where + 1])
    net.wire.clear()
    client.raw(circuit.circuit_id, DESTROY)
    assert [command for _, _, command in net.wire] == [DESTROY] * (where + 1)
    assert net.cells_on(client.guard_port) == []
    client.circuits.clear()
    client.port.legs.clear()
    everything_is_gone(net)


def test_the_neighbour_never_learns_why() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    client.build(*relays)
    client.build(*relays)
    reasons: list[int] = []

    def look(port: object, frame: bytes) -> bytes:
        reasons.extend(body[0] for _, command, body in split_cells(frame) if command == DESTROY)
        return frame

    for reason, circuit in zip((7, 255), list(client.circuits.values()), strict=True):
        cell = pack_cell(circuit.circuit_id, DESTROY, bytes((reason,)) * BODY)
        relays[0].switch.receive_frame(client.guard_port, cell, net.now)
    net.touch = look
    net.settle()
    assert reasons == [0, 0]


def test_destroy_from_the_far_side_reaches_the_client() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    relays[2].switch._carry_out((EndCircuit(relays[2].circuit, "test"),))
    net.settle()
    assert relays[2].drops.counts["test"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_a_link_that_closes_ends_every_circuit_over_it_and_only_those() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    through, beside = client.build(*relays), client.build(relays[0], relays[2])
    net.cut(relays[0].links[relays[1].identity])
    net.settle()
    assert through.machine.failed == "destroyed"
    assert beside.machine.failed is None
    assert not relays[1].switch.circuits
    assert len(relays[2].switch.circuits) == len(relays[0].switch.circuits) == 1
    assert all(node.memory.used_bytes == 0 for node in net.nodes)


def test_destroy_of_a_circuit_that_is_still_being_made() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.circuit()
    net.serving = False
    circuit.machine.add_relay(relays[0].identity, relays[0].keys[0].public)
    client.settle(circuit)
    assert len(relays[0].switch.setup.handshakes_waiting) == 1
    client.raw(circuit.circuit_id, DESTROY)
    assert relays[0].switch.serve_handshake(net.now) is False
    assert not relays[0].switch.circuits
    assert net.cells_on(client.guard_port) == []


def test_extend_over_a_link_that_closed_meanwhile_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    port, _ = net.connect(relays[0], relays[1], proven=True)
    circuit.machine.add_relay(relays[1].identity, relays[1].keys[0].public)
    client.flush(circuit)
    relays[0].switch.receive_frame(client.guard_port, b"".join(client.port.outbox.take(9)), net.now)
    (wanted,) = relays[0].switch.setup.wanted_links
    relays[0].switch.setup.wanted_links.clear()
    net.cut(port)
    relays[0].switch.extend_over(wanted, port, net.now)
    net.settle()
    assert relays[0].drops.counts["extend-failed"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_a_circuit_that_ended_while_its_next_link_was_dialled_sends_no_create() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    circuit.machine.add_relay(relays[1].identity, relays[1].keys[0].public)
    client.flush(circuit)
    relays[0].switch.receive_frame(client.guard_port, b"".join(client.port.outbox.take(9)), net.now)
    (wanted,) = relays[0].switch.setup.wanted_links
    relays[0].switch.setup.wanted_links.clear()
    client.raw(circuit.circuit_id, DESTROY)
    port, _ = net.connect(relays[0], relays[1], proven=True)
    relays[0].switch.extend_over(wanted, port, net.now)
    assert not port.outbox.waiting
    assert not port.legs


# Joined circuits.


class Pair:
    """A visitor and an endpoint joined at a rendezvous point by the real role."""

    def __init__(self, visitor_hops: int, endpoint_hops: int, params: Params | None = None) -> None:
        self.net = net = PureNetwork(params)
        self.meeting = Meeting(lambda: net.params)
        self.point = net.relay(self.meeting)
        self.visitor, self.circuit = self._come(visitor_hops)
        self.endpoint, self.answer = self._come(endpoint_hops)

    def _come(self, hops: int) -> tuple[PureClient, PureCircuit]:
        path = [self.net.relay() for _ in range(hops)] + [self.point]
        client = self.net.client(path[0])
        return client, client.build(*path)

    def join(self) -> None:
        visitor, endpoint = self.circuit.machine, self.answer.machine
        visitor.accept(frozenset((m.RENDEZVOUS_ESTABLISHED,)))
        self.visitor.send(self.circuit, m.ESTABLISH_RENDEZVOUS, COOKIE)
        visitor.accept(frozenset((m.RENDEZVOUS2,)))
        sealed = seeded(5)(1168)
        self.endpoint.send(self.answer, m.RENDEZVOUS1, m.Rendezvous1(COOKIE, sealed).encode())
        assert [body for *_, body in self.circuit.messages] == [bytes((m.OK,)), sealed]
        self.circuit.events.clear()
        forward, backward = seeded(6)(LAYER_STATE), seeded(7)(LAYER_STATE)
        accepts = frozenset((m.RECORD,))
        visitor.join(forward, backward, as_visitor=True, accepts=accepts)
        endpoint.join(forward, backward, as_visitor=False, accepts=accepts)


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
    end = endpoint_hops + 1
    assert pair.answer.messages == [(end, m.RECORD, small), (end, m.RECORD, large)]
    end = visitor_hops + 1
    assert pair.circuit.messages == [(end, m.RECORD, large), (end, m.RECORD, small)]
    assert all(node.memory.used_bytes == 0 for node in pair.net.nodes)
    # Ends: one side goes, everything goes, through the join.
    pair.visitor.raw(pair.circuit.circuit_id, DESTROY)
    assert pair.answer.machine.failed == "destroyed"
    assert pair.point.drops.counts["join-ended"] == 1
    assert not any(relay.switch.circuits for relay in pair.net.relays.values())


def test_the_endpoint_end_of_a_join_ends_the_visitor_too() -> None:
    pair = Pair(2, 1)
    pair.join()
    pair.net.cut(pair.endpoint.port)
    pair.net.settle()
    assert pair.circuit.machine.failed == "destroyed"
    assert not any(relay.switch.circuits for relay in pair.net.relays.values())


def test_a_flipped_bit_end_to_end_kills_both_halves() -> None:
    pair = Pair(1, 1)
    pair.join()

    def flip(port: object, frame: bytes) -> bytes:
        return frame[:-1] + bytes((frame[-1] ^ 1,)) if port is pair.visitor.port else frame

    pair.net.touch = flip
    pair.visitor.send(pair.circuit, m.RECORD, b"hurt")
    assert pair.answer.machine.failed == "layer-unrecognised"
    assert pair.circuit.machine.failed == "destroyed"


@pytest.mark.parametrize("message_type", [m.EXTEND, m.ESTABLISH_RENDEZVOUS, m.RENDEZVOUS1, m.FETCH])
def test_after_a_join_the_point_takes_no_message_for_itself(message_type: int) -> None:
    pair = Pair(1, 1)
    pair.join()
    body, _ = pair.circuit.machine._layers.send(1, RELAY, _payload(message_type, b"x" * 32))
    pair.visitor.raw(pair.circuit.circuit_id, RELAY, body)
    assert pair.point.drops.counts["message-not-accepted"] == 1
    assert pair.answer.machine.failed == "destroyed"


@pytest.mark.parametrize("data, reason", [(m.DROP_PLAIN, "drop-not-due"), (m.DROP_ECHO, "echoes-too-many")])
def test_after_a_join_the_point_takes_no_drop_either(data: bytes, reason: str) -> None:
    pair = Pair(1, 1)
    pair.join()
    body, _ = pair.circuit.machine._layers.send(1, RELAY, _payload(m.DROP, data))
    pair.visitor.raw(pair.circuit.circuit_id, RELAY, body)
    assert pair.point.drops.counts[reason] == 1
    assert pair.answer.machine.failed == "destroyed"


@pytest.mark.parametrize("data, reason", [(m.DROP_PLAIN, "drop-not-due"), (m.DROP_ECHO, "echoes-too-many")])
@pytest.mark.parametrize("speaker", ["visitor", "endpoint"])
def test_on_a_joined_circuit_neither_end_drops_anything(speaker: str, data: bytes, reason: str) -> None:
    """The other end could count them out to a friend at our guard."""
    pair = Pair(1, 2)
    pair.join()
    if speaker == "visitor":
        sender, circuit, other = pair.visitor, pair.circuit, pair.answer
    else:
        sender, circuit, other = pair.endpoint, pair.answer, pair.circuit
    sender.send(circuit, m.DROP, data)
    assert other.machine.failed == reason
    assert circuit.machine.failed == "destroyed"


@pytest.mark.parametrize("privacy_class", [0, 1, 2, 77, 255])
def test_a_relay_echoes_what_set_up_needs_and_no_more(privacy_class: int) -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.circuit(privacy_class)
    for relay in relays:
        client.extend(circuit, relay)
    for number in range(9):
        client.send(circuit, m.DROP, m.DROP_ECHO)
        assert circuit.machine.failed is None, number
    client.send(circuit, m.DROP, m.DROP_ECHO)
    assert relays[1].drops.counts["echoes-too-many"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


@pytest.mark.parametrize("data, reason", [(m.DROP_PLAIN, "drop-not-due"), (m.DROP_ECHO, "echoes-too-many")])
def test_a_relay_that_is_extended_takes_no_drop(data: bytes, reason: str) -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    body, _ = circuit.machine._layers.send(0, RELAY, _payload(m.DROP, data))
    client.raw(circuit.circuit_id, RELAY, body)
    assert relays[0].drops.counts[reason] == 1
    everything_is_gone(net)


def test_a_relay_takes_no_drop_that_asks_for_nothing() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.send(circuit, m.DROP, m.DROP_PLAIN)
    assert relays[0].drops.counts["drop-not-due"] == 1
    everything_is_gone(net)


@pytest.mark.parametrize("hop", [0, 1])
def test_a_relay_that_drops_more_than_it_was_asked_ends_the_circuit(hop: int) -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    relays[hop].circuit.conversation.send(m.DROP, m.DROP_PLAIN)
    relays[hop].switch._pump(relays[hop].circuit)
    net.settle()
    assert circuit.machine.failed == "drop-not-due"
    everything_is_gone(net)


def test_an_early_cell_on_a_joined_circuit_ends_it() -> None:
    pair = Pair(0, 0)
    pair.join()
    for circuit in pair.point.switch.circuits:
        circuit.early_left = 5
    pair.visitor.raw(pair.circuit.circuit_id, RELAY_EARLY)
    assert pair.point.drops.counts["early-joined"] == 1
    assert pair.answer.machine.failed == "destroyed"


def test_a_join_with_a_circuit_that_is_gone_ends_the_other() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    one, other = client.build(*relays), client.build(*relays)
    first = next(c for c in relays[0].switch.circuits if c.inward.circuit_id == one.circuit_id)
    second = next(c for c in relays[0].switch.circuits if c.inward.circuit_id == other.circuit_id)
    client.raw(one.circuit_id, DESTROY)
    relays[0].switch._carry_out((Join(first, second),))
    net.settle()
    assert relays[0].drops.counts["join-gone"] == 1
    assert other.machine.failed == "destroyed"


# Limits.


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
    assert relays[0].drops.counts["queue-full"] == 1
    assert circuit.machine.failed == "destroyed"
    assert onward.outbox.waiting == 1  # the DESTROY
    assert other.machine.failed is None
    assert relays[0].memory.used_bytes == CELL


def test_a_client_that_reads_nothing_gets_no_more_than_the_cap_queued() -> None:
    """ACKs never wait for the window, so the queue's cap must hold for them too."""
    net, relays = network(1, replace(Params(), ack_every=1, window=2, queue_cap=8))
    client = net.client(relays[0])
    circuit = client.build(*relays)
    net.stuck.add(client.guard_port)
    parrot(relays[0]).next_actions = ()  # it hears and says nothing
    for _ in range(8):
        body, _ = circuit.machine._layers.send(0, RELAY, _payload(ASK, b""))
        client.raw(circuit.circuit_id, RELAY, body)
    assert client.guard_port.outbox.waiting == 8
    body, _ = circuit.machine._layers.send(0, RELAY, _payload(ASK, b""))
    client.raw(circuit.circuit_id, RELAY, body)
    assert relays[0].drops.counts["queue-full"] == 1
    assert not relays[0].switch.circuits
    assert client.guard_port.outbox.waiting == 1


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
    assert [one.machine.failed for one in circuits] == ["destroyed", None, None, None]
    assert relays[0].drops.counts["memory"] == 1
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
        assert len(drains.outbox._busy) == 1  # it is never empty
    relays[0].memory.most_bytes = relays[0].memory.used_bytes - 1
    relays[0].switch.relieve()
    net.settle()
    assert (bulk.machine.failed, little.machine.failed) == (None, "destroyed")


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
    assert [one.machine.failed for one in circuits] == ["destroyed"] * 2 + [None] * 6


def test_a_partial_message_has_an_age_too_and_goes_before_what_is_younger() -> None:
    """Else a stranger's half messages would stay and everybody's waiting cells go."""
    net, relays = network(2)
    client = net.client(relays[0])
    idle, partial, queued = client.build(*relays), client.build(relays[0]), client.build(*relays)
    for head in (ASK << 24 | 17_000, m.CONTINUE << 24 | 17_000 - 489):
        body, _ = partial.machine._layers.send(0, RELAY, head.to_bytes(4, "big") + bytes(489))
        client.raw(partial.circuit_id, RELAY, body)
    assert relays[0].memory.used_bytes == 2 * 489
    net.now += 5
    net.stuck.add(relays[0].links[relays[1].identity])
    client.raw(queued.circuit_id, RELAY)
    relays[0].memory.most_bytes = 2 * 489 + CELL - 1
    relays[0].switch.relieve()
    net.settle()
    assert [one.machine.failed for one in (idle, partial, queued)] == [None, "destroyed", None]


def test_circuits_that_hold_nothing_are_never_ended_for_memory() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    relays[0].memory.most_bytes = 10
    relays[0].memory.used_bytes = 1000  # links' own cells, say
    relays[0].switch.relieve()
    net.settle()
    assert circuit.machine.failed is None


def test_replies_that_a_client_leaves_uncollected_end_its_circuit() -> None:
    net, relays = network(1, replace(Params(), ack_every=2, window=2, queue_cap=256))
    client = net.client(relays[0])
    circuit = client.build(*relays)
    net.stuck.add(client.guard_port)
    relays[0].circuit.conversation.send(ANSWER, seeded(1)(17_000))  # far more than the window
    for count in range(REPLIES_WAITING_MOST):
        assert not relays[0].drops.counts["replies-uncollected"], count
        body, _ = circuit.machine._layers.send(0, RELAY, _payload(ASK, b"again"))
        client.raw(circuit.circuit_id, RELAY, body)
    assert relays[0].drops.counts["replies-uncollected"] == 1
    assert not relays[0].switch.circuits


# Roles.


def test_roles_are_told_of_the_circuits_they_know_when_these_close() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    known, unknown = client.build(*relays), client.build(*relays)
    known.machine.accept(frozenset((ANSWER,)))
    client.send(known, ASK, b"hello")
    handle, _ = parrot(relays[0]).heard[0]
    client.raw(unknown.circuit_id, DESTROY)
    assert parrot(relays[0]).closed == []
    parrot(relays[0]).on_close = (Drop("told"),)
    client.raw(known.circuit_id, DESTROY)
    assert parrot(relays[0]).closed == [handle]
    assert relays[0].drops.counts["told"] == 1


def test_a_role_that_refuses_a_message_ends_the_circuit() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.send(circuit, ASK, b"refuse")
    assert relays[0].drops.counts["parrot-refuses"] == 1
    assert circuit.machine.failed == "destroyed"
    assert len(parrot(relays[0]).closed) == 1


def test_a_type_that_no_role_serves_ends_the_circuit() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.send(circuit, m.FETCH, bytes(40))
    assert relays[0].drops.counts["message-not-accepted"] == 1


def test_a_role_may_answer_on_another_circuit_and_not_on_one_that_is_gone() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    one, other = client.build(*relays), client.build(*relays)
    other.machine.accept(frozenset((ANSWER,)))
    client.send(other, ASK, b"first")
    handle, _ = parrot(relays[1]).heard[0]
    parrot(relays[1]).next_actions = (Reply(handle, ANSWER, b"from the other"),)
    client.send(one, ASK, b"second")
    assert [body for *_, body in other.messages] == [b"first", b"from the other"]
    client.raw(other.circuit_id, DESTROY)
    client.send(one, ASK, b"third")
    assert one.machine.failed is None


def test_a_role_may_end_the_circuit_it_was_called_for() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    parrot(relays[0]).next_actions = (EndCircuit(relays[0].circuit, "enough"),)
    client.send(circuit, ASK, b"x")
    assert relays[0].drops.counts["enough"] == 1
    assert circuit.machine.failed == "destroyed"
    everything_is_gone(net)


def test_roles_hear_both_times_at_each_tick() -> None:
    net, relays = network(1)
    net.tick(1.0)
    assert parrot(relays[0]).ticks == [(net.now, net.wall)]


# The client's side of the same circuits.


def test_a_failed_circuit_says_the_same_for_ever() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    machine = circuit.machine
    client.guard_port.send(circuit.circuit_id, RELAY, bytes(BODY))
    net.settle()
    assert machine.failed == "layer-unrecognised"
    for step in (
        lambda: machine.send(ASK, b""),
        lambda: machine.receive_cell(RELAY, bytes(BODY)),
        lambda: machine.pad_setup(1),
        lambda: machine.add_relay(relays[0].identity, relays[0].keys[0].public),
    ):
        with pytest.raises(ProtocolError) as info:
            step()
        assert info.value.reason == "layer-unrecognised"
    machine.fail("later")
    assert machine.failed == "layer-unrecognised"
    assert machine.take_cells() == []


def test_rounds_are_done_when_every_echo_came_and_not_before() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays, pad=False)
    circuit.machine.pad_setup(2)
    for echo in range(6):
        assert RoundsDone() not in circuit.events, echo
        _one_echo(net, client, circuit)
    assert RoundsDone() in circuit.events


def _one_echo(net: PureNetwork, client: PureClient, circuit: PureCircuit) -> None:
    (command, body), *rest = circuit.machine.take_cells()
    client.port.outbox.push(circuit.queue, pack_cell(circuit.circuit_id, command, body))
    net.settle()
    circuit.machine._cells = rest
