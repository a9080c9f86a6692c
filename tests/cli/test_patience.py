"""What starts together with us may be late: it is waited for, and said once."""

from __future__ import annotations

import time
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.patience import ASK_AGAIN_MOST_SECONDS, network_file_when_there, until_directory_answers
from onionshh.errors import BadNetworkFile, ClockWrong, Error, NoDirectory
from onionshh.net.consensus_keeper import NotThisNetwork
from tests.cli.conftest import network_file


@pytest.mark.parametrize("at_first", [None, "", "version = 1\nname = "])
def test_a_network_file_that_comes_a_moment_later_is_waited_for(
    at_first: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing there yet, or something that is still being written."""
    file = tmp_path / "net.toml"
    if at_first is not None:
        file.write_text(at_first)
    monkeypatch.setattr(time, "sleep", lambda seconds: network_file(file, 7000))
    assert network_file_when_there(file).name == "test"
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Waiting 5 s for it" in said
    network_file_when_there(file)
    assert capsys.readouterr().err == ""


def test_a_network_file_that_does_not_come_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "sleep", lambda seconds: now.append(now.pop() + seconds))
    with pytest.raises(BadNetworkFile):
        network_file_when_there(tmp_path / "none")
    assert 5 <= now[0] < 6
    assert capsys.readouterr().err.count("\n") == 1


async def test_a_directory_is_asked_until_it_answers_ever_less_often(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each thing that is waited for is said once."""
    asked: list[float] = []

    async def attempt() -> str:
        asked.append(trio.current_time())
        if len(asked) < 20:
            raise NoDirectory("No directory answers.")
        if len(asked) < 25:
            raise ClockWrong("The clocks differ.", 3600)
        return "joined"

    assert await until_directory_answers(attempt) == "joined"
    pauses = [after - before for before, after in pairwise(asked)]
    assert pauses[0] < 1
    assert all(before <= after for before, after in pairwise(pauses))
    assert round(pauses[-1], 3) == ASK_AGAIN_MOST_SECONDS
    assert capsys.readouterr().err.splitlines() == [
        "onionshh: No directory answers. Trying again until it answers.",
        "onionshh: The clocks differ. Trying again until the times agree.",
    ]


@pytest.mark.parametrize("error", [NotThisNetwork("another network's file"), Error("else"), OSError(1, "x")])
async def test_what_waiting_does_not_mend_is_raised_at_once(
    error: Exception, autojump_clock: MockClock
) -> None:
    started = trio.current_time()

    async def attempt() -> None:
        raise error

    with pytest.raises(type(error)):
        await until_directory_answers(attempt)
    assert trio.current_time() == started
