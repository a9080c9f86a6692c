"""Whose clock is the odd one, of ours, a directory's and the list's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.trust import EARLY_SECONDS, ConsensusExpired, ConsensusNotYet
from onionshh.errors import ClockWrong
from onionshh.net.clock_witnesses import ClockWitness, ListOutOfTime, out_of_time
from onionshh.reasons import Reason
from tests.core.networks import consensus, plain

WALL = 1_790_000_000
VALID = 3600


def witness(number: int, list_: int, date: int | None) -> ClockWitness:
    """A directory whose list and whose clock are so many seconds from ours."""
    found = ConsensusNotYet if list_ > 0 else ConsensusExpired
    dated = replace(consensus(plain(3)), valid_after=WALL + list_, valid_until=WALL + list_ + VALID)
    error = found(Reason.CONSENSUS_NOT_YET, dated, -list_)
    return ClockWitness(f"http://{number}.invalid", error, None if date is None else WALL + date)


@pytest.mark.parametrize("date", [-EARLY_SECONDS, -1, 0, EARLY_SECONDS])
@pytest.mark.parametrize("list_, said", [(7200, "about 2 hours ahead"), (-9000, "has expired")])
def test_a_directory_whose_clock_is_ours_has_a_list_of_another_time(list_: int, said: str, date: int) -> None:
    error = out_of_time([witness(0, list_, date)], WALL)
    assert isinstance(error, ListOutOfTime)
    assert said in str(error)


@pytest.mark.parametrize("date", [-EARLY_SECONDS - 1, EARLY_SECONDS + 1, 7200, None])
@pytest.mark.parametrize("list_", [7200, -9000])
def test_a_directory_that_differs_or_says_nothing_leaves_it_open(list_: int, date: int | None) -> None:
    error = out_of_time([witness(0, list_, date)], WALL)
    assert isinstance(error, ClockWrong)
    assert error.offset_seconds == -list_  # what was signed, not what anybody can say
    assert "whichever is wrong" in str(error)


def test_two_that_agree_against_us_are_believed_and_two_that_do_not_are_not() -> None:
    agree = out_of_time([witness(0, 7200, 7200), witness(1, 7200, 7100)], WALL)
    assert "behind those of 2 directories" in str(agree)
    differ = out_of_time([witness(0, 7200, 7200), witness(1, -9000, -9000)], WALL)
    assert "whichever is wrong" in str(differ)


@pytest.mark.parametrize("with_us, against, ours", [(1, 1, True), (2, 1, True), (1, 2, False)])
def test_half_of_them_with_us_are_enough(with_us: int, against: int, ours: bool) -> None:
    witnesses = [witness(n, 7200, 0) for n in range(with_us)]
    witnesses += [witness(n + 9, 7200, 7200) for n in range(against)]
    assert isinstance(out_of_time(witnesses, WALL), ListOutOfTime) == ours
