"""What a role and its relay owe each other: seen with roles that are mounted on a real switch."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from onionshh.core.base.params import Params
from onionshh.core.roles import Drop, EndCircuit, Join, Remember, Reply, Role
from onionshh.ids import RelayId
from onionshh.net.memory_folder import InMemory
from onionshh.reasons import Reason
from onionshh.relay.mirror import Mirror
from onionshh.rendezvous import serve
from onionshh.wire import messages as m
from onionshh.wire.cell import DESTROY
from simulations.world import ANSWER, ASK
from tests.relay.network import everything_is_gone, network, parrot
from tests.relay.notes import Notes, NotesFile

SECRET = b"known to two alone"


def shipped() -> tuple[Role, ...]:
    return (
        *serve.roles(RelayId(bytes(32)), Params, lambda: None, lambda: 0, InMemory()),
        Mirror(lambda: (0, b"")),
    )


def test_no_two_roles_of_a_relay_take_one_message_type() -> None:
    taken = [message_type for role in shipped() for message_type in role.accepts]
    assert len(taken) == len(set(taken))
    assert {m.ESTABLISH_RENDEZVOUS, m.RENDEZVOUS1, m.INTRODUCE1, m.PUBLISH, m.FETCH} <= set(taken)


@pytest.mark.parametrize("role", shipped(), ids=lambda role: type(role).__name__)
def test_every_role_takes_what_a_relay_gives_it(role: Role) -> None:
    """By place: a relay calls all of them alike."""
    for name in ("handle", "circuit_ready", "circuit_closed", "tick"):
        wanted = list(inspect.signature(getattr(Role, name)).parameters)[1:]
        assert list(inspect.signature(getattr(role, name)).parameters) == wanted, name
    assert role.tick(0.0, 0) == ()


def test_roles_are_told_of_the_circuits_they_know_when_these_close() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    known, unknown = client.build(*relays), client.build(*relays)
    known.machine.accept(frozenset((ANSWER,)))
    client.send(known, ASK, b"hello")
    handle, _ = parrot(relays[0]).heard[0]
    client.raw(unknown.circuit_id, DESTROY)
    assert parrot(relays[0]).closed == []
    parrot(relays[0]).on_close = (Drop(Reason.PUBLISH_STALE),)
    client.raw(known.circuit_id, DESTROY)
    assert parrot(relays[0]).closed == [handle]
    assert relays[0].drops.counts[Reason.PUBLISH_STALE] == 1


def test_a_role_that_refuses_a_message_ends_the_circuit() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.send(circuit, ASK, b"refuse")
    assert relays[0].drops.counts[Reason.MESSAGE_TYPE] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    assert len(parrot(relays[0]).closed) == 1


def test_a_type_that_no_role_serves_ends_the_circuit() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    client.send(circuit, m.FETCH, bytes(40))
    assert relays[0].drops.counts[Reason.MESSAGE_NOT_ACCEPTED] == 1


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
    parrot(relays[0]).next_actions = (EndCircuit(relays[0].circuit, Reason.RING_TOO_MANY),)
    client.send(circuit, ASK, b"x")
    assert relays[0].drops.counts[Reason.RING_TOO_MANY] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_roles_hear_both_times_at_each_tick() -> None:
    net, relays = network(1)
    net.tick(1.0)
    assert parrot(relays[0]).ticks == [(net.now, net.wall)]


def test_what_a_role_decides_is_done_in_its_order() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    circuit.machine.accept(frozenset((ANSWER,)))
    handle = relays[0].circuit
    parrot(relays[0]).next_actions = (
        Reply(handle, ANSWER, b"first"),
        Drop(Reason.PUBLISH_STALE),
        Reply(handle, ANSWER, b"second"),
    )
    client.send(circuit, ASK, b"x")
    assert [body for *_, body in circuit.messages] == [b"first", b"second"]
    assert relays[0].drops.counts[Reason.PUBLISH_STALE] == 1
    parrot(relays[0]).next_actions = (
        EndCircuit(handle, Reason.RING_TOO_MANY),
        Reply(handle, ANSWER, b"too late"),
        Drop(Reason.PUBLISH_STALE),
    )
    client.send(circuit, ASK, b"y")
    assert len(circuit.messages) == 2
    assert circuit.machine.failed == Reason.DESTROYED
    assert relays[0].drops.counts[Reason.PUBLISH_STALE] == 2
    everything_is_gone(net)


def test_a_circuit_is_known_by_its_binding_its_origin_and_whether_it_is_joined() -> None:
    """What a role sees of a circuit is the same at each message, and another circuit's is another."""
    net, relays = network(2)
    client = net.client(relays[0])
    one, other = client.build(*relays), client.build(*relays)
    for circuit in (one, one, other):
        circuit.machine.accept(frozenset((ANSWER,)))
        client.send(circuit, ASK, b"x")
    (first, _), (again, _), (another, _) = parrot(relays[1]).heard
    assert first is again
    assert first is not another
    assert first.binding == one.machine.binding != another.binding
    assert first.origin == another.origin == relays[0].identity
    assert [first.joined, another.joined] == [False, False]
    parrot(relays[1]).next_actions = (Join(first, another),)
    client.send(one, ASK, b"join")
    assert [first.joined, another.joined] == [True, True]


def test_no_message_and_no_row_is_in_a_repr(tmp_path: Path) -> None:
    net, relays = network(1)
    net.client(relays[0]).build(*relays)
    reply = Reply(relays[0].circuit, ANSWER, SECRET)
    remember = Remember(Notes(NotesFile(tmp_path / "notes.db")), 1, (SECRET,))
    for action in (reply, remember):
        assert SECRET.decode() not in repr(action)
