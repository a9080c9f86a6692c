"""What a relay may use in a month: over years, restarts, crashes and clocks that jump."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from onionshh.core.base.chance import Chance
from onionshh.errors import ProtocolError
from onionshh.relay.allowance import (
    BYTES_MOST,
    DRAIN_SECONDS,
    MONTH_MOST_SECONDS,
    PERIOD_MOST_SECONDS,
    SPARE,
    TIME_MOST,
    Action,
    Allowance,
    Drain,
    Kept,
    Sleep,
    Stage,
    Wake,
    Warn,
    Write,
    boundary,
    decode_untrusted,
    month_of,
)
from onionshh.wire.packing import pack
from tests.seeded import seeded

DAY = 86_400
MOST = 1_000_000_000


def at(year: int, month: int, day: int = 1, hour: int = 0) -> int:
    return int(datetime(year, month, day, hour, tzinfo=UTC).timestamp())


START, END = at(2030, 1), at(2030, 2)


class Machine:
    """A machine with its disk and clocks. A restart takes what the disk has."""

    def __init__(self, most: int = MOST, day: int = 1, start: int = at(2030, 1, 10)) -> None:
        self.most, self.day = most, day
        self.now = start
        self.monotonic = 0.0
        self.disk: Kept | None = None
        self.chance = Chance(seeded(5))
        self.total = 0
        self.moved = 0
        """What really was sent and received, over all runs."""
        self.allowance = self._start()

    def _start(self) -> Allowance:
        return Allowance(self.most, self.day, self.disk, self.chance)

    def look(self, moved: int = 0, seconds: float = 1) -> list[Action]:
        """Time passes, bytes move (none while asleep), and the machine looks."""
        self.now += int(seconds)
        self.monotonic += seconds
        if self.allowance.stage is not Stage.ASLEEP:
            self.total += moved
            self.moved += moved
        actions = self.allowance.look(self.total, self.now, self.monotonic)
        for action in actions:
            if isinstance(action, Write):
                self.disk = decode_untrusted(action.kept.encode())
                assert self.disk == action.kept
        return [action for action in actions if not isinstance(action, Write)]

    def restart(self, *, crash: bool) -> None:
        if not crash:
            self.disk = self.allowance.close(self.total)
            assert self.disk is None or decode_untrusted(self.disk.encode()) == self.disk
        self.total, self.monotonic = 0, 0.0
        self.allowance = self._start()

    def until_asleep(self, moved: int, seconds: float = 60) -> list[Action]:
        said: list[Action] = []
        for _ in range(1_000_000):
            said += self.look(moved, seconds)
            if self.allowance.stage is Stage.ASLEEP:
                return said
        raise AssertionError("it never slept")


def test_a_month_is_from_its_day_to_that_of_the_next() -> None:
    assert month_of(at(2030, 1, 10), 1) == (at(2030, 1), at(2030, 2))
    assert month_of(at(2030, 1, 1), 1) == (at(2030, 1), at(2030, 2))
    assert month_of(at(2030, 1, 10), 15) == (at(2029, 12, 15), at(2030, 1, 15))
    assert month_of(at(2030, 12, 28), 28) == (at(2030, 12, 28), at(2031, 1, 28))
    assert month_of(at(2028, 2, 29), 28) == (at(2028, 2, 28), at(2028, 3, 28))
    assert boundary(at(2030, 1), 1) == at(2030, 1)
    assert boundary(at(2030, 1) + 1, 1) == at(2030, 2)


def test_it_warns_once_each_drains_sleeps_and_says_when_it_wakes() -> None:
    machine = Machine()
    said = machine.until_asleep(MOST // 200)
    assert [type(one) for one in said] == [Warn, Warn, Drain, Sleep]
    assert [one.percent for one in said if isinstance(one, Warn)] == [75, 90]
    (sleep,) = (one for one in said if isinstance(one, Sleep))
    assert at(2030, 2) <= sleep.wakes < at(2030, 3)
    assert machine.moved <= MOST + MOST // 200
    assert machine.allowance.statistics().hibernating
    assert machine.allowance.statistics().ends == at(2030, 2)


def test_draining_ends_after_its_time_and_before_all_is_used() -> None:
    machine = Machine()
    machine.look()
    assert machine.look(MOST - MOST // SPARE)[-1] == Drain()
    assert machine.look(1, DRAIN_SECONDS - 2) == []
    (slept,) = machine.look(1, 3)
    assert isinstance(slept, Sleep)


def test_draining_ends_as_soon_as_all_is_used() -> None:
    machine = Machine()
    machine.look()
    assert machine.look(MOST - MOST // SPARE)[-1] == Drain()
    assert machine.look(MOST // SPARE - 1) == []
    (slept,) = machine.look(1)
    assert isinstance(slept, Sleep)


def test_it_wakes_at_its_moment_and_not_before() -> None:
    machine = Machine()
    machine.until_asleep(MOST // 50)
    wakes = machine.allowance.wakes
    machine.now = at(2030, 2) - 2
    assert machine.look() == []
    machine.now = wakes - 2
    assert machine.look() == []
    assert machine.allowance.stage is Stage.ASLEEP
    assert machine.look() == [Wake()]
    assert machine.allowance.statistics().used_bytes == 0


def test_not_all_wake_at_once_and_each_has_time_to_use_all() -> None:
    moments = []
    for seed in range(40):
        machine = Machine(start=at(2030, 1))
        machine.chance.bytes = seeded(seed)
        machine.until_asleep(MOST // 1000, 864)  # ten days
        moments.append(machine.allowance.wakes - at(2030, 2))
    assert min(moments) < 2 * DAY
    assert max(moments) > 12 * DAY
    assert max(moments) <= 18 * DAY


@pytest.mark.parametrize("crash", [True, False])
def test_years_with_restarts_never_have_more_than_the_amount_in_a_month(crash: bool) -> None:
    machine = Machine(start=at(2030, 1))
    by_month: dict[int, int] = {}
    step, restarts = 1800, Chance(seeded(9))
    while machine.now < at(2033, 1) - step:
        before = machine.moved
        machine.look(restarts.below(2_500_000), step)
        start = at(*datetime.fromtimestamp(machine.now, UTC).timetuple()[:2])
        by_month[start] = by_month.get(start, 0) + machine.moved - before
        if restarts.below(20) == 0:
            machine.restart(crash=crash)
    assert len(by_month) == 36
    assert max(by_month.values()) <= MOST + 2_500_000  # what passed since the last look
    if not crash:
        assert min(list(by_month.values())[:-1]) > MOST * 0.95  # and it has time for all of it


def test_a_crash_costs_at_most_a_minute_and_never_the_other_way() -> None:
    machine = Machine(MOST * 1000)
    machine.look()
    for rate in (0, 10_000, 5_000_000, 100_000):
        for _ in range(150):
            machine.look(rate)
            assert machine.disk is not None
            assert machine.disk.used >= machine.moved
    counted, rate = machine.disk.used if machine.disk else 0, 100_000
    machine.restart(crash=True)
    machine.look()
    assert machine.moved <= machine.allowance.statistics().used_bytes == counted
    assert counted - machine.moved <= max(2 << 20, 2 * 60 * rate)


def test_a_clean_restart_costs_nothing() -> None:
    machine = Machine()
    machine.look(123_456)
    machine.restart(crash=False)
    machine.look(44)
    assert machine.allowance.statistics().used_bytes == 123_500


def test_an_idle_relay_writes_nothing() -> None:
    machine = Machine()
    machine.look(5)
    machine.look(MOST // 2)  # makes the reserve large, which must not stay
    for _ in range(200):
        machine.look()
    first = machine.disk
    assert first is not None
    assert first.used - machine.moved <= MOST // 1000
    for _ in range(200):
        machine.look()
    assert machine.disk is first


def test_it_sleeps_on_over_a_restart() -> None:
    machine = Machine()
    machine.until_asleep(MOST // 50)
    wakes = machine.allowance.wakes
    for crash in (True, False):
        machine.restart(crash=crash)
        assert machine.allowance.stage is Stage.ASLEEP
        assert machine.look() == []
        assert machine.allowance.wakes == wakes
    machine.now = at(2030, 2, 1, 1)
    machine.look()  # the new month, but not yet its moment
    machine.restart(crash=True)
    assert machine.look() == []
    assert machine.allowance.stage is Stage.ASLEEP
    machine.now = at(2031, 5)
    machine.restart(crash=True)
    assert machine.look() == [Wake()]


def test_clocks_that_jump_ahead_and_back_give_nothing_twice() -> None:
    machine = Machine()
    machine.look(MOST // 2)
    here = machine.now
    for months_ahead in (at(2030, 2, 3), at(2031, 7, 7)):
        machine.now = months_ahead
        machine.look(MOST // 5)
        machine.now = here
        machine.look()
    assert machine.allowance.statistics().used_bytes == MOST // 2 + 2 * (MOST // 5)
    assert machine.allowance.statistics().ends == at(2030, 2)
    machine.now = at(2030, 6)  # and over a restart
    machine.look(MOST // 5)
    machine.restart(crash=False)
    machine.now = here
    assert machine.look()[-1] == Drain()


def test_a_clock_that_came_back_wakes_the_relay_within_the_next_month() -> None:
    machine = Machine(start=at(2040, 1, 10))
    machine.until_asleep(MOST // 50)
    machine.now = at(2030, 1, 10)
    machine.look()
    assert machine.allowance.stage is Stage.ASLEEP
    assert machine.allowance.wakes < at(2030, 3)
    machine.now = at(2030, 3)
    assert machine.look() == [Wake()]


def test_a_small_step_back_at_the_end_of_a_month_changes_nothing() -> None:
    machine = Machine(start=at(2030, 1, 31, 23))
    machine.look(MOST // 2)
    machine.now = at(2030, 2) + 5
    machine.look()
    machine.now = at(2030, 2) - 300
    machine.look()
    assert machine.allowance.statistics().used_bytes == 0
    assert machine.allowance.statistics().ends == at(2030, 3)


def test_another_day_makes_this_month_longer_and_never_shorter() -> None:
    machine = Machine()
    machine.until_asleep(MOST // 50)
    for day, ends in ((15, at(2030, 2, 15)), (1, at(2030, 3))):
        machine.day = day
        machine.restart(crash=False)
        machine.look()
        assert machine.allowance.statistics().ends == ends


def test_a_raised_amount_wakes_it_and_a_lowered_one_sends_it_to_sleep() -> None:
    machine = Machine()
    machine.until_asleep(MOST // 50)
    machine.most = 2 * MOST
    machine.restart(crash=False)
    assert machine.look()[0] == Wake()
    machine.most = MOST // 2
    machine.restart(crash=False)
    assert Drain() in machine.look()


def test_a_month_that_begins_while_it_drains_wakes_it() -> None:
    machine = Machine(start=at(2030, 2) - 10)
    machine.look()
    assert machine.look(MOST - MOST // SPARE)[-1] == Drain()
    machine.now = at(2030, 2)
    assert machine.look() == [Wake()]


def test_without_a_time_nothing_is_decided() -> None:
    allowance = Allowance(MOST, 1, None, Chance(seeded(1)))
    assert allowance.look(MOST, 0, 1.0) == ()
    assert allowance.close(MOST) is None
    assert allowance.wakes == 0
    assert allowance.statistics().ends == 0


def test_however_often_the_day_changes_the_period_ends_within_a_year() -> None:
    machine = Machine(start=at(2030, 1))
    for number in range(60):
        machine.day = 15 if number % 2 else 1
        machine.restart(crash=False)
        machine.look(1)
    assert at(2030, 11) < machine.allowance.statistics().ends <= at(2030, 1) + PERIOD_MOST_SECONDS


def test_what_is_written_is_read_and_nothing_else_is() -> None:
    kept = Kept(10, 20, 5, 11, 30, 7, 75)
    assert decode_untrusted(kept.encode()) == kept
    data = kept.encode()
    for bad in (
        *(data[:n] for n in range(len(data))),
        data + b"\0",
        replace(kept, end=10).encode(),
        replace(kept, began=9).encode(),
        pack((2, 10, 20, 5, 11, 30, 7, 75)),
    ):
        with pytest.raises(ProtocolError):
            decode_untrusted(bad)


@pytest.mark.parametrize(
    "bad",
    [
        Kept(START, START + PERIOD_MOST_SECONDS + 1, 0, START),
        Kept(TIME_MOST, TIME_MOST + 1, 0, TIME_MOST),
        Kept(2**62, 2**62 + 1, 0, 2**62),
        Kept(START, END, 0, END + 1),
        Kept(START, END, 0, START, wakes=START - 1),
        Kept(START, END, 0, START, wakes=END + MONTH_MOST_SECONDS + 1),
        Kept(START, END, 0, START, wakes=TIME_MOST),
        Kept(START, END, BYTES_MOST + 1, START),
        Kept(START, END, 0, START, before=BYTES_MOST + 1),
        Kept(START, END, 0, START, warned=101),
    ],
)
def test_dates_and_amounts_that_cannot_be_are_refused(bad: Kept) -> None:
    with pytest.raises(ProtocolError):
        decode_untrusted(bad.encode())


@pytest.mark.parametrize("start", [0, START, at(2031, 1), at(4000, 1), TIME_MOST - 1])
@pytest.mark.parametrize("used", [0, MOST, BYTES_MOST])
def test_whatever_is_read_it_works_on_and_wakes_within_a_year_or_so(start: int, used: int) -> None:
    """Also what nobody wrote like this, up to every bound."""
    for end in (start + 1, min(start + PERIOD_MOST_SECONDS, TIME_MOST)):
        for wakes in (0, start, min(end + MONTH_MOST_SECONDS, TIME_MOST)):
            kept = decode_untrusted(Kept(start, end, used, start, wakes, BYTES_MOST, 100).encode())
            for day in (1, 28):
                machine = Machine(day=day, start=at(2030, 6, 10))
                machine.disk = kept
                machine.restart(crash=True)
                machine.look(1)
                machine.restart(crash=False)
                machine.look(1)
                latest = machine.now + PERIOD_MOST_SECONDS + MONTH_MOST_SECONDS
                assert machine.allowance.wakes <= latest
                assert machine.allowance.statistics().ends <= latest
