"""What a relay answers to a PUT."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onionshh.core.base.params import Params
from onionshh.core.mailbox import price as prices
from onionshh.core.mailbox.item import TTL_MOST_SECONDS
from onionshh.geometry import PROOF_NONCE, SIGNATURE
from onionshh.reasons import Reason
from onionshh.relay.remembering import REMEMBERED_MOST
from onionshh.rendezvous import mailbox_deposits
from onionshh.rendezvous.mailbox_index import ITEM_BYTES
from onionshh.wire import mailbox as w
from tests.rendezvous.mailbox_world import BOARD, HOUR, PAIR, WALL, Disk, House, key, mark

STORED = w.Kept(w.STORED)
STALE = w.Kept(w.STALE)
FULL = w.Kept(w.FULL)
REFUSED = w.Kept(w.REFUSED)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path)


def test_a_deposit_is_stored_once_it_is_on_disk_and_shown_not_before(disk: Disk) -> None:
    house = House(disk)
    house.relay.committing = False
    circuit = house.relay.circuit()
    assert house.leaves(house.put(1), circuit) is None
    assert house.ids() == []
    assert mark(1) not in disk.bytes
    house.relay.commit()
    assert w.Kept.decode_untrusted(circuit.got[0][1]) == STORED
    assert mark(1) in disk.bytes
    assert house.ids() == [key(1).public]
    assert house.relay.drops == []


def test_the_price_is_asked_before_any_signature_is_looked_at(disk: Disk) -> None:
    house = House(disk)
    forged = replace(house.put(1, effort=0), signature=bytes(SIGNATURE))
    assert house.leaves(forged) == w.Kept(w.DEAR, 96)
    assert house.leaves(replace(forged, effort=96)) == w.Kept(w.DEAR, 96)
    assert house.leaves(replace(house.put(1), nonce=bytes(PROOF_NONCE))) == w.Kept(w.DEAR, 96)
    assert house.leaves(house.put(1, effort=95)) == w.Kept(w.DEAR, 96)
    assert house.relay.drops == [Reason.MAILBOX_DEAR] * 4
    assert house.leaves(house.put(1, effort=200)) == STORED


def test_a_proof_is_good_for_one_id_one_value_one_end_and_one_mailbox(disk: Disk) -> None:
    house = House(disk)
    good = house.put(1)
    for other in (
        house.put(2, content=1, effort=0),
        house.put(1, content=2, effort=0),
        house.put(1, seconds=HOUR - 1, effort=0),
        house.put(1, PAIR, effort=0),
    ):
        answer = house.leaves(replace(other, effort=5000, nonce=good.nonce))
        assert answer is not None
        assert answer.status == w.DEAR


def test_a_signature_that_does_not_hold_ends_the_circuit(disk: Disk) -> None:
    house = House(disk)
    circuit = house.relay.circuit()
    assert house.leaves(replace(house.put(1), signature=bytes(SIGNATURE)), circuit) is None
    assert circuit.ended_for == Reason.SIGNATURE
    assert not disk.commits


def test_the_same_deposit_again_is_stored_again_and_costs_nothing_more(disk: Disk) -> None:
    house = House(disk)
    put = house.keeps(1)
    again = replace(put, effort=0, nonce=bytes(PROOF_NONCE))
    assert house.leaves(again) == STORED
    assert disk.commits == [1]
    assert house.relay.drops == []


def test_a_deposit_that_comes_twice_before_it_is_written_is_written_once(disk: Disk) -> None:
    house = House(disk)
    house.relay.committing = False
    one, other = house.relay.circuit(), house.relay.circuit()
    put = house.put(1)
    assert house.leaves(put, one) is house.leaves(put, other) is house.leaves(put, one) is None
    assert house.leaves(house.put(1, content=2)) == FULL
    forged = house.relay.circuit()
    assert house.leaves(replace(put, signature=bytes(SIGNATURE)), forged) is None
    assert forged.ended_for == Reason.SIGNATURE
    house.relay.commit()
    assert [len(one.got), len(other.got)] == [1, 1]
    assert disk.commits == [1]


def test_the_first_value_of_an_id_stays(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    assert house.leaves(house.put(1, content=2)) == STALE
    assert house.leaves(house.put(1, content=2, revision=1)) == STALE
    assert house.relay.drops == [Reason.MAILBOX_STALE] * 2
    assert mark(2) not in disk.bytes


def test_a_later_revision_changes_the_end_earlier_for_nothing_later_for_the_hours_added(
    disk: Disk,
) -> None:
    house = House(disk)
    house.keeps(1, seconds=HOUR)
    assert house.leaves(house.put(1, seconds=3 * HOUR, revision=1, effort=0)) == w.Kept(w.DEAR, 192)
    assert house.leaves(house.put(1, seconds=3 * HOUR, revision=1, effort=192)) == STORED
    assert house.lists().heads[0].expires == WALL + 3 * HOUR
    assert house.leaves(house.put(1, seconds=120, revision=2, effort=0)) == STORED
    assert house.lists().heads[0].expires == WALL + 120
    assert house.leaves(house.put(1, seconds=HOUR)) == STALE
    assert house.leaves(house.put(1, seconds=900, revision=9)) == STORED
    again = House(disk)
    assert [head.expires for head in again.lists().heads] == [WALL + 900]


def test_what_is_recalled_is_gone_from_disk_and_stays_away(disk: Disk) -> None:
    house = House(disk)
    put = house.keeps(1)
    house.keeps(2)
    assert house.leaves(house.put(1, revision=0, empty=True)) == STALE
    assert house.ids() == [key(1).public, key(2).public]
    assert house.leaves(house.put(1, revision=1, empty=True)) == STORED
    assert mark(1) not in disk.bytes
    assert house.ids() == [key(2).public]
    for now in (house, House(disk)):  # also after a restart
        assert now.leaves(put) == STALE
        assert now.leaves(now.put(1, revision=5)) == STALE
        assert now.leaves(now.put(1, revision=1, empty=True)) == STORED
        assert now.ids() == [key(2).public]


def test_who_recalls_what_was_read_is_told_so(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    house.lists(after=house.lists().next)
    assert house.ids() == []
    house.pass_time(2)
    for now in (house, House(disk)):
        assert now.leaves(now.put(1, revision=1, empty=True)) == STALE
    house.keeps(2)
    assert house.leaves(house.put(2, revision=1, empty=True)) == STORED


def test_a_recall_is_answered_once_it_is_on_disk(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    house.relay.committing = False
    circuit = house.relay.circuit()
    assert house.leaves(house.put(1, revision=1, empty=True), circuit) is None
    assert house.ids() == [key(1).public]
    house.relay.commit()
    assert house.ids() == []
    assert len(circuit.got) == 1


def test_a_recall_needs_no_proof_and_may_come_in_the_last_minute(disk: Disk) -> None:
    house = House(disk)
    put = house.keeps(1, seconds=100)
    house.pass_time(90)
    late = house.put(1, seconds=10, revision=1, empty=True)
    assert late.expires == put.expires
    assert house.leaves(late) == STORED


def test_a_recall_does_not_make_the_relay_remember_for_longer_than_was_paid(disk: Disk) -> None:
    """Else ids would cost nothing, and whoever fills the relay with them would do so for a week."""
    house = House(disk)
    first = house.keeps(1, seconds=100)
    assert house.leaves(house.put(1, seconds=TTL_MOST_SECONDS, revision=1, empty=True)) == STORED
    assert house.leaves(first) == STALE, "it does not come back"
    house.pass_time(101)
    assert house.leaves(house.put(1)) == STORED, "nothing is known of it"


def test_a_recall_of_what_is_not_there_has_nothing_to_do(disk: Disk) -> None:
    house = House(disk)
    assert house.leaves(house.put(1, revision=1, empty=True)) == STORED
    assert not disk.commits
    assert house.leaves(house.put(1)) == STORED
    far = house.put(2, seconds=TTL_MOST_SECONDS + 601, revision=1, empty=True)
    assert house.leaves(far) == REFUSED


@pytest.mark.parametrize(
    ("seconds", "taken"),
    [(-1, False), (60, False), (61, True), (TTL_MOST_SECONDS + 600, True), (TTL_MOST_SECONDS + 601, False)],
)
def test_an_item_ends_in_more_than_a_minute_and_within_a_week(
    disk: Disk, seconds: int, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_deposits, "price", lambda *_, **__: 0)
    house = House(disk)
    assert house.leaves(house.put(1, seconds=seconds, effort=0)) == (STORED if taken else REFUSED)
    assert house.relay.drops == ([] if taken else [Reason.MAILBOX_DATE])


def test_a_disk_that_fails_is_answered_full_and_nothing_is_shown(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    disk.fails = True
    assert house.leaves(house.put(2)) == FULL
    assert house.leaves(house.put(1, seconds=100, revision=1)) == FULL
    assert house.leaves(house.put(1, revision=1, empty=True)) == FULL
    assert house.relay.drops == [Reason.MAILBOX_FULL] * 3
    assert house.ids() == [key(1).public]
    assert house.lists().heads[0].expires == WALL + HOUR
    disk.fails = False
    assert house.leaves(house.put(2)) == STORED
    assert house.leaves(house.put(1, revision=1, empty=True)) == STORED


def test_what_is_read_while_its_change_is_being_written_stays_erased(disk: Disk) -> None:
    house = House(disk)
    house.keeps(1)
    number = house.lists().next
    house.relay.committing = False
    changer, recaller = house.relay.circuit(), house.relay.circuit()
    house.leaves(house.put(1, seconds=100, revision=1), changer)
    assert house.ids(after=number) == []
    house.relay.commit()
    assert w.Kept.decode_untrusted(changer.got[0][1]) == STALE
    house.relay.committing = True
    house.keeps(2)
    number = house.lists().next
    house.relay.committing = False
    house.leaves(house.put(2, revision=1, empty=True), recaller)
    assert house.ids(after=number) == []
    house.relay.commit()
    assert w.Kept.decode_untrusted(recaller.got[0][1]) == STORED
    house.relay.committing = True
    house.pass_time(1)
    assert mark(1) not in disk.bytes
    assert mark(2) not in disk.bytes
    assert House(disk).ids() == []


def test_a_relay_that_is_full_says_so_before_anyone_pays_and_throws_nothing_out(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mailbox_deposits, "price", lambda *_, **__: 0)
    house = House(disk, params=Params(mailbox_bytes=3 * ITEM_BYTES))
    for number in range(3):
        house.keeps(number, effort=0)
    assert house.leaves(house.put(9, effort=0)) == FULL
    assert house.leaves(house.put(1, effort=0)) == STORED
    assert house.ids() == [key(number).public for number in range(3)]
    assert house.leaves(house.put(1, revision=1, empty=True)) == STORED
    assert house.leaves(house.put(9, effort=0)) == STORED
    house.params = Params(mailbox_bytes=ITEM_BYTES)  # a later consensus leaves less room
    assert len(house.ids()) == 3
    assert house.leaves(house.put(10, effort=0)) == FULL
    house.params = Params(mailbox_bytes=0)
    assert house.leaves(house.put(10, effort=0)) == STORED


def test_a_mailbox_that_is_full_says_so_and_others_have_room(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(prices.ITEMS_MOST, w.INBOX, 2)
    monkeypatch.setattr(mailbox_deposits, "price", lambda *_, **__: 0)
    house = House(disk)
    house.keeps(1, effort=0)
    house.relay.committing = False
    assert house.leaves(house.put(2, effort=0)) is None
    assert house.leaves(house.put(3, effort=0)) == FULL
    house.relay.committing = True
    house.relay.commit()
    assert house.leaves(house.put(3, BOARD, effort=0)) == STORED


def test_the_price_rises_as_room_gets_scarce(disk: Disk) -> None:
    house = House(disk, params=Params(mailbox_bytes=20 * ITEM_BYTES))
    asked = []
    for number in range(16):
        answer = house.leaves(house.put(number, BOARD, effort=0))
        assert answer is not None
        asked.append(answer.effort)
        house.keeps(number, BOARD, effort=answer.effort)
    assert asked == sorted(asked)
    assert asked[:11] == [24] * 11
    assert asked[12] == 48
    assert asked[14] == 96
    assert house.role.statistics()["mailbox_price"] == 96 * 2**3


def test_whoever_left_may_leave_before_the_answer(disk: Disk) -> None:
    house = House(disk)
    house.relay.committing = False
    gone, stays = house.relay.circuit(), house.relay.circuit()
    put = house.put(1)
    house.leaves(put, gone)
    house.leaves(put, stays)
    house.relay.end(gone)
    house.relay.commit()
    assert gone.got == []
    assert len(stays.got) == 1
    assert house.ids() == [key(1).public]


def test_rows_that_are_being_written_leave_room_for_other_roles(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mailbox_deposits.WRITING_MOST < REMEMBERED_MOST
    monkeypatch.setattr(mailbox_deposits, "WRITING_MOST", 2)
    house = House(disk)
    house.relay.committing = False
    answers = [house.leaves(house.put(number)) for number in range(3)]
    assert answers == [None, None, FULL]
    assert house.relay.drops == [Reason.REMEMBER_FULL]
    house.relay.committing = True
    house.relay.commit()
    assert house.leaves(house.put(2)) == STORED
