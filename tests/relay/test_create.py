"""CREATE at a relay: whose ids, in what order, how many, how long; what is refused (SPEC 2, 6, 17)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.base.drops import Drops
from onionshh.core.base.params import Params
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import LinkPort
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import BODY, CELL
from onionshh.reasons import Reason
from onionshh.relay.create import REFUSALS_WAITING_MOST
from onionshh.relay.forward import Switch
from onionshh.wire.cell import (
    COMMANDS,
    CREATE,
    CREATE_MORE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    INITIATOR_BIT,
    PADDING,
    RELAY,
    pack_cell,
    split_cells,
)
from onionshh.wire.framing import split_handshake
from simulations.world import PureClient, PureNetwork, PureRelay, relay_id
from tests.relay.network import network
from tests.seeded import seeded


def one(params: Params | None = None) -> tuple[PureNetwork, PureRelay, PureClient]:
    net = PureNetwork(params)
    relay = net.relay()
    return net, relay, net.client(relay)


def create_bodies(client: PureClient, relay: PureRelay) -> list[bytes]:
    """The three bodies of a good CREATE."""
    circuit = client.circuit()
    circuit.machine.add_relay(relay.identity, relay.keys[0].public)
    del client.port.legs[circuit.circuit_id], client.circuits[circuit.circuit_id]
    return [body for _, body in circuit.machine.take_cells()]


def create(client: PureClient, circuit_id: int, bodies: list[bytes]) -> None:
    for number, body in enumerate(bodies):
        client.raw(circuit_id, CREATE_MORE if number else CREATE, body)


def answers(net: PureNetwork, client: PureClient, circuit_id: int) -> list[int]:
    return [command for number, command in net.cells_on(client.guard_port) if number == circuit_id]


# Ids.


def test_an_id_of_the_initiators_half_is_answered_in_three_cells() -> None:
    net, relay, client = one()
    create(client, INITIATOR_BIT | 7, create_bodies(client, relay))
    assert answers(net, client, INITIATOR_BIT | 7) == [CREATED, CREATED_MORE, CREATED_MORE]
    assert not net.ended_links
    creates = relay.switch.control.creates
    assert (creates.served, creates.refused) == (1, 0)


def test_what_is_served_and_what_is_refused_is_counted() -> None:
    net, relay, client = one()
    good = create_bodies(client, relay)
    create(client, INITIATOR_BIT | 7, good)
    create(client, INITIATOR_BIT | 8, [bytes(len(body)) for body in good])
    create(client, INITIATOR_BIT | 9, [good[0], good[0], good[0], good[0]])
    creates = relay.switch.control.creates
    assert creates.served == 1
    assert creates.refused == sum(DESTROY in answers(net, client, INITIATOR_BIT | n) for n in (7, 8, 9)) > 0


@pytest.mark.parametrize("circuit_id", [7, INITIATOR_BIT - 1, INITIATOR_BIT])
def test_an_id_of_the_other_half_or_the_one_kept_free_ends_the_link(circuit_id: int) -> None:
    net, _, client = one()
    client.raw(circuit_id, CREATE)
    assert {reason for _, reason in net.ended_links} == {Reason.CREATE_NOT_ALLOWED}


@pytest.mark.parametrize("circuit_id", [INITIATOR_BIT | 7, 2 * INITIATOR_BIT - 1, INITIATOR_BIT])
def test_a_responder_picks_from_the_other_half(circuit_id: int) -> None:
    net = PureNetwork()
    relay, other = net.relay(), net.relay()
    _, far = net.connect(relay, other, proven=True)
    far.send(circuit_id, CREATE, bytes(BODY))
    net.settle()
    assert {reason for _, reason in net.ended_links} == {Reason.CREATE_NOT_ALLOWED}


@pytest.mark.parametrize("responder", [False, True])
@pytest.mark.parametrize("command", [*sorted(COMMANDS - {PADDING}), 77, 255])
def test_id_0_takes_nothing_but_padding(command: int, responder: bool) -> None:
    net = PureNetwork()
    relay, other = net.relay(), net.relay()
    near, far = net.connect(relay, other, proven=True)
    sender = far if responder else near
    sender.send(0, PADDING, bytes(BODY))
    net.settle()
    assert not net.ended_links
    sender.send(0, command, bytes(BODY))
    net.settle()
    assert {reason for _, reason in net.ended_links} == {Reason.LINK_COMMAND}


@pytest.mark.parametrize("circuit_id", [7, INITIATOR_BIT, INITIATOR_BIT | 7, 2 * INITIATOR_BIT - 1])
@pytest.mark.parametrize("command", [*sorted(COMMANDS - {CREATE}), 77, 255])
def test_other_commands_on_ids_that_no_circuit_has_are_dropped(circuit_id: int, command: int) -> None:
    net, relay, client = one()
    circuit = client.build(relay)
    client.raw(circuit_id, command)
    assert not net.ended_links
    name = Reason.UNKNOWN_CIRCUIT if command in COMMANDS else Reason.UNKNOWN_COMMAND
    assert relay.drops.counts[name] == 1
    assert not client.guard_port.creating
    assert circuit.machine.failed is None


def test_an_id_that_a_circuit_uses_ends_the_link() -> None:
    net, relay, client = one()
    circuit = client.build(relay)
    client.raw(circuit.circuit_id, CREATE)
    assert {reason for _, reason in net.ended_links} == {Reason.CREATE_ID_IN_USE}
    assert not relay.switch.circuits
    assert circuit.machine.failed == Reason.LINK_CLOSED


def test_an_id_that_is_being_made_ends_the_link() -> None:
    net, _, client = one()
    client.raw(INITIATOR_BIT | 7, CREATE)
    client.raw(INITIATOR_BIT | 7, CREATE)
    assert {reason for _, reason in net.ended_links} == {Reason.CREATE_NOT_ALLOWED}
    assert not client.guard_port.creating


def test_only_the_initiator_may_create_on_a_link_that_proved_nothing() -> None:
    net = PureNetwork()
    relay, other = net.relay(), net.relay()
    near, far = net.connect(relay, other, proven=False)
    near.peer = None  # we dialled someone who is no relay
    far.send(7, CREATE, bytes(BODY))
    net.settle()
    assert {reason for _, reason in net.ended_links} == {Reason.CREATE_NOT_ALLOWED}


def test_both_sides_of_a_relay_link_may_create() -> None:
    net = PureNetwork()
    one, other = net.relay(), net.relay()
    client = net.client(one)
    near, far = net.connect(one, other, proven=True)
    for port, relay, number in ((near, other, INITIATOR_BIT | 7), (far, one, 7)):
        for at, body in enumerate(create_bodies(client, relay)):
            port.send(number, CREATE_MORE if at else CREATE, body)
    net.settle()
    assert len(one.switch.circuits) == len(other.switch.circuits) == 1
    assert not net.ended_links


def test_two_relays_use_one_link_both_ways_without_a_clash_of_ids() -> None:
    net = PureNetwork()
    one, other = net.relay(), net.relay()
    there, back = net.client(one), net.client(other)
    circuits = [client.build(*path) for client, path in ((there, (one, other)), (back, (other, one))) * 5]
    assert all(len(circuit.hops_added) == 2 for circuit in circuits)
    port = one.links[other.identity]
    ours = [number for number in port.legs if number & INITIATOR_BIT]
    assert len(port.legs) == 10
    assert len(ours) == 5


def test_new_ids_are_of_our_half_never_0_and_never_in_use() -> None:
    _, _, client = one()
    draws = iter([bytes(4), b"\0\0\0\x05", b"\0\0\0\x06", b"\0\0\0\x07", b"\xff\0\0\x07"])
    client.port.legs[INITIATOR_BIT | 5] = object()
    client.port.creating[INITIATOR_BIT | 6] = object()
    assert client.port.new_circuit_id(lambda n: next(draws)) == INITIATOR_BIT | 7
    assert client.guard_port.new_circuit_id(lambda n: next(draws)) == 0x7F000007


# Order and shape.


def test_create_more_without_create_is_dropped_and_counted() -> None:
    net, relay, client = one()
    client.raw(INITIATOR_BIT | 7, CREATE_MORE)
    assert relay.drops.counts[Reason.UNKNOWN_CIRCUIT] == 1
    assert not client.guard_port.creating
    assert not net.ended_links


def test_a_fourth_part_ends_the_set_up_and_fills_no_queue() -> None:
    """Else one CREATE followed by many CREATE_MORE would take every place in the queue."""
    net, relay, client = one()
    net.serving = False
    bodies = create_bodies(client, relay)
    create(client, INITIATOR_BIT | 7, [*bodies, bodies[-1]])
    assert relay.drops.counts[Reason.CREATE_ORDER] == 1
    assert len(relay.switch.control.creates.waiting) == 1
    for _ in range(300):
        client.raw(INITIATOR_BIT | 7, CREATE_MORE)
    assert len(relay.switch.control.creates.waiting) == 1
    net.serving = True
    net.settle()
    assert not relay.switch.circuits
    assert answers(net, client, INITIATOR_BIT | 7) == [DESTROY]


def test_an_id_used_anew_while_the_old_create_waits_gets_the_answer_to_the_new() -> None:
    net, relay, client = one()
    net.serving = False
    create(client, INITIATOR_BIT | 7, create_bodies(client, relay))
    client.raw(INITIATOR_BIT | 7, DESTROY)
    circuit = client.circuit()
    number = circuit.circuit_id
    circuit.machine.add_relay(relay.identity, relay.keys[0].public)
    bodies = [body for _, body in circuit.machine.take_cells()]
    del client.port.legs[number]
    client.circuits[INITIATOR_BIT | 7] = client.circuits.pop(number)
    client.port.legs[INITIATOR_BIT | 7] = circuit
    create(client, INITIATOR_BIT | 7, bodies)
    net.serving = True
    net.settle()
    assert circuit.hops_added == [relay.identity]


def test_a_handshake_of_wrong_length_is_refused_and_harms_nobody() -> None:
    net, relay, client = one()
    create(client, INITIATOR_BIT | 7, split_handshake(bytes(1313), seeded(1)))
    assert relay.drops.counts[Reason.CREATE_SIZE] == 1
    assert answers(net, client, INITIATOR_BIT | 7) == [DESTROY]
    assert client.build(relay).hops_added == [relay.identity]


@pytest.mark.parametrize("at", [0, 40, 80, 110, 1290, 1311])
def test_a_flipped_bit_in_a_create_is_refused(at: int) -> None:
    net, relay, client = one()
    whole = bytearray(b"".join(create_bodies(client, relay)))
    whole[2 + at] ^= 1
    create(client, INITIATOR_BIT | 7, [bytes(whole[n : n + BODY]) for n in range(0, len(whole), BODY)])
    assert answers(net, client, INITIATOR_BIT | 7) == [DESTROY]
    assert not relay.switch.circuits


def test_a_refusal_tells_no_reason() -> None:
    net, _, client = one()
    seen: list[tuple[int, int]] = []

    def look(port: object, frame: bytes) -> bytes:
        if port is client.guard_port:
            seen.extend((command, body[0]) for _, command, body in split_cells(frame))
        return frame

    net.touch = look
    create(client, INITIATOR_BIT | 7, split_handshake(bytes(1312), seeded(1)))  # an unknown key
    create(client, INITIATOR_BIT | 8, split_handshake(bytes(1000), seeded(1)))  # a wrong size
    assert seen == [(DESTROY, 0), (DESTROY, 0)]


# How many, how long.


def test_a_full_queue_refuses_and_what_waits_is_served() -> None:
    net, relay, client = one(replace(Params(), create_queue=3))
    net.serving = False
    bodies = create_bodies(client, relay)
    for number in range(4):
        create(client, INITIATOR_BIT | 7 + number, bodies)
    assert relay.drops.counts[Reason.CREATE_QUEUE_FULL] == 1
    assert answers(net, client, INITIATOR_BIT | 10) == [DESTROY]
    net.serving = True
    net.settle()
    assert len(relay.switch.circuits) == 3


def test_a_create_of_a_client_may_wait_ten_seconds_and_one_of_a_relay_one() -> None:
    for proven, wait in ((False, 10.0), (True, 1.0)):
        net = PureNetwork()
        relay, other = net.relay(), net.relay()
        client = net.client(relay)
        near, _ = net.connect(other, relay, proven=proven)
        bodies = create_bodies(client, relay)
        net.serving = False
        for number, late in ((INITIATOR_BIT | 7, 0.0), (INITIATOR_BIT | 8, 0.5)):
            net.now = 100.0 + late
            for at, body in enumerate(bodies):
                near.send(number, CREATE_MORE if at else CREATE, body)
            net.settle()
        net.now = 100.0 + wait + 0.25
        net.serving = True
        net.settle()
        assert relay.drops.counts[Reason.CREATE_WAITED] == 1, proven
        assert len(relay.switch.circuits) == 1, proven


def test_a_half_open_create_ends_after_ten_seconds() -> None:
    net, relay, client = one()
    client.raw(INITIATOR_BIT | 7, CREATE)
    net.tick(9.9)
    assert relay.drops.counts[Reason.CREATE_UNFINISHED] == 0
    net.tick(0.2)
    assert relay.drops.counts[Reason.CREATE_UNFINISHED] == 1
    assert answers(net, client, INITIATOR_BIT | 7) == [DESTROY]
    assert not client.guard_port.creating


def test_so_many_circuits_a_link_and_no_more() -> None:
    net, relay, client = one(replace(Params(), circuits_per_link=3))
    circuits = [client.build(relay) for _ in range(2)]
    client.raw(INITIATOR_BIT | 7, CREATE)  # half made, counts too
    refused = client.circuit()
    refused.machine.add_relay(relay.identity, relay.keys[0].public)
    client.settle(refused)
    assert relay.drops.counts[Reason.CIRCUITS_PER_LINK] == 1
    assert refused.machine.failed == Reason.DESTROYED
    assert all(circuit.machine.failed is None for circuit in circuits)
    other = net.client(relay)
    assert other.build(relay).hops_added == [relay.identity]


def test_creates_above_the_rate_are_refused_and_cost_no_handshake() -> None:
    net, relay, client = one(replace(Params(), create_rate=2, create_burst=3, create_ip_rate=0))
    net.serving = False
    for number in range(5):
        client.raw(INITIATOR_BIT | 7 + number, CREATE)
    assert relay.drops.counts[Reason.CREATE_RATE] == 2
    assert len(client.guard_port.creating) == 3
    net.now += 1
    for number in range(5):
        client.raw(INITIATOR_BIT | 70 + number, CREATE)
    assert relay.drops.counts[Reason.CREATE_RATE] == 5


def test_relay_links_have_no_create_rate() -> None:
    net = PureNetwork(replace(Params(), create_rate=1, create_burst=1, create_ip_rate=1))
    relay, other = net.relay(), net.relay()
    near, _ = net.connect(other, relay, proven=True)
    for number in range(20):
        near.send(INITIATOR_BIT | 7 + number, CREATE, bytes(BODY))
    net.settle()
    assert relay.drops.counts[Reason.CREATE_RATE] == 0


def test_a_closed_link_leaves_no_create_behind() -> None:
    net, relay, client = one()
    net.serving = False
    create(client, INITIATOR_BIT | 7, create_bodies(client, relay))
    net.cut(client.port)
    assert relay.switch.serve_handshake(net.now) is False
    assert not relay.switch.circuits
    assert relay.memory.used_bytes == 0


def test_relay_cells_before_created_are_dropped_and_counted() -> None:
    net, relay, client = one()
    net.serving = False
    create(client, INITIATOR_BIT | 7, create_bodies(client, relay))
    client.raw(INITIATOR_BIT | 7, RELAY)
    assert relay.drops.counts[Reason.UNKNOWN_CIRCUIT] == 1
    net.serving = True
    net.settle()
    assert answers(net, client, INITIATOR_BIT | 7) == [CREATED, CREATED_MORE, CREATED_MORE]


def test_a_frame_of_many_creates_answers_none_before_the_frame_is_done() -> None:
    """Handshakes are served between reads, never inside the forwarding loop."""
    net, relay, client = one()
    bodies = create_bodies(client, relay)
    frame = b"".join(
        pack_cell(INITIATOR_BIT | 7 + number, CREATE_MORE if at else CREATE, body)
        for number in range(5)
        for at, body in enumerate(bodies)
    )
    relay.switch.receive_frame(client.guard_port, frame, net.now)
    assert not relay.switch.circuits
    assert len(relay.switch.control.creates.waiting) == 5
    assert relay.switch.serve_handshake(net.now) is True
    assert len(relay.switch.circuits) == 1


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
    assert late.machine.failed == Reason.DESTROYED
    assert circuit.machine.failed is None


def test_destroy_of_a_circuit_that_is_still_being_made() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.circuit()
    net.serving = False
    circuit.machine.add_relay(relays[0].identity, relays[0].keys[0].public)
    client.settle(circuit)
    assert len(relays[0].switch.control.creates.waiting) == 1
    client.raw(circuit.circuit_id, DESTROY)
    assert relays[0].switch.serve_handshake(net.now) is False
    assert not relays[0].switch.circuits
    assert net.cells_on(client.guard_port) == []


# Refusals.


def test_refusals_that_nobody_reads_end_the_link() -> None:
    """Every refused CREATE is answered by a DESTROY; who only asks and never reads is cut off."""
    memory = Memory(1 << 28)
    switch = Switch(
        identity=relay_id(1),
        onion_keys=lambda: (),
        knows=lambda identity: False,
        params=Params,
        roles=(),
        memory=memory,
        drops=Drops(),
        random_bytes=seeded(1),
        wall=lambda: 0,
    )
    port = LinkPort(memory, [], peer=None, initiated=False, host="10.0.0.1", now=0.0)
    switch.link_opened(port, 0.0)
    with pytest.raises(ProtocolError, match=Reason.REFUSALS_UNREAD):
        for number in range(1, 10_000):
            switch.receive_frame(port, pack_cell(INITIATOR_BIT | number, CREATE, bytes(BODY)), 0.0)
    assert memory.used_bytes <= (REFUSALS_WAITING_MOST + 1) * CELL
    switch.link_closed(port, 0.0)
    assert memory.used_bytes == 0


def test_circuits_that_end_honestly_are_no_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger hangs up with many circuits; the next CREATE of anybody else must not end the link."""
    monkeypatch.setattr("onionshh.relay.create.REFUSALS_WAITING_MOST", 8)
    net = PureNetwork()
    a, b = net.relay(), net.relay()
    stranger, other = net.client(a), net.client(b)
    for _ in range(20):
        stranger.build(a, b, pad=False)
    link = a.links[b.identity]
    net.stuck.add(link)  # A's socket to B is full for a moment
    net.cut(stranger.port)
    net.settle()
    assert link.outbox.count(link.control) == 20
    circuit = other.circuit()
    other.extend(circuit, b)
    other.extend(circuit, a)  # over the very same link
    net.stuck.clear()
    net.settle()
    assert circuit.machine.failed is None
    assert [reason for _, reason in net.ended_links] == [Reason.LINK_BROKEN, Reason.LINK_BROKEN]


def test_half_made_circuits_that_run_out_fill_no_link_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onionshh.relay.create.REFUSALS_WAITING_MOST", 64)
    net = PureNetwork()
    relay = net.relay()
    client = net.client(relay)
    net.stuck.add(client.guard_port)
    for number in range(1, 301):
        client.raw(INITIATOR_BIT | number, CREATE, bytes(BODY))
    net.tick(11)
    assert relay.drops.counts[Reason.CREATE_UNFINISHED] == 300
    assert client.guard_port.outbox.count(client.guard_port.refusals) == 65
    assert not client.guard_port.creating


def test_who_asks_for_much_at_once_and_reads_is_refused_and_not_cut_off() -> None:
    """Refusals leave at the end of a pass; a pass may hold as many CREATEs as fit a read and a frame."""
    net = PureNetwork(Params().with_overrides({"create_rate": 1, "create_burst": 1}))
    relay = net.relay()
    client = net.client(relay)
    cells = [pack_cell(INITIATOR_BIT | number, CREATE, bytes(BODY)) for number in range(1, 319)]
    relay.switch.receive_frame(client.guard_port, b"".join(cells), net.now)
    assert relay.drops.counts[Reason.CREATE_RATE] == 317
