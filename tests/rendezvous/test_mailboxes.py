"""The relay that keeps mailboxes: what it serves, by which clock, and what is left when time is over."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh import geometry as g
from onionshh.core.mailbox.item import ItemKey
from onionshh.core.paths.view import View
from onionshh.crypto.identity import SigningKey
from onionshh.reasons import Reason
from onionshh.rendezvous import mailbox_deposits, mailboxes
from onionshh.rendezvous.mailbox_index import ITEM_BYTES
from onionshh.rendezvous.mailboxes import LIST_BURST, PUT_BURST
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from tests.core import networks
from tests.core.networks import DAY, START, plain
from tests.rendezvous.mailbox_world import (
    BOARD,
    HOUR,
    INBOX,
    OWNER,
    PERIOD,
    WALL,
    Disk,
    House,
    answered,
    key,
    listing,
    mark,
)
from tests.rendezvous.test_ring import days
from tests.seeded import seeded

REFUSED = w.Kept(w.REFUSED)
STORED = w.Kept(w.STORED)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def due_soon(house: House) -> bool:
    return house.role.is_due_soon


def in_period(period: int) -> w.Mailbox:
    return w.Mailbox(w.INBOX, OWNER.public, period)


@pytest.mark.parametrize(("away", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_items_are_taken_for_the_period_and_its_neighbours(disk: Disk, away: int, taken: bool) -> None:
    house = House(disk, view=days(networks.view(plain(3)), -7, 2))
    assert house.leaves(house.put(1, in_period(PERIOD + away))) == (STORED if taken else REFUSED)
    assert house.relay.drops == ([] if taken else [Reason.MAILBOX_REFUSED])


def test_a_mailbox_is_read_as_long_as_its_period_has_a_random_value(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_deposits, "price", lambda *_, **__: 0)
    house = House(disk)
    house.keeps(1, seconds=7 * DAY, effort=0)
    later = networks.view(plain(3), at=START + DAY // 2 + 6 * DAY)
    house.view = days(later, -6, 1)
    house.pass_time(6 * DAY)
    assert house.ids() == [key(1).public]
    house.view = days(later, -5, 1)
    assert house.lists().status == w.REFUSED
    assert house.lists(after=9) == w.Items(w.REFUSED, 9)


def test_an_item_is_extended_and_recalled_as_long_as_it_lies_here(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_deposits, "price", lambda *_, **__: 0)
    house = House(disk)
    house.keeps(1, seconds=6 * DAY, effort=0)
    house.view = days(networks.view(plain(3), at=START + DAY // 2 + 5 * DAY), -6, 1)
    house.pass_time(5 * DAY)
    assert house.leaves(house.put(2, seconds=2 * DAY, effort=0)) == REFUSED  # a new one in this period
    assert house.leaves(house.put(1, seconds=2 * DAY, revision=1, effort=24)) == w.Kept(w.DEAR, 24 * 96)
    assert house.leaves(house.put(1, seconds=DAY // 2, revision=1, effort=0)) == STORED
    assert [head.expires for head in house.lists().heads] == [house.exact + DAY // 2]
    assert house.ids() == [key(1).public]
    assert house.leaves(house.put(1, seconds=2 * DAY, revision=2, effort=0, empty=True)) == STORED
    assert house.ids() == []
    assert house.leaves(house.put(1, seconds=2 * DAY, revision=3, effort=0)) == w.Kept(w.STALE)


def test_without_a_consensus_and_elsewhere_on_the_ring_everything_is_refused(disk: Disk) -> None:
    house = House(disk, view=networks.view(plain(60)))
    here, elsewhere = False, False
    for number in range(40):
        owner = SigningKey.generate(seeded(number))
        box = w.Mailbox(w.INBOX, owner.public, PERIOD)
        circuit = house.relay.circuit()
        house.asks(circuit, box, owner=owner)
        found = answered(circuit)
        assert found.status in (w.STORED, w.REFUSED)
        here, elsewhere = here or found.status == w.STORED, elsewhere or found.status == w.REFUSED
        if found.status == w.REFUSED:
            assert house.leaves(house.put(1, box, effort=0)) == REFUSED
    assert here
    assert elsewhere
    put = house.put(1)
    house.view = None
    assert house.leaves(put) == REFUSED
    assert house.lists().status == w.REFUSED


def test_only_the_mailboxs_owner_lists_and_only_on_this_circuit_at_this_relay(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    stranger = house.relay.circuit()
    house.asks(stranger, owner=ItemKey.generate(seeded(3)))
    assert stranger.ended_for == Reason.SIGNATURE
    own, other = house.relay.circuit(), house.relay.circuit()
    house.relay.send(other, m.LIST, listing(own.binding, after=2**62).encode())
    assert other.ended_for == Reason.SIGNATURE
    assert house.ids() == [key(1).public]  # nothing was erased by it


def test_time_is_exact_to_the_second_in_what_is_shown_and_on_disk(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, seconds=100)
    house.keeps(2, seconds=200)
    house.pass_time(99)
    assert house.ids() == [key(1).public, key(2).public]
    assert due_soon(house)
    house.pass_time(1, tick=False)
    assert house.ids() == [key(2).public]
    assert mark(1) in disk.bytes
    house.relay.tick()
    assert mark(1) not in disk.bytes
    assert mark(2) in disk.bytes
    house.pass_time(97)
    assert not due_soon(house)
    house.pass_time(1)
    assert due_soon(house)


def test_after_a_restart_what_has_expired_is_swept_before_anything_is_served(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, seconds=100)
    house.keeps(2, seconds=HOUR)
    again = House(disk, wall=WALL + 100)
    assert again.role.kept == 2
    assert again.ids() == [key(2).public]
    again.relay.tick()
    assert mark(1) not in disk.bytes
    assert again.leaves(again.put(1)) == STORED


def test_an_erasure_that_fails_is_tried_again(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, seconds=100)
    disk.fails = True
    house.pass_time(100)
    assert house.ids() == []
    assert mark(1) in disk.bytes
    assert due_soon(house)
    disk.fails = False
    house.pass_time(1)
    assert mark(1) not in disk.bytes
    assert not due_soon(house)


@pytest.mark.parametrize("wrong", [-2 * DAY, DAY, 400 * DAY, 2**40])
def test_a_clock_that_the_consensus_does_not_agree_with_expires_nothing(disk: Disk, wrong: int) -> None:
    house = House(disk)
    house.keeps(1)
    put = house.put(2)
    house.exact += wrong
    house.relay.tick()
    assert house.ids() == [key(1).public]
    assert house.leaves(put) == STORED
    house.relay.wall += HOUR  # what a consensus confirms counts all the same
    house.relay.tick()
    assert house.ids() == []


def test_the_confirmed_time_is_late_and_the_clock_is_exact(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1, seconds=100)
    house.exact += 100
    house.relay.tick()
    assert house.ids() == []
    assert mark(1) not in disk.bytes


def test_one_neighbour_cannot_ask_without_end(disk: Disk) -> None:
    house = House(disk)
    put = house.put(1, effort=0)
    circuit = house.relay.circuit("198.51.100.1")
    for _ in range(PUT_BURST):
        house.leaves(put, circuit)
    assert house.leaves(put, circuit) == w.Kept(w.FULL)
    assert house.relay.drops[-1] == Reason.MAILBOX_PUT_RATE
    assert house.leaves(put) == w.Kept(w.DEAR, 96)
    house.relay.now += 1
    assert house.leaves(put, circuit) == w.Kept(w.DEAR, 96)


def test_one_neighbour_cannot_list_without_end(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert LIST_BURST > 1366
    monkeypatch.setattr(mailboxes, "LIST_BURST", 3)
    house = House(disk)
    for _ in range(3):
        assert house.lists().status == w.STORED
    assert house.lists(after=4) == w.Items(w.FULL, 4)
    assert house.relay.drops == [Reason.MAILBOX_LIST_RATE]


def test_a_circuit_has_a_bound_of_requests(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mailboxes, "REQUESTS_MOST", 2)
    house = House(disk)
    circuit = house.relay.circuit()
    for _ in range(3):
        house.asks(circuit)
    assert len(circuit.got) == 2
    assert circuit.ended_for == Reason.MAILBOX_TOO_MANY


@pytest.mark.parametrize(
    ("message_type", "body", "reason"),
    [
        (m.PUT, b"", Reason.MESSAGE_SIZE),
        (m.PUT, bytes(g.PUT), Reason.MAILBOX_SHAPE),
        (m.LIST, bytes(g.LIST), Reason.MAILBOX_SHAPE),
        (m.LIST, bytes(g.LIST + 1), Reason.MESSAGE_SIZE),
        (m.KEPT, bytes(5), Reason.MESSAGE_TYPE),
    ],
)
def test_what_has_no_shape_ends_the_circuit(
    disk: Disk, message_type: int, body: bytes, reason: Reason
) -> None:
    house = House(disk)
    circuit = house.relay.circuit()
    house.relay.send(circuit, message_type, body)
    assert circuit.ended_for == reason


def test_a_joined_circuit_brings_nothing(disk: Disk) -> None:
    house = House(disk)
    circuit = house.relay.circuit()
    circuit.joined = True
    house.asks(circuit)
    assert circuit.ended_for == Reason.MESSAGE_ON_JOINED_CIRCUIT


def test_its_numbers_say_what_is_there_and_what_it_costs(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    house.keeps(2, BOARD)
    house.leaves(house.put(1, revision=1, empty=True))
    assert house.role.statistics() == {
        "mailbox_items": 1,
        "mailbox_bytes": ITEM_BYTES,
        "mailbox_room_bytes": house.params.mailbox_bytes,
        "mailbox_ids": 2,
        "mailboxes": 2,
        "mailbox_readers_waiting": 0,
        "mailbox_price": 96,
    }
    assert house.role.kept == 1


def test_a_relay_without_mailboxes_of_its_own_period_is_not_asked_by_a_later_consensus(disk: Disk) -> None:
    """A mailbox whose ring only the consensus before knows is still served."""
    before = networks.view(plain(3))
    now = networks.consensus([networks.row(number) for number in range(1, 40)] + [networks.row(0)])
    house = House(disk, view=View(now, before.consensus))
    assert house.leaves(house.put(1)) == STORED
    assert house.ids() == [key(1).public]
    assert house.lists(INBOX).status == w.STORED
