"""JSON lines in and out: each whole and in its order, whatever the system refuses meanwhile."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from onionshh.cli.lines import LINE_BYTES, SAID_MOST, TOO_LONG, LineReader, Output, as_json, as_text
from tests.cli.conftest import Pipe


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
                file.write(b"x" * (3 * LINE_BYTES) + b"\nnext\n" + b"y" * LINE_BYTES + b"\n")
            pipe.close(pipe.writing)

        nursery.start_soon(trio.to_thread.run_sync, write)
        assert await everything(LineReader(pipe.reading)) == [TOO_LONG, b"next", b"y" * LINE_BYTES]


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


@asynccontextmanager
async def writing(descriptor: int) -> AsyncIterator[Output]:
    """An output at work."""
    output = Output(descriptor)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(output.run)
        yield output
        nursery.cancel_scope.cancel()


async def until_stuck(output: Output) -> None:
    while not output.stuck:  # virtual time passes while its thread works
        await trio.sleep(1)


async def test_lines_are_written_whole_and_in_order(pipe: Pipe) -> None:
    async with writing(pipe.writing) as output:
        output.say(as_json({"event": "address", "n": 1}))
        await output.show(as_json({"n": 2, **as_text("body", b"a\nb")}))
    said = os.read(pipe.reading, 1000).splitlines()
    assert [json.loads(line) for line in said] == [{"event": "address", "n": 1}, {"n": 2, "body": "a\nb"}]


async def test_a_reader_that_left_is_waited_for(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is to be shown is not taken for shown; another reader of the same pipe gets it whole."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    out = os.open(fifo, os.O_WRONLY)
    os.close(reading)
    async with writing(out) as output, trio.open_nursery() as nursery:
        nursery.start_soon(output.show, b"line\n")
        await until_stuck(output)
        assert len(nursery.child_tasks) == 1
        reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reading, 100) == b"line\n"
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "stdout cannot be written (Broken pipe)" in said[0]
    assert "stdout can be written again" in said[1]
    os.close(reading)
    os.close(out)


async def test_a_full_disk_is_waited_for(pipe: Pipe, autojump_clock: MockClock) -> None:
    out = os.open("/dev/full", os.O_WRONLY)
    async with writing(out) as output, trio.open_nursery() as nursery:
        nursery.start_soon(output.show, b"line\n")
        await until_stuck(output)
        assert len(nursery.child_tasks) == 1
        os.dup2(pipe.writing, out)  # room again
    assert os.read(pipe.reading, 100) == b"line\n"
    os.close(out)


async def test_what_nobody_waits_for_is_bounded(
    pipe: Pipe, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    out = os.open("/dev/full", os.O_WRONLY)
    line = b"x" * 1023 + b"\n"
    most = SAID_MOST // len(line)
    async with writing(out) as output:
        for _ in range(most + 5):
            output.say(line)
        await until_stuck(output)
        os.dup2(pipe.writing, out)
        read = 0
        while read < SAID_MOST:
            read += len(await trio.to_thread.run_sync(os.read, pipe.reading, 65536))
        said = ""
        while "is read again" not in said:  # its thread may still be at work
            await trio.sleep(1)
            said += capsys.readouterr().err
    assert read == most * len(line)
    assert "stdout is read again; 5 lines lost." in said
    os.close(out)


def test_what_is_no_text_comes_as_base64() -> None:
    assert as_text("reply", "é".encode()) == {"reply": "é"}
    assert as_text("reply", b"\xff") == {"reply_base64": "/w=="}
