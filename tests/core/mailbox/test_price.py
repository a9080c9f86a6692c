"""What a place in a mailbox costs (SPEC 14, 15)."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import pytest

from onionshh.core.base.params import Params
from onionshh.core.base.work import MOST
from onionshh.core.mailbox.price import EFFORT_MOST, ITEMS_MOST, extension_price, price
from onionshh.rendezvous.mailbox_index import ITEM_BYTES
from onionshh.wire.mailbox import BOARD, INBOX, PAIR

WALL: Final = 1_728_000_000
HOUR: Final = 3600
DAY: Final = 24 * HOUR
ROOM: Final = 256 * 1024 * 1024


def of(
    ttl: int, kind: int = INBOX, *, relay_used: int = 0, relay_most: int = ROOM, mailbox_used: int = 0
) -> int:
    return price(
        kind,
        WALL + ttl,
        WALL,
        relay_used=relay_used,
        relay_most=relay_most,
        mailbox_used=mailbox_used,
    )


def longer(
    seconds: int, kind: int = INBOX, *, relay_used: int = 0, relay_most: int = ROOM, mailbox_used: int = 0
) -> int:
    return extension_price(
        kind,
        WALL + seconds,
        WALL,
        relay_used=relay_used,
        relay_most=relay_most,
        mailbox_used=mailbox_used,
    )


@pytest.mark.parametrize(
    ("ttl", "hours"),
    [
        (61, 1),
        (600, 1),
        (HOUR, 1),
        (HOUR + 600, 1),
        (HOUR + 601, 2),
        (3 * HOUR, 3),
        (DAY, 24),
        (3 * DAY, 72),
        (7 * DAY, 168),
        (7 * DAY + 600, 168),
    ],
)
def test_it_grows_with_the_hours_and_an_hour_is_the_least(ttl: int, hours: int) -> None:
    assert of(ttl) == 16 * 6 * hours
    assert of(ttl, BOARD) == of(ttl, PAIR) == 4 * 6 * hours


@pytest.mark.parametrize(
    ("tenths", "doublings"),
    [(0, 0), (4.9, 0), (5, 0), (5.9, 0), (6, 1), (6.9, 1), (7, 2), (8, 3), (9, 4), (10, 5)],
)
def test_it_doubles_for_each_tenth_of_the_relays_room_beyond_one_half(tenths: float, doublings: int) -> None:
    most = 1000
    assert of(HOUR, relay_used=int(most * tenths / 10), relay_most=most) == 96 << doublings


@pytest.mark.parametrize("kind", [INBOX, BOARD, PAIR])
def test_it_doubles_for_each_eighth_of_the_mailboxs_own_room(kind: int) -> None:
    eighth = ITEMS_MOST[kind] // 8
    least = of(HOUR, kind)
    for full in range(8):
        assert of(HOUR, kind, mailbox_used=full * eighth) == least << full
        assert of(HOUR, kind, mailbox_used=(full + 1) * eighth - 1) == least << full


def test_both_scarcities_multiply_and_the_field_cannot_overflow() -> None:
    assert of(HOUR, relay_used=ROOM, mailbox_used=1023) == 96 << 12
    assert of(7 * DAY, relay_used=10 * ROOM, mailbox_used=10_000) == MOST
    assert of(HOUR, relay_used=0, relay_most=0) == 96 << 10


def test_an_honest_letter_of_a_week_can_be_paid_until_its_inbox_is_half_full() -> None:
    assert of(7 * DAY, mailbox_used=ITEMS_MOST[INBOX] // 2) <= EFFORT_MOST
    assert of(3 * DAY, mailbox_used=ITEMS_MOST[INBOX] * 3 // 4 - 1) <= EFFORT_MOST


def test_an_extension_costs_what_it_adds_and_a_shorter_life_nothing() -> None:
    assert longer(-1) == longer(0) == longer(-DAY) == 0
    assert longer(1) == longer(HOUR) == 96
    assert longer(HOUR + 1) == 192
    assert longer(HOUR, PAIR) == 24
    assert longer(HOUR, mailbox_used=128) == 192


def test_many_small_extensions_are_not_cheaper_than_one_long_life() -> None:
    pieces = sum(longer(HOUR) for _ in range(23))
    assert of(HOUR) + pieces >= of(DAY)


THREATS: Final = (Path(__file__).parents[3] / "THREATS.md").read_text(encoding="utf-8")
TRY_SECONDS: Final = 0.17e-3
"""As tests/benchmarks/README.md has measured it."""


def filled(kind: int, ttl: int, items: int) -> int:
    """The tries that it takes to put so many items into one empty mailbox."""
    return sum(of(ttl, kind, mailbox_used=used) for used in range(items))


def test_what_filling_an_inbox_costs_is_what_threats_says() -> None:
    tries = filled(INBOX, HOUR, ITEMS_MOST[INBOX])
    spent = round(tries * TRY_SECONDS, -1)
    assert f"takes {spent:.0f} s of one core for each hour ({tries / 1e6:.1f} million tries of" in THREATS
    dear = next(used for used in range(ITEMS_MOST[INBOX]) if of(3 * DAY, mailbox_used=used) > EFFORT_MOST)
    spent = round(filled(INBOX, HOUR, dear) * TRY_SECONDS, -1)
    assert f"After {spent:.0f} s of work a letter of three days costs more than a node pays" in THREATS


def test_what_filling_a_relay_costs_is_what_threats_says() -> None:
    room, each = Params().mailbox_bytes, ITEM_BYTES
    places = room // each
    used = range(0, places * each, each)  # in so many mailboxes that their own room does not count
    tries = sum(of(HOUR, PAIR, relay_used=one, relay_most=room) for one in used)
    spent = round(tries * TRY_SECONDS, -1)
    assert f"Its {places // 100 * 100:,} places".replace(",", " ") in THREATS
    assert f"take {spent:.0f} s of one core for each hour ({tries / 1e6:.1f} million tries of" in THREATS


def test_what_filling_a_board_costs_is_what_threats_says() -> None:
    tries = filled(BOARD, DAY, ITEMS_MOST[BOARD])
    hours = tries * TRY_SECONDS / HOUR
    assert f"takes {hours:.1f} h of one core ({tries / 1e6:.1f} million tries of 0.17 ms)" in THREATS
