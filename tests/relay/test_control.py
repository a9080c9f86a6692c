"""Cells that are not simply forwarded: early ones, strays, DESTROY, messages, joins (SPEC 3, 6, 7)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.base.params import Params
from onionshh.core.roles import EndCircuit, Join
from onionshh.geometry import BODY, RENDEZVOUS_SEALED
from onionshh.reasons import Reason
from onionshh.relay.control import REPLIES_WAITING_MOST
from onionshh.relay.state import Stage
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
from simulations.stranger import Stranger
from simulations.world import ANSWER, ASK, Parrot, PureNetwork
from tests.relay.library import Library
from tests.relay.network import COOKIE, ID, Pair, everything_is_gone, network, parrot, payload
from tests.seeded import seeded

# RELAY_EARLY.


def test_the_tenth_early_cell_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    assert relays[0].circuit.early_left == 0
    circuit.machine.pad_setup(1)
    client.settle(circuit)
    assert relays[0].drops.counts[Reason.EARLY_TOO_MANY] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_an_early_cell_towards_the_client_ends_the_circuit_at_a_relay() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    back = relays[1].links[relays[0].identity]
    inner = relays[1].circuit.inward.circuit_id
    back.send(inner, RELAY_EARLY, bytes(BODY))
    net.settle()
    assert relays[0].drops.counts[Reason.EARLY_INBOUND] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_an_early_cell_towards_the_client_ends_the_circuit_at_the_client() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.guard_port.send(circuit.circuit_id, RELAY_EARLY, bytes(BODY))
    net.settle()
    assert circuit.machine.failed == Reason.EARLY_INBOUND
    everything_is_gone(net)


# Cells that belong nowhere.


def test_a_cell_for_an_unknown_circuit_is_dropped_and_counted_and_no_more() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    for command in (CREATED, RELAY, DESTROY, LINK_AUTH, RELAY_EARLY, CREATE_MORE, CREATED_MORE, PADDING):
        client.raw(circuit.circuit_id ^ 1, command)
    client.raw(circuit.circuit_id ^ 1, 200)
    assert relays[0].drops.counts[Reason.UNKNOWN_CIRCUIT] == 8
    assert relays[0].drops.counts[Reason.UNKNOWN_COMMAND] == 1
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
    assert [reason for _, reason in net.ended_links] == [Reason.LINK_COMMAND, Reason.LINK_COMMAND]


@pytest.mark.parametrize("command", [PADDING, CREATED, LINK_AUTH, CREATE_MORE, CREATED_MORE, 77])
def test_a_command_that_a_circuit_does_not_expect_ends_it_and_no_other(command: int) -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit, other = client.build(*relays), client.build(*relays)
    client.raw(circuit.circuit_id, command)
    assert relays[0].drops.counts[Reason.COMMAND_NOT_DUE] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    client.send(other, ASK, b"unharmed")
    assert parrot(relays[0]).heard[-1][1] == b"unharmed"
    assert not net.ended_links


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
    relays[2].switch.control.carry_out((EndCircuit(relays[2].circuit, Reason.FINISHED),))
    net.settle()
    assert relays[2].drops.counts[Reason.FINISHED] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


# What a relay takes for itself.


def test_a_middle_relay_takes_nothing_more_for_itself_once_it_is_extended() -> None:
    net, relays = network(2)
    stranger = Stranger(net, relays[0])
    stranger.build(ID, *relays)
    stranger.say_to(ID, 0, payload(ASK, b"to the first"))
    assert relays[0].drops.counts[Reason.MESSAGE_NOT_ACCEPTED] == 1
    assert not parrot(relays[0]).heard
    everything_is_gone(net)


@pytest.mark.parametrize("privacy_class", [0, 1, 2, 77, 255])
def test_a_relay_echoes_what_set_up_needs_and_no_more(privacy_class: int) -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays, pad=False, privacy_class=privacy_class)
    for number in range(9):
        client.send(circuit, m.DROP, m.DROP_ECHO)
        assert circuit.machine.failed is None, number
    client.send(circuit, m.DROP, m.DROP_ECHO)
    assert relays[1].drops.counts[Reason.ECHOES_TOO_MANY] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


@pytest.mark.parametrize(
    "data, reason", [(m.DROP_PLAIN, Reason.DROP_NOT_DUE), (m.DROP_ECHO, Reason.ECHOES_TOO_MANY)]
)
def test_a_relay_that_is_extended_takes_no_drop(data: bytes, reason: Reason) -> None:
    net, relays = network(2)
    stranger = Stranger(net, relays[0])
    stranger.build(ID, *relays)
    stranger.say_to(ID, 0, payload(m.DROP, data))
    assert relays[0].drops.counts[reason] == 1
    everything_is_gone(net)


def test_a_relay_takes_no_drop_that_asks_for_nothing() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.send(circuit, m.DROP, m.DROP_PLAIN)
    assert relays[0].drops.counts[Reason.DROP_NOT_DUE] == 1
    everything_is_gone(net)


@pytest.mark.parametrize("hop", [0, 1])
def test_a_relay_that_drops_more_than_it_was_asked_ends_the_circuit(hop: int) -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    relays[hop].circuit.conversation.send(m.DROP, m.DROP_PLAIN)
    relays[hop].switch.control.pump(relays[hop].circuit)
    net.settle()
    assert circuit.machine.failed == Reason.DROP_NOT_DUE
    everything_is_gone(net)


def test_a_client_that_reads_nothing_gets_no_more_than_the_cap_queued() -> None:
    """ACKs never wait for the window, so the queue's cap must hold for them too."""
    net, relays = network(1, replace(Params(), ack_every=1, window=2, queue_cap=8))
    stranger = Stranger(net, relays[0])
    stranger.create(ID, relays[0])
    net.stuck.add(stranger.guard_port)
    parrot(relays[0]).next_actions = ()  # it hears and says nothing
    for _ in range(8):
        stranger.say_to(ID, 0, payload(ASK, b""))
    assert stranger.guard_port.outbox.waiting == 8
    stranger.say_to(ID, 0, payload(ASK, b""))
    assert relays[0].drops.counts[Reason.QUEUE_FULL] == 1
    assert not relays[0].switch.circuits
    assert stranger.guard_port.outbox.waiting == 1


