"""When the other side is told of our ways back, and what it is known to know."""

from __future__ import annotations

from math import inf

from onionshh.core.delivery.actions import LaneId
from onionshh.core.session.telling import (
    ALONE_SECONDS,
    SAID_MOST,
    SETTLE_SECONDS,
    SOON,
    USUAL,
    Haste,
    Telling,
)
from onionshh.core.session.way_back import WayBack
from onionshh.ids import AuthKey, RelayId, WhisperId

LANE, OTHER = LaneId(1), LaneId(2)
NOW = 1000.0


def way(number: int) -> WayBack:
    return WayBack(RelayId(bytes([number]) * 32), AuthKey(bytes([number]) * 32), 2_000_000_000)


def name(number: int) -> WhisperId:
    return WhisperId(bytes([number]) * 16)


def told() -> Telling:
    """It stood for a while, and was told over a lane under the name 1."""
    telling = Telling((), NOW)
    telling.stand([way(1)], NOW)
    telling.said(name(1), LANE, NOW + SETTLE_SECONDS)
    return telling


def test_a_new_session_with_no_way_has_nothing_to_tell() -> None:
    telling = Telling((), NOW)
    assert telling.done
    assert telling.next_deadline(NOW) == inf
    assert not telling.may_say(LANE, NOW + 100)
    assert not telling.may_say_alone(NOW + 100)


def test_what_seems_not_to_be_known_is_told_once_more() -> None:
    telling = told()
    telling.received(name(1), NOW + 10)
    assert len(telling.known) == 1
    telling.doubt(NOW + 20)
    assert telling.may_say(LANE, NOW + 20)
    telling.said(name(2), LANE, NOW + 20)
    telling.doubt(NOW + 21)
    assert not telling.may_say(LANE, NOW + 21), "it is being told"
    telling.received(name(1), NOW + 22)
    assert not telling.done, "that was said before the doubt"
    telling.received(name(2), NOW + 23)
    assert telling.done


def test_who_has_no_way_back_is_not_asked_for_it() -> None:
    telling = Telling((), NOW)
    telling.doubt(NOW)
    assert telling.done


def test_what_may_be_known_from_an_earlier_run_is_told_anew_even_if_it_is_nothing() -> None:
    telling = Telling(None, NOW)
    assert not telling.done
    assert telling.known == ()
    assert telling.may_say(LANE, NOW + SETTLE_SECONDS)


def test_it_is_told_once_the_ways_have_settled_and_once_for_each_lane() -> None:
    telling = Telling((), NOW)
    telling.stand([way(1)], NOW)
    assert telling.next_deadline(NOW) == NOW + SETTLE_SECONDS
    assert not telling.may_say(LANE, NOW + SETTLE_SECONDS - 0.1)
    assert telling.may_say(LANE, NOW + SETTLE_SECONDS)
    telling.said(name(1), LANE, NOW + SETTLE_SECONDS)
    assert not telling.may_say(LANE, NOW + 20)
    assert telling.may_say(OTHER, NOW + 20)


def test_a_circuit_that_ends_and_stands_again_changes_nothing() -> None:
    telling = told()
    telling.received(name(1), NOW + 10)
    telling.stand([], NOW + 20)
    telling.stand([way(1)], NOW + 21)
    assert telling.done


def test_the_answer_to_an_earlier_record_says_nothing_about_a_later_one() -> None:
    telling = told()
    telling.stand([way(2)], NOW + 20)
    telling.said(name(2), LANE, NOW + 30)
    telling.received(name(1), NOW + 31)
    assert telling.known == (way(1),)
    assert not telling.done
    telling.received(name(2), NOW + 32)
    assert telling.known == telling.ours == (way(2),)
    assert telling.done


def test_an_answer_to_nothing_is_ignored() -> None:
    telling = told()
    telling.received(name(9), NOW)
    assert telling.known == ()


def test_one_cell_says_it_at_growing_intervals_until_it_is_known() -> None:
    telling = Telling((), NOW)
    telling.stand([way(1)], NOW)
    now = NOW
    for number, pause in enumerate((*ALONE_SECONDS, ALONE_SECONDS[-1]), start=1):
        now += pause
        assert not telling.may_say_alone(now - 0.1)
        assert telling.next_deadline(now - 1) <= now
        assert telling.may_say_alone(now)
        telling.said(name(number), None, now)
    telling.received(name(7), now)
    assert telling.done
    telling.stand([way(2)], now)
    assert telling.may_say_alone(now + ALONE_SECONDS[0])


def test_few_records_are_remembered() -> None:
    telling = told()
    for number in range(2, SAID_MOST + 2):
        telling.said(name(number), None, NOW)
    telling.received(name(1), NOW)
    assert not telling.done
    telling.received(name(2), NOW)
    assert telling.done


def test_where_neither_side_can_reach_the_other_it_is_told_at_once() -> None:
    telling = Telling((), NOW, SOON)
    telling.stand([way(1)], NOW)
    assert telling.next_deadline(NOW) == NOW + 1
    for may_say in (lambda now: telling.may_say(LANE, now), telling.may_say_alone):
        assert not may_say(NOW + 0.9)
        assert may_say(NOW + 1)
    telling.said(name(1), None, NOW + 1)
    # From then on, as usual.
    now = NOW + 1
    for number, pause in enumerate((*ALONE_SECONDS, ALONE_SECONDS[-1]), start=2):
        now += pause
        assert not telling.may_say_alone(now - 0.1)
        assert telling.next_deadline(now - 1) == now
        telling.said(name(number), None, now)
    # What changes is told at once again.
    telling.stand([way(2)], now)
    assert telling.may_say_alone(now + 1)


def test_a_way_that_changes_all_the_time_is_told_once_it_has_settled_also_in_haste() -> None:
    telling = Telling((), NOW, SOON)
    for number in range(1, 20):
        telling.stand([way(number)], NOW + 0.5 * number)
        assert not telling.may_say_alone(NOW + 0.5 * number + 0.4)
    assert telling.may_say_alone(NOW + 10.5)


def test_haste_is_what_it_says() -> None:
    assert Haste() == USUAL == Haste(SETTLE_SECONDS, ALONE_SECONDS)
    slow = Telling(None, NOW, Haste(30.0, (7.0, 8.0)))
    assert not slow.may_say_alone(NOW + 29.9)
    assert slow.may_say_alone(NOW + 30)
    slow.said(name(1), None, NOW + 30)
    assert slow.next_deadline(NOW + 31) == NOW + 38
    slow.said(name(2), None, NOW + 38)
    assert slow.next_deadline(NOW + 39) == NOW + 46
