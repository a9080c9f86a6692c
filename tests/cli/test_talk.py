"""Lines for people: written at once or lost, never waited for, and never an end of anything."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from onionshh.cli import talk
from onionshh.cli.talk import Mouth, tell

LINE = "x" * 99


class Piped:
    """A pipe as stdout, put in its place by the test: pytest puts its own there before each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.reading, writing = os.pipe()
        self.stdout = os.fdopen(writing, "w", encoding="utf-8")

    def put(self) -> Mouth:
        self._monkeypatch.setattr(sys, "stdout", self.stdout)
        return Mouth("stdout")

    def read(self) -> list[str]:
        return os.read(self.reading, 1 << 20).decode().splitlines()


@pytest.fixture
def piped(monkeypatch: pytest.MonkeyPatch) -> Iterator[Piped]:
    pipe = Piped(monkeypatch)
    yield pipe
    monkeypatch.undo()
    pipe.stdout.close()
    os.close(pipe.reading)


def test_a_reader_that_does_not_read_holds_up_nobody(piped: Piped) -> None:
    mouth = piped.put()
    said = [mouth.say(LINE) for _ in range(2000)]
    troubles = [one for one in said if one]
    assert troubles == ["its reader does not read"]
    lines = piped.read()
    lost = 2000 - len(lines)
    assert lost > 0
    assert set(lines) == {LINE}
    assert mouth.say("there again") == ""
    assert piped.read() == [f"onionshh: {lost} lines could not be written here.", "there again"]


def test_half_a_line_is_not_continued_by_another(piped: Piped) -> None:
    mouth = piped.put()
    long = "y" * (1 << 18)
    assert mouth.say(long) == "its reader does not read"
    first = os.read(piped.reading, 1 << 20)
    assert 0 < len(first) < len(long)
    mouth.say("whole")
    assert piped.read() == ["", "onionshh: 1 line could not be written here.", "whole"]


def test_what_stdout_cannot_take_is_said_once_on_stderr(
    piped: Piped, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """And Python keeps nothing of it to try again when the process ends."""
    monkeypatch.setattr(talk, "stdout", piped.put())
    writing = piped.stdout.fileno()
    kept = os.dup(writing)
    with open("/dev/full", "w") as full:
        os.dup2(full.fileno(), writing)
    for _ in range(3):
        tell(LINE)
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "stdout cannot be written (No space left on device)" in err
    os.dup2(kept, writing)  # room again
    os.close(kept)
    tell(LINE)
    assert piped.read()[0] == "onionshh: 3 lines could not be written here."
    piped.stdout.flush()
    assert capsys.readouterr().err == ""


def test_a_stream_that_is_not_there_or_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert Mouth("stdout").say(LINE) == ""
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(sys, "stdout", closed)
    assert Mouth("stdout").say(LINE) != ""


def test_what_the_locale_cannot_write_is_escaped(piped: Piped, monkeypatch: pytest.MonkeyPatch) -> None:
    with os.fdopen(os.dup(piped.stdout.fileno()), "w", encoding="ascii") as ascii_only:
        monkeypatch.setattr(sys, "stdout", ascii_only)
        assert Mouth("stdout").say("é\udc80") == ""
    assert piped.read() == ["\\xe9\\udc80"]