def test_replies_that_a_client_leaves_uncollected_end_its_circuit() -> None:
    net, relays = network(1, replace(Params(), ack_every=2, window=2, queue_cap=256))
    stranger = Stranger(net, relays[0])
    stranger.create(ID, relays[0])
    net.stuck.add(stranger.guard_port)
    relays[0].circuit.conversation.send(ANSWER, seeded(1)(17_000))  # far more than the window
    for count in range(REPLIES_WAITING_MOST):
        assert not relays[0].drops.counts[Reason.REPLIES_UNCOLLECTED], count
        stranger.say_to(ID, 0, payload(ASK, b"again"))
    assert relays[0].drops.counts[Reason.REPLIES_UNCOLLECTED] == 1
    assert not relays[0].switch.circuits


# Joins.


class Meet:
    """A stranger, one relay away from the point, and an endpoint there whose circuits are joined."""

    def __init__(self) -> None:
        self.net = net = PureNetwork()
        self.point = net.relay(Meeting(lambda: net.params))
        self.guard = net.relay()
        self.stranger = Stranger(net, self.guard)
        self.stranger.build(ID, self.guard, self.point)
        self.stranger.say_to(ID, 1, payload(m.ESTABLISH_RENDEZVOUS, COOKIE))
        endpoint = net.client(self.point)
        self.answer = endpoint.build(self.point)
        message = m.Rendezvous1(COOKIE, bytes(RENDEZVOUS_SEALED))
        endpoint.send(self.answer, m.RENDEZVOUS1, message.encode())
        assert all(circuit.joined for circuit in self.point.switch.circuits)


@pytest.mark.parametrize("message_type", [m.EXTEND, m.ESTABLISH_RENDEZVOUS, m.RENDEZVOUS1, m.FETCH])
def test_after_a_join_the_point_takes_no_message_for_itself(message_type: int) -> None:
    meeting = Meet()
    meeting.stranger.say_to(ID, 1, payload(message_type, b"x" * 32))
    assert meeting.point.drops.counts[Reason.MESSAGE_NOT_ACCEPTED] == 1
    assert meeting.answer.machine.failed == Reason.DESTROYED


