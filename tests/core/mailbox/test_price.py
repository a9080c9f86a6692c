"""What a place in a mailbox costs (SPEC 14, 15)."""

from __future__ import annotations

from typing import Final

import pytest

from onionshh.core.base.work import MOST
from onionshh.core.mailbox.price import EFFORT_MOST, ITEMS_MOST, extension_price, price
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
