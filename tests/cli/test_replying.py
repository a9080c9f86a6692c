"""Who answers: an echo, a program, or neither; and what of that may change while a host runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.handling import NotHandled
from onionshh.cli.received import ReceivedFiles
from onionshh.cli.replying import Replying, check_receive, take_up


class Said:
    body = b"hello"


async def answer(replying: Replying) -> bytes | None:
    said = Said()
    return await replying.reply(said)  # type: ignore[arg-type]


def now(echo: bool = False, program: str | None = None, receive: Path | None = None) -> dict[str, object]:
    return {"echo": echo, "exec": program, "receive": receive}


def taken_up(replying: Replying, received: ReceivedFiles, now: dict[str, object]) -> None:
    take_up(replying, received, now, receipts=True)


async def test_an_echo_becomes_a_program_nothing_and_an_echo_again() -> None:
    replying, received = Replying(True, None), ReceivedFiles(None)
    assert await answer(replying) == b"hello"
    taken_up(replying, received, now(program="tr a-z A-Z"))
    assert await answer(replying) == b"HELLO"
    taken_up(replying, received, now(program="false"))
    assert await answer(replying) is None
    taken_up(replying, received, now())
    assert not replying.wanted
    with pytest.raises(NotHandled, match="not answered any more"):  # in no case an echo
        await answer(replying)
    taken_up(replying, received, now(echo=True))
    assert await answer(replying) == b"hello"


async def test_what_cannot_be_changes_nothing(tmp_path: Path) -> None:
    replying, received = Replying(False, "tr a-z A-Z"), ReceivedFiles(tmp_path / "a")
    (tmp_path / "file").touch()
    for wrong in (
        now(True, "cat", tmp_path / "b"),
        now(False, "no-such-program", tmp_path / "b"),
        now(True, None, tmp_path / "file"),
    ):
        with pytest.raises(Usage):
            taken_up(replying, received, wrong)
        assert await answer(replying) == b"HELLO"
    with pytest.raises(Usage, match="--no-receipts and --receive exclude each other"):
        take_up(replying, received, now(True, None, tmp_path / "b"), receipts=False)
    assert await answer(replying) == b"HELLO"
    assert not (tmp_path / "b").exists()
    take_up(replying, received, now(True), receipts=False)
    check_receive(None, receipts=False)


def test_one_of_both() -> None:
    with pytest.raises(Usage, match="--echo and --exec exclude each other"):
        Replying(True, "cat")
