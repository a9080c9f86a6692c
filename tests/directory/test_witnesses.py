"""What relays say of the directory's clock: a sentence when most of several agree, else nothing."""

from __future__ import annotations

import pytest

from onionshh.directory import witnesses as module
from onionshh.directory.witnesses import REMEMBERED_SECONDS, Witnesses
from tests.directory.world import WALL


def heard(offsets: list[int], *, by_address: bool = True, at: float = 0.0) -> Witnesses:
    """Relays of so many seconds ahead of WALL, each from its own address."""
    witnesses = Witnesses(by_address=by_address)
    for number, offset in enumerate(offsets):
        witnesses.heard(bytes([number]) * 32, f"192.0.2.{number}", WALL + offset, at)
    return witnesses


@pytest.mark.parametrize(
    "offsets, said",
    [
        ([], ""),
        ([7200, 7200], ""),  # two are not several
        ([7200, 7200, 7200], "about 2 hours behind that of 3 of the 3 relays"),
        ([-7200, -7300, -7100, 0], "about 2 hours ahead of that of 3 of the 4 relays"),
        ([7200, 7200, 0, 0], ""),  # not most of them
        ([7200, -7200, 90_000, 500_000], ""),  # they do not agree
        ([600, 600, 600], ""),
        ([601, 601, 601], "about 10 minutes behind"),
        ([2**62, 2**62, 2**62], "days behind"),
    ],
)
def test_most_of_several_must_agree(offsets: list[int], said: str) -> None:
    doubt = heard(offsets).doubt(WALL, 0.0)
    assert said in doubt
    assert bool(doubt) == bool(said)


def test_time_passes_for_relays_too_and_words_are_forgotten() -> None:
    witnesses = heard([0, 0, 0])
    assert witnesses.doubt(WALL + 3600, 3600.0) == ""
    assert "1 hour" not in witnesses.doubt(WALL, 3600.0)
    assert "60 minutes behind" in witnesses.doubt(WALL, 3600.0)
    assert witnesses.doubt(WALL, REMEMBERED_SECONDS + 1.0) == ""


def test_an_address_has_one_voice_unless_all_have_one_address() -> None:
    for by_address in (True, False):
        witnesses = Witnesses(by_address=by_address)
        for number in range(9):
            witnesses.heard(bytes([number]) * 32, f"2001:db8::{number}", WALL + 7200, 0.0)
        assert bool(witnesses.doubt(WALL, 0.0)) is not by_address


def test_the_last_word_counts_and_no_more_than_so_many(monkeypatch: pytest.MonkeyPatch) -> None:
    witnesses = heard([7200, 7200, 7200])
    for number in range(3):
        witnesses.heard(bytes([number]) * 32, f"192.0.2.{number}", WALL, 0.0)
    assert witnesses.doubt(WALL, 0.0) == ""
    monkeypatch.setattr(module, "MOST", 5)
    assert len(heard([0] * 9)) == 5
