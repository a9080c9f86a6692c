"""An item's life: one of seven, not shorter than the whisper's, and while its mailbox can be found."""

from __future__ import annotations

import pytest

from onionshh.core.mailbox.dates import LIVES_SECONDS, item_expiry, last_expiry, rounded_life

DAY = 86_400
WALL = 20_000 * DAY + 1000
PERIOD = 20_000


@pytest.mark.parametrize(
    ("seconds", "life"),
    [
        (1, 600),
        (600, 600),
        (601, 1800),
        (3 * 3600 - 31, 3 * 3600),
        (86_401, 3 * DAY),
        (3 * DAY, 3 * DAY),
        (7 * DAY, 7 * DAY),
        (8 * DAY, 7 * DAY),
    ],
)
def test_a_life_is_rounded_up_to_one_of_seven(seconds: int, life: int) -> None:
    assert rounded_life(seconds) == life
    assert life in LIVES_SECONDS


def test_an_item_expires_with_its_rounded_life() -> None:
    assert item_expiry(WALL + 2 * DAY, WALL, PERIOD, DAY) == WALL + 3 * DAY
    assert item_expiry(WALL + 7 * DAY, WALL, PERIOD, DAY) == WALL + 7 * DAY


def test_with_short_periods_no_item_outlives_the_random_value_of_its_mailbox() -> None:
    """A consensus has those of fourteen periods that are over, at most."""
    hour, period = 3600, WALL // 3600
    assert item_expiry(WALL + 3 * DAY, WALL, period, hour) == (period + 15) * hour
    assert item_expiry(WALL + 2 * hour, WALL, period, hour) == WALL + 3 * hour


@pytest.mark.parametrize(
    ("period_seconds", "periods"), [(DAY, 8), (7 * DAY, 2), (DAY - 1, 9), (12 * 3600, 15), (3600, 15)]
)
def test_an_item_ends_while_the_random_value_of_its_period_is_known(
    period_seconds: int, periods: int
) -> None:
    last = last_expiry(PERIOD, period_seconds)
    assert last == (PERIOD + periods) * period_seconds
    for wall in (PERIOD * period_seconds, (PERIOD + 1) * period_seconds - 1):
        assert item_expiry(wall + 7 * DAY, wall, PERIOD, period_seconds) == min(wall + 7 * DAY, last)
