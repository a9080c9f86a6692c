"""Replies that a program writes as lines, and what is kept until its line comes."""

from __future__ import annotations

import base64
import json
import os
from typing import cast

import pytest
import trio
import trio.testing

from onionshh.cli.answers import Answers, BadAnswer, parse_answer, parse_body
from onionshh.cli.handling import Patience, Tally
from onionshh.cli.lines import LINE_BYTES, LineReader, Output
from onionshh.client.whisper import Whisper
from tests.cli.conftest import Pipe


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


@pytest.mark.parametrize(
    "value, body",
    [
        ({"body": "é\n"}, "é\n".encode()),
        ({"body": ""}, b""),
        ({"body_base64": base64.b64encode(b"\xff\0").decode()}, b"\xff\0"),
        ({"body_base64": ""}, b""),
    ],
)
def test_what_is_to_be_said(value: object, body: bytes) -> None:
    assert parse_body(json.dumps(value).encode()) == body


@pytest.mark.parametrize(
    "line, said",
    [
        (b"no json", "This line is not valid JSON."),
        (b"", "This line is not valid JSON."),
        (b"\xff", "This line is not valid JSON."),
        (b"[" * 100_000, "This line is not valid JSON."),
        (b"[]", 'A line is {"body": text}, or {"body_base64": …}.'),
        (b'"body"', 'A line is {"body": text}, or {"body_base64": …}.'),
        (b"{}", 'A line is {"body": text}, or {"body_base64": …}.'),
        (b'{"body": null}', 'A line is {"body": text}, or {"body_base64": …}.'),
        (b'{"body": "x", "body_base64": "eA=="}', 'A line is {"body": text}, or {"body_base64": …}.'),
        (b'{"body": "x", "reply_to": "a"}', 'A line is {"body": text}, or {"body_base64": …}.'),
        (b'{"body_base64": 1}', 'A line is {"body": text}, or {"body_base64": …}.'),
        (b'{"body_base64": "!"}', "body_base64 is not valid base64."),
        (b'{"body_base64": "\\u00e9"}', "body_base64 is not valid base64."),
        (b'{"body": "\\ud800"}', "The body is not valid UTF-8; send it as body_base64."),
    ],
)
def test_a_line_that_says_nothing(line: bytes, said: str) -> None:
    with pytest.raises(BadAnswer) as raised:
        parse_body(line)
    assert str(raised.value) == said


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
    output, tally = Output(writing), Tally()
    answers = Answers(LineReader(pipe.reading), output, Patience(), tally)
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
    assert tally.finished == 3
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.run)
        await output.show(b"{}\n")
        nursery.cancel_scope.cancel()
    os.close(writing)
    with os.fdopen(reading) as said:
        assert [list(json.loads(line)) for line in said] == [["error"], ["error"], []]


async def test_no_more_are_shown_than_can_be_held(pipe: Pipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onionshh.cli.answers.HELD_MOST", 1)
    answers = Answers(LineReader(pipe.reading), Output(pipe.writing), Patience(), Tally())
    await answers.room()
    answers.hold(cast(Whisper, Shown("a")))
    os.write(pipe.writing, b'{"done": "a"}\n')
    pipe.close(pipe.writing)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(answers.room)
        await trio.testing.wait_all_tasks_blocked()
        assert len(nursery.child_tasks) == 1
        nursery.start_soon(answers.run)


async def test_a_line_too_long_is_said_and_the_next_one_counts(pipe: Pipe) -> None:
    reading, writing = os.pipe()
    output = Output(writing)
    answers = Answers(LineReader(pipe.reading), output, Patience(), Tally())
    whisper = Shown("a")
    answers.hold(cast(Whisper, whisper))
    async with trio.open_nursery() as nursery:

        def write() -> None:
            with os.fdopen(pipe.writing, "wb", closefd=False) as file:
                file.write(b"x" * (LINE_BYTES + 1) + b'\n{"done": "a"}\n')
            pipe.close(pipe.writing)

        nursery.start_soon(trio.to_thread.run_sync, write)
        await answers.run()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.run)
        await output.show(b"{}\n")
        nursery.cancel_scope.cancel()
    os.close(writing)
    with os.fdopen(reading) as said:
        assert [json.loads(line) for line in said] == [
            {"error": f"A line is at most {LINE_BYTES} bytes."},
            {},
        ]
    assert whisper.fate == ["done"]
