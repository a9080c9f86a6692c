"""The network without trio: cells arrive and are seen, every run is like the last, and links can fail."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from onionshh.core.roles import CircuitHandle, Remember, RoleAction
from onionshh.geometry import CELL
from onionshh.reasons import Reason
from onionshh.wire.cell import CREATE, CREATED, RELAY
from simulations.world import ANSWER, ASK, Parrot, PureNetwork, PureRelay, relay_id


def network(relays: int) -> tuple[PureNetwork, list[PureRelay]]:
    net = PureNetwork()
    return net, [net.relay() for _ in range(relays)]


def told(relay: PureRelay) -> list[bytes]:
    (role,) = relay.roles
    assert isinstance(role, Parrot)
    return [body for _, body in role.heard]


def seen(body: bytes) -> list[bytes]:
    """Every frame of one question over two relays, as an observer of all links sees them."""
    net, relays = network(2)
    frames: list[bytes] = []

    def look(port: object, frame: bytes) -> bytes:
        frames.append(frame)
        return frame

    net.touch = look
    client = net.client(relays[0])
    circuit = client.build(*relays)
    circuit.machine.accept(frozenset((ANSWER,)))
    client.send(circuit, ASK, body)
    assert [one for *_, one in circuit.messages] == [body]
    return frames


def test_a_question_arrives_at_its_relay_and_the_answer_comes_back() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    circuit.machine.accept(frozenset((ANSWER,)))
    client.send(circuit, ASK, b"hello")
    assert circuit.messages == [(2, ANSWER, b"hello")]
    assert [told(relay) for relay in relays] == [[], [], [b"hello"]]


def test_identities_clocks_and_what_is_drawn_are_the_same_in_every_run() -> None:
    first, second = network(3), network(3)
    assert [one.identity for one in first[1]] == [one.identity for one in second[1]]
    assert [one.identity for one in first[1]] == [relay_id(number) for number in range(3)]
    assert [one.keys for one in first[1]] == [one.keys for one in second[1]]
    assert (first[0].now, first[0].wall) == (second[0].now, second[0].wall)
    one, other = (net.client(relays[0]) for net, relays in (first, second))
    assert one.random(32) == other.random(32)
    assert one.circuit().circuit_id == other.circuit().circuit_id


def test_as_many_cells_go_in_the_same_order_in_every_run() -> None:
    """Their bytes differ: the library draws what ML-KEM needs."""
    one, other = seen(b"hello"), seen(b"hello")
    assert [len(frame) for frame in one] == [len(frame) for frame in other]
    assert all(len(frame) % CELL == 0 for frame in one)


def test_what_passed_a_link_is_kept_by_its_port() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.circuit()
    client.extend(circuit, relays[0])
    there, back = net.cells_on(client.port), net.cells_on(client.guard_port)
    assert there[0] == (circuit.circuit_id, CREATE)
    assert back[0] == (circuit.circuit_id, CREATED)
    assert len(there) == len(back) == 3


def test_a_stuck_link_takes_nothing_until_it_is_released() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    onward = relays[0].links[relays[1].identity]
    net.stuck.add(onward)
    client.send(circuit, ASK, b"waits")
    assert told(relays[1]) == []
    assert onward.outbox.waiting
    net.release(onward)
    assert told(relays[1]) == [b"waits"]
    assert not onward.outbox.waiting


def test_a_frame_that_is_swallowed_arrives_nowhere() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    net.touch = lambda port, frame: b"" if port is client.port else frame
    client.send(circuit, ASK, b"lost")
    assert told(relays[0]) == []
    assert circuit.machine.failed is None


def test_a_cut_ends_both_ends_and_what_went_over_them() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    through, beside = client.build(*relays), client.build(relays[0])
    port = relays[0].links[relays[1].identity]
    net.cut(port, Reason.LINK_SILENT)
    net.cut(port)  # once more is harmless
    net.settle()
    assert [reason for _, reason in net.ended_links] == [Reason.LINK_SILENT] * 2
    assert not relays[0].links
    assert not relays[1].links
    assert through.machine.failed == Reason.DESTROYED
    assert beside.machine.failed is None


def test_a_relay_that_cannot_be_reached_fails_the_extend() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    net.unreachable.add(relays[1].identity)
    client.extend(circuit, relays[1])
    assert circuit.hops_added == [relays[0].identity]
    assert circuit.machine.failed == Reason.DESTROYED


def test_a_cell_that_is_sent_by_hand_goes_as_it_is() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    client.raw(77, RELAY)
    assert net.cells_on(client.port) == [(77, RELAY)]
    assert relays[0].drops.counts[Reason.UNKNOWN_CIRCUIT] == 1


class Rows:
    """A store that keeps rows in memory, or refuses."""

    def __init__(self) -> None:
        self.rows: list[object] = []
        self.full = False

    def commit(self, rows: Sequence[object]) -> None:
        if self.full:
            raise OSError("no room")
        self.rows += rows


class Keeper(Parrot):
    """Has each question remembered, and counts how that went."""

    def __init__(self) -> None:
        super().__init__()
        self.store = Rows()
        self.went: list[bool] = []

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        return (Remember(self, len(self.went), (body,)),)

    def remembered(self, token: object, now: float, wall: int) -> tuple[RoleAction, ...]:
        self.went.append(True)
        return ()

    def not_remembered(self, token: object, now: float, wall: int) -> tuple[()]:
        self.went.append(False)
        return ()


@pytest.mark.parametrize("full", [False, True])
def test_what_a_role_wants_remembered_is_committed_when_the_net_says_so(full: bool) -> None:
    net, role = PureNetwork(), Keeper()
    relay = net.relay(role)
    client = net.client(relay)
    circuit = client.build(relay)
    net.committing = False
    client.send(circuit, ASK, b"note")
    assert role.went == []
    net.committing, role.store.full = True, full
    net.settle()
    assert role.went == [not full]
    assert role.store.rows == ([] if full else [b"note"])
