"""Roles that remember, over real switches and circuits without trio: order, bounds, who is told what."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onionshh.core.base.params import Params
from onionshh.core.roles import Drop, Join, Look, Remember, Reply, RoleAction
from onionshh.reasons import Reason
from onionshh.relay import remembering
from onionshh.relay.remembering import BATCH_MOST, LOOKS_AT_ONCE, Looking, Remembering
from onionshh.wire.cell import DESTROY
from simulations.world import ANSWER, ASK, Parrot, PureCircuit, PureClient, PureNetwork, PureRelay
from tests.relay.library import LEND, Library
from tests.relay.notes import AT_ONCE, READ, Notes, NotesFile
from tests.seeded import seeded


class Notebook:
    """A client of a relay that keeps notes, one relay further on."""

    def __init__(self, path: Path, params: Params | None = None) -> None:
        self.net = PureNetwork(params)
        self.guard = self.net.relay()
        self.store = NotesFile(path / "notes.db")
        self.role = Notes(self.store)
        self.relay: PureRelay = self.net.relay(self.role)
        self.client: PureClient = self.net.client(self.guard)

    def circuit(self) -> PureCircuit:
        circuit = self.client.build(self.guard, self.relay)
        circuit.machine.accept(frozenset((ANSWER,)))
        return circuit


def heard(circuit: PureCircuit) -> list[bytes]:
    return [body for _, _, body in circuit.messages]


def test_a_note_is_answered_once_it_is_on_disk_and_not_before(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    circuit = book.circuit()
    book.net.committing = False
    book.client.send(circuit, ASK, b"one")
    book.client.send(circuit, ASK, b"two")
    assert heard(circuit) == book.store.on_disk == []
    assert book.role.pending == 2
    book.net.committing = True
    book.net.settle()
    assert heard(circuit) == book.store.on_disk == [b"one", b"two"]
    assert len(book.relay.switch.control.remembering) == 0


def test_the_store_gets_the_notes_in_their_order_and_a_tick_may_ask_too(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    circuit, other = book.circuit(), book.circuit()
    book.store.full = True
    book.client.send(circuit, ASK, b"refused")
    assert circuit.machine.failed == Reason.DESTROYED
    assert book.relay.drops.counts[Reason.NOT_KEPT] == book.relay.drops.counts[Reason.NOT_REMEMBERED] == 1
    book.store.full = False
    book.client.send(other, ASK, b"taken")
    book.net.tick(1.0)  # the role tries once more
    assert book.store.on_disk == [b"taken", b"refused"]
    assert heard(other) == [b"taken"]
    assert book.relay.drops.counts[Reason.RENDEZVOUS_UNKNOWN_COOKIE] == 1


def test_a_circuit_that_ends_meanwhile_is_told_nothing_and_its_note_is_kept(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    gone, stays = book.circuit(), book.circuit()
    book.net.committing = False
    book.client.send(gone, ASK, b"of one who left")
    book.client.send(stays, ASK, b"of one who stayed")
    book.client.raw(gone.circuit_id, DESTROY)
    book.net.committing = True
    book.net.settle()
    assert book.store.on_disk == [b"of one who left", b"of one who stayed"]
    assert heard(stays) == [b"of one who stayed"]
    assert len(book.relay.switch.circuits) == 1
    assert book.relay.memory.used_bytes == 0


def test_a_circuit_that_is_joined_meanwhile_hears_nothing_of_the_relay_s_own(tmp_path: Path) -> None:
    book = Notebook(tmp_path)
    circuit, other = book.circuit(), book.circuit()
    book.net.committing = False
    book.client.send(circuit, ASK, b"before the join")
    one, two = book.relay.switch.circuits
    book.relay.switch.control.carry_out((Join(one, two),))
    book.net.committing = True
    book.net.settle()
    assert book.store.on_disk == [b"before the join"]
    assert heard(circuit) == []
    assert circuit.machine.failed is other.machine.failed is None


def test_what_waits_for_the_disk_is_bounded_and_the_rest_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remembering, "REMEMBERED_MOST", 3)
    book = Notebook(tmp_path)
    circuits = [book.circuit() for _ in range(5)]
    book.net.committing = False
    for number, circuit in enumerate(circuits):
        book.client.send(circuit, ASK, b"note %d" % number)
    assert [circuit.machine.failed for circuit in circuits] == [
        None,
        None,
        None,
        Reason.DESTROYED,
        Reason.DESTROYED,
    ]
    assert book.relay.drops.counts[Reason.REMEMBER_FULL] == 2
    assert not book.relay.drops.counts[Reason.NOT_REMEMBERED]
    # What is being committed still counts.
    control = book.relay.switch.control
    batch = control.remembering.take()
    assert len(batch) == len(control.remembering) == 3
    late = book.circuit()
    book.client.send(late, ASK, b"late")
    assert late.machine.failed == Reason.DESTROYED
    for asked in batch:
        book.store.commit(asked.rows)
        book.relay.switch.remembered(asked, book.net.now, kept=True)
    book.net.settle()
    assert [heard(circuit) for circuit in circuits[:3]] == [[b"note 0"], [b"note 1"], [b"note 2"]]


def test_a_batch_is_of_one_store_in_order_and_no_larger_than_may_be(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, other = (Notes(NotesFile(tmp_path / name / "notes.db")) for name in "ab")
    queue = Remembering()
    assert queue.take() == []
    asked = [Remember(role, number, ()) for number, role in enumerate((one, one, other, one))]
    assert all(queue.add(each) for each in asked)
    assert [queue.take(), queue.take(), queue.take(), queue.take()] == [asked[:2], asked[2:3], asked[3:], []]
    assert len(queue) == 4
    for _ in asked:
        queue.answered()
    assert len(queue) == 0
    for number in range(BATCH_MOST + 1):
        assert queue.add(Remember(one, number, ()))
    assert [len(queue.take()), len(queue.take())] == [BATCH_MOST, 1]


class Hasty(Notes):
    """Says something behind a `Remember`, as if that had waited for the disk."""

    def handle(self, *given: object) -> tuple[RoleAction, ...]:
        return (Remember(self, 1, ()), Drop(Reason.PUBLISH_STALE))


def test_nothing_stands_behind_a_remember(tmp_path: Path) -> None:
    net = PureNetwork()
    relay = net.relay(Hasty(NotesFile(tmp_path / "notes.db")))
    client = net.client(relay)
    circuit = client.build(relay)
    with pytest.raises(TypeError, match="Remember"):
        client.send(circuit, ASK, b"")
    assert not relay.drops.counts[Reason.PUBLISH_STALE]


# What is only looked at.


class Desk:
    """A client of a relay that lends books."""

    def __init__(self) -> None:
        self.net = PureNetwork()
        self.role = Library()
        self.relay: PureRelay = self.net.relay(self.role)
        self.client: PureClient = self.net.client(self.relay)

    def circuit(self) -> PureCircuit:
        circuit = self.client.build(self.relay)
        circuit.machine.accept(frozenset((ANSWER,)))
        return circuit


def test_what_a_role_looks_for_is_read_and_told_in_its_order() -> None:
    desk = Desk()
    circuit = desk.circuit()
    desk.net.committing = False
    desk.client.send(circuit, LEND, bytes((3, 0, 1)))
    desk.client.send(circuit, LEND, bytes((7,)))
    assert heard(circuit) == []
    assert len(desk.relay.switch.control.looking) == 2
    desk.net.committing = True
    desk.net.settle()
    assert heard(circuit) == [b"book 3, none, book 1", b"book 7"]
    assert len(desk.relay.switch.control.looking) == 0
    assert desk.relay.switch.control.mounted.statistics() == {"books_lent": 2}


def test_what_cannot_be_read_is_counted_and_its_role_told() -> None:
    desk = Desk()
    circuit, other = desk.circuit(), desk.circuit()
    desk.role.store.fails = True
    desk.client.send(circuit, LEND, bytes((3,)))
    assert circuit.machine.failed == Reason.DESTROYED
    assert desk.relay.drops.counts[Reason.NOT_LOOKED] == 1
    desk.role.store.fails = False
    desk.client.send(other, LEND, bytes((3,)))
    assert heard(other) == [b"book 3"]


def test_what_waits_to_be_read_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembering, "LOOKS_MOST", 2)
    desk = Desk()
    circuits = [desk.circuit() for _ in range(3)]
    desk.net.committing = False
    for circuit in circuits:
        desk.client.send(circuit, LEND, bytes((1,)))
    assert [circuit.machine.failed for circuit in circuits] == [None, None, Reason.DESTROYED]
    assert desk.relay.drops.counts[Reason.LOOKS_FULL] == 1
    assert not desk.relay.drops.counts[Reason.NOT_LOOKED]
    desk.net.committing = True
    desk.net.settle()
    assert [heard(circuit) for circuit in circuits[:2]] == [[b"book 1"]] * 2


def test_what_is_read_together_is_of_one_store_and_bounded() -> None:
    one, other = Library(), Library()
    queue = Looking()
    asked = [Look(role, number, (number,)) for number, role in enumerate((one, one, other))]
    assert all(queue.add(each) for each in asked)
    assert [queue.take(), queue.take(), queue.take()] == [asked[:2], asked[2:], []]
    for _ in asked:
        queue.answered()
    for number in range(LOOKS_AT_ONCE + 1):
        queue.add(Look(one, number, ()))
    assert [len(queue.take()), len(queue.take())] == [LOOKS_AT_ONCE, 1]


def test_nothing_but_a_remember_stands_behind_a_look() -> None:
    class Rash(Library):
        def handle(self, *given: object) -> tuple[RoleAction, ...]:
            return (Look(self, 1, (1,)), Drop(Reason.PUBLISH_STALE))

    net = PureNetwork()
    relay = net.relay(Rash())
    client = net.client(relay)
    circuit = client.build(relay)
    net.committing = False
    with pytest.raises(TypeError, match="after a Look"):
        client.send(circuit, LEND, b"")
    assert not relay.drops.counts[Reason.PUBLISH_STALE]


# Room on a circuit.


def test_a_reader_gets_all_of_it_some_at_a_time(tmp_path: Path) -> None:
    """Each note is as long as the window, so whatever is queued behind the first has to wait."""
    book = Notebook(tmp_path, replace(Params(), ack_every=2, window=4))
    circuit = book.circuit()
    notes = [seeded(number)(1900) for number in range(3 * AT_ONCE + 1)]
    for note in notes:
        book.client.send(circuit, ASK, note)
    assert heard(circuit) == notes
    reader = book.circuit()
    most = 0

    def look(port: object, frame: bytes) -> bytes:
        nonlocal most
        most = max(most, *(one.waiting_messages for one in book.relay.switch.circuits))
        return frame

    book.net.touch = look
    book.client.send(reader, READ, b"")
    assert heard(reader) == notes
    assert most == AT_ONCE


def test_a_reader_who_is_gone_is_asked_no_more(tmp_path: Path) -> None:
    book = Notebook(tmp_path, replace(Params(), ack_every=2, window=4))
    circuit = book.circuit()
    for number in range(2 * AT_ONCE):
        book.client.send(circuit, ASK, seeded(number)(1900))
    reader = book.circuit()
    book.net.stuck.add(book.client.guard_port)  # it reads nothing
    book.client.send(reader, READ, b"")
    book.client.raw(reader.circuit_id, DESTROY)
    book.net.release(book.client.guard_port)
    assert len(book.relay.switch.circuits) == 1
    assert book.relay.memory.used_bytes == 0
    assert book.client.build(book.guard, book.relay).hops_added


def test_room_is_told_once_all_has_left() -> None:
    net = PureNetwork(replace(Params(), ack_every=2, window=4))
    parrot = Parrot()
    relay = net.relay(parrot)
    client = net.client(relay)
    circuit = client.build(relay)
    circuit.machine.accept(frozenset((ANSWER,)))
    client.send(circuit, ASK, b"of one cell")
    assert parrot.ready == [relay.circuit]
    net.stuck.add(client.port)  # no ACK comes
    body = bytes(17_000)  # more than a window
    relay.switch.control.carry_out((Reply(relay.circuit, ANSWER, body),))
    net.settle()
    assert relay.circuit.waiting_messages == 1
    assert len(parrot.ready) == 1
    net.release(client.port)
    assert circuit.messages[-1] == (0, ANSWER, body)
    assert parrot.ready == [relay.circuit] * 2
