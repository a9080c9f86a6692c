"""JSON lines in and out, and the answers that come as such."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from typing import cast

import pytest
import trio
import trio.testing

from onionshh.cli.answers import Answers, BadAnswer, parse_answer
from onionshh.cli.lines import LINE_MOST, TOO_LONG, JsonLines, LineReader, as_text
from onionshh.client.endpoint import Whisper


class Pipe:
    """Both ends, each closed once."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        self._open = {self.reading, self.writing}

    def close(self, *ends: int) -> None:
        for one in self._open & set(ends or self._open):
            os.close(one)
            self._open.discard(one)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = Pipe()
    yield ends
    ends.close()


async def everything(reader: LineReader) -> list[object]:
    lines = []
    while (line := await reader.next()) is not None:
        lines.append(line)
    return lines


async def test_lines(pipe: Pipe) -> None:
    os.write(pipe.writing, b"one\n\ntwo\nlast")
    pipe.close(pipe.writing)
    assert await everything(LineReader(pipe.reading)) == [b"one", b"", b"two", b"last"]


async def test_a_line_too_long_is_one_error_and_the_next_is_read(pipe: Pipe) -> None:
    async with trio.open_nursery() as nursery:

        def write() -> None:
            with os.fdopen(pipe.writing, "wb", closefd=False) as file:
                file.write(b"x" * (3 * LINE_MOST) + b"\nnext\n" + b"y" * LINE_MOST + b"\n")
            pipe.close(pipe.writing)

        nursery.start_soon(trio.to_thread.run_sync, write)
        assert await everything(LineReader(pipe.reading)) == [TOO_LONG, b"next", b"y" * LINE_MOST]


async def test_an_end_is_seen_without_waiting(pipe: Pipe) -> None:
    reader = LineReader(pipe.reading)
    ends = []
    reader.look()
    ends.append(reader.ended)
    pipe.close(pipe.writing)
    reader.look()
    ends.append(reader.ended)
    assert ends == [False, True]
    assert await reader.next() is None


async def test_looking_loses_no_line(pipe: Pipe) -> None:
    reader = LineReader(pipe.reading)
    os.write(pipe.writing, b"line\n")
    reader.look()
    assert await reader.next() == b"line"


async def test_a_line_is_written_whole(pipe: Pipe) -> None:
    await JsonLines(pipe.writing).write({"event": "address", "n": 1} | as_text("body", b"a\nb"))
    assert json.loads(os.read(pipe.reading, 1000)) == {"event": "address", "n": 1, "body": "a\nb"}


async def test_a_reader_that_left_is_told(pipe: Pipe) -> None:
    pipe.close(pipe.reading)
    with pytest.raises(BrokenPipeError):
        await JsonLines(pipe.writing).write({})


def test_what_is_no_text_comes_as_base64() -> None:
    assert as_text("reply", "é".encode()) == {"reply": "é"}
    assert as_text("reply", b"\xff") == {"reply_base64": "/w=="}


@pytest.mark.parametrize(
    "value, parsed",
    [
        ({"reply_to": "ab", "body": "é"}, ("ab", "é".encode())),
        ({"reply_to": "ab", "body": ""}, ("ab", b"")),
        ({"reply_to": "ab", "body_base64": base64.b64encode(b"\xff\0").decode()}, ("ab", b"\xff\0")),
        ({"done": "ab"}, ("ab", None)),
    ],
)
def test_answers(value: object, parsed: tuple[str, bytes | None]) -> None:
    assert parse_answer(json.dumps(value).encode()) == parsed


@pytest.mark.parametrize(
    "line",
    [
        b"no json",
        b"\xff",
        b"[" * 100_000,
        b"[]",
        b"{}",
        b'"done"',
        b'{"reply_to": 1, "body": "x"}',
        b'{"reply_to": "a"}',
        b'{"reply_to": "a", "body": null}',
        b'{"reply_to": "a", "body": "x", "body_base64": "eA=="}',
        b'{"reply_to": "a", "body": "x", "more": 1}',
        b'{"reply_to": "a", "body_base64": "!"}',
        b'{"reply_to": "a", "body_base64": "\\u00e9"}',
        b'{"reply_to": "a", "body": "\\ud800"}',
        b'{"done": 1}',
        b'{"done": "a", "reply_to": "a"}',
    ],
)
def test_a_line_that_is_no_answer(line: bytes) -> None:
    with pytest.raises(BadAnswer):
        parse_answer(line)


class Shown:
    """Stands in for a whisper: what was done with it."""

    def __init__(self, name: str) -> None:
        self.id = name
        self.fate: list[object] = []

    async def reply(self, body: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.fate.append(body)

    async def done(self) -> None:
        await trio.lowlevel.checkpoint()
        self.fate.append("done")


async def test_what_is_shown_waits_for_its_line_until_stdin_ends(pipe: Pipe) -> None:
    """What no line came for stays unfinished, for the next start; what is shown later does not."""
    reading, writing = os.pipe()
    answers = Answers(LineReader(pipe.reading), JsonLines(writing))
    replied, finished, kept, late = whispers = [Shown(name) for name in ("a", "b", "c", "d")]
    for one in whispers[:3]:
        answers.hold(cast(Whisper, one))
        await answers.shown(cast(Whisper, one))
    os.write(pipe.writing, b'{"reply_to": "a", "body": "x"}\n\n{"done": "b"}\n{"done": "d"}\nnonsense\n')
    pipe.close(pipe.writing)
    await answers.run()
    assert (replied.fate, finished.fate, kept.fate) == ([b"x"], ["done"], [])
    answers.hold(cast(Whisper, late))
    await answers.shown(cast(Whisper, late))
    assert late.fate == ["done"]
    os.close(writing)
    with os.fdopen(reading) as said:
        assert [list(json.loads(line)) for line in said] == [["error"], ["error"]]


async def test_no_more_are_shown_than_can_be_held(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onionshh.cli.answers.HELD_MOST", 1)
    answers = Answers(LineReader(pipe.reading), JsonLines(pipe.writing))
    await answers.room()
    answers.hold(cast(Whisper, Shown("a")))
    os.write(pipe.writing, b'{"done": "a"}\n')
    pipe.close(pipe.writing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.room)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        nursery.start_soon(answers.run)