@pytest.mark.parametrize(
    "data, reason", [(m.DROP_PLAIN, Reason.DROP_NOT_DUE), (m.DROP_ECHO, Reason.ECHOES_TOO_MANY)]
)
def test_after_a_join_the_point_takes_no_drop_either(data: bytes, reason: Reason) -> None:
    meeting = Meet()
    meeting.stranger.say_to(ID, 1, payload(m.DROP, data))
    assert meeting.point.drops.counts[reason] == 1
    assert meeting.answer.machine.failed == Reason.DESTROYED


@pytest.mark.parametrize(
    "data, reason", [(m.DROP_PLAIN, Reason.DROP_NOT_DUE), (m.DROP_ECHO, Reason.ECHOES_TOO_MANY)]
)
@pytest.mark.parametrize("speaker", ["visitor", "endpoint"])
def test_on_a_joined_circuit_neither_end_drops_anything(speaker: str, data: bytes, reason: Reason) -> None:
    """The other end could count them out to a friend at our guard."""
    pair = Pair(1, 2)
    pair.join()
    if speaker == "visitor":
        sender, circuit, other = pair.visitor, pair.circuit, pair.answer
    else:
        sender, circuit, other = pair.endpoint, pair.answer, pair.circuit
    sender.send(circuit, m.DROP, data)
    assert other.machine.failed == reason
    assert circuit.machine.failed == Reason.DESTROYED


def test_an_early_cell_on_a_joined_circuit_ends_it() -> None:
    """Though the nine are not used up."""
    meeting = Meet()
    meeting.stranger.say(ID, RELAY_EARLY, bytes(BODY))
    assert meeting.guard.drops.counts[Reason.EARLY_TOO_MANY] == 0
    assert meeting.point.drops.counts[Reason.EARLY_JOINED] == 1
    assert meeting.answer.machine.failed == Reason.DESTROYED


def test_a_join_with_a_circuit_that_is_gone_ends_the_other() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    one, other = client.build(*relays), client.build(*relays)
    first = next(c for c in relays[0].switch.circuits if c.inward.circuit_id == one.circuit_id)
    second = next(c for c in relays[0].switch.circuits if c.inward.circuit_id == other.circuit_id)
    client.raw(one.circuit_id, DESTROY)
    relays[0].switch.control.carry_out((Join(first, second),))
    net.settle()
    assert relays[0].drops.counts[Reason.JOIN_GONE] == 1
    assert other.machine.failed == Reason.DESTROYED


def test_a_circuit_that_was_extended_meanwhile_is_not_joined() -> None:
    """It would have two ways on."""
    net = PureNetwork()
    point, other = net.relay(Meeting(lambda: net.params)), net.relay()
    stranger = Stranger(net, point)
    stranger.create(ID, point)
    stranger.say_to(ID, 0, payload(m.ESTABLISH_RENDEZVOUS, COOKIE))
    stranger.extend(ID, other)
    assert point.circuit.stage is Stage.EXTENDED
    endpoint = net.client(point)
    answer = endpoint.build(point)
    endpoint.send(answer, m.RENDEZVOUS1, m.Rendezvous1(COOKIE, bytes(RENDEZVOUS_SEALED)).encode())
    assert point.drops.counts[Reason.JOIN_GONE] == 2
    assert answer.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


# Roles.


def test_a_role_that_is_mounted_later_takes_the_place_of_another() -> None:
    net = PureNetwork()
    first, meeting, later = Parrot(), Meeting(lambda: net.params), Parrot()
    relay = net.relay(first, meeting)
    relay.switch.control.mount(later)
    assert set(relay.switch.control.mounted.roles) == {meeting, later}
    client = net.client(relay)
    client.send(client.build(relay), ASK, b"hello")
    assert first.heard == []
    assert [body for _, body in later.heard] == [b"hello"]


def test_only_roles_with_something_due_are_told_the_time_between_two_ticks() -> None:
    library, waiting = Library(), Parrot()
    net = PureNetwork()
    relay = net.relay(waiting, library)
    switch = relay.switch
    switch.hurry(1.2)
    assert not switch.control.hurries()
    assert library.ticks == []
    library.is_due_soon = True
    assert switch.control.hurries()
    switch.hurry(1.4)
    assert library.ticks == [1.4]
    assert waiting.ticks == []
    switch.control.mounted.close()
    assert library.closed == 1
