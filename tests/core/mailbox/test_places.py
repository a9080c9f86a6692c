"""At which relays a mailbox lies (SPEC 14)."""

from __future__ import annotations

import pytest

from onionshh.core.endpoint.ring import Positions, positions, responsible
from onionshh.core.mailbox import places
from onionshh.core.mailbox.places import ASKED, COPIES, SERVED, WRITTEN, Rings, readable, writable
from onionshh.core.paths.view import View
from onionshh.crypto.primitives import kdf
from onionshh.wire.mailbox import INBOX, Mailbox
from tests.core.networks import DAY, START, plain, row, view


def mailbox(of: View, number: int = 0, *, ahead: int = 0) -> Mailbox:
    return Mailbox(INBOX, kdf("test", number.to_bytes(4, "big")), of.period + ahead)


def test_two_of_each_place_are_written_to_and_three_asked() -> None:
    network = view(plain(20))
    for number in range(20):
        box = mailbox(network, number)
        written, asked = writable(network, box), readable(network, box)
        kept = responsible(network, box.period, box.name)
        assert written is not None
        assert asked is not None
        assert kept is not None
        assert written == tuple(rows[:WRITTEN] for rows in kept)
        assert asked == tuple(rows[:ASKED] for rows in kept)
        assert len({row.identity for rows in written for row in rows}) == COPIES == 4
        assert len({row.identity for rows in asked for row in rows}) == 6
        assert all(len(rows) == SERVED for rows in kept)


def test_each_period_has_its_own_and_an_unknown_one_has_none() -> None:
    network = view(plain(60))
    assert len({writable(network, mailbox(network, ahead=ahead)) for ahead in (-1, 0, 1)}) == 3
    assert writable(network, mailbox(network, ahead=2)) is None
    assert readable(network, mailbox(network, ahead=-2)) is None


def test_what_was_written_is_found_after_relays_joined_and_one_of_each_place_left() -> None:
    before = view(plain(40))
    for number in range(50):
        box = mailbox(before, number)
        written = writable(before, box)
        assert written is not None
        gone = {rows[0].identity for rows in written}
        rows = [row for row in plain(40) if row.identity not in gone]
        after = view(rows + [row(n, first_seen=START + DAY) for n in range(100, 140)])
        asked = readable(after, box)
        assert asked is not None
        have = {row.identity for rows in written for row in rows} - gone
        assert have & {row.identity for rows in asked for row in rows}


@pytest.mark.parametrize(("relays", "copies"), [(1, 1), (2, 2), (3, 2), (4, 2), (5, 3), (6, 4)])
def test_a_small_network_has_fewer_copies(relays: int, copies: int) -> None:
    network = view(plain(relays))
    places = writable(network, mailbox(network))
    assert places is not None
    assert sum(map(len, places)) == copies


def test_kept_rings_say_the_same_under_each_consensus() -> None:
    rings = Rings()
    for network in (view(plain(20)), view(plain(19)), view(plain(0))):
        for ahead in (0, 1, -1, 2, 0, -2, 1):
            for number in range(3):
                box = mailbox(network, number, ahead=ahead)
                assert rings.writable(network, box) == writable(network, box)
                assert rings.readable(network, box) == readable(network, box)


def test_a_ring_is_made_once_for_each_consensus(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(of: View, period: int) -> Positions | None:
        made.append(period - of.period)
        return positions(of, period)

    monkeypatch.setattr(places, "positions", counted)
    rings, network = Rings(), view(plain(20))
    for number in range(9):
        rings.writable(network, mailbox(network, number))
        rings.readable(network, mailbox(network, number, ahead=1))
    assert made == [0, 1]
    rings.writable(view(plain(20)), mailbox(network))
    assert made == [0, 1, 0]
