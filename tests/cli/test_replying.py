"""Who answers: an echo, a program, or neither; and what of that may change while a host runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.received import ReceivedFiles
from onionshh.cli.replying import Replying, take_up


class Said:
    body = b"hello"


async def answer(replying: Replying) -> bytes | None:
    said = Said()
    return await replying.reply(said)  # type: ignore[arg-type]


def now(echo: bool = False, program: str | None = None, receive: Path | None = None) -> dict[str, object]:
    return {"echo": echo, "exec": program, "receive": receive}


async def test_an_echo_becomes_a_program_and_back() -> None:
    replying = Replying(True, None)
    assert await answer(replying) == b"hello"
    assert take_up(replying, None, now(program="tr a-z A-Z")) == set()
    assert await answer(replying) == b"HELLO"
    assert take_up(replying, None, now(program="false")) == set()
    assert await answer(replying) is None
    assert take_up(replying, None, now(echo=True)) == set()
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
            take_up(replying, received, wrong)
        assert await answer(replying) == b"HELLO"
    assert not (tmp_path / "b").exists()


def test_whether_anything_is_answered_or_received_needs_a_restart(tmp_path: Path) -> None:
    assert take_up(Replying(False, None), None, now(True, None, tmp_path)) == {"echo", "exec", "receive"}
    received = ReceivedFiles(tmp_path / "a")
    assert take_up(Replying(True, None), received, now(True)) == {"receive"}
    assert take_up(Replying(True, None), received, now(receive=tmp_path / "b")) == {"echo", "exec"}
    assert (tmp_path / "b").is_dir()


def test_one_of_both() -> None:
    with pytest.raises(Usage, match="--echo and --exec exclude each other"):
        Replying(True, "cat")
