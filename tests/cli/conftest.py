"""What several tests of the command line need: pipes, a voice that speaks into one, a network file, and
commands that run over a network of the test."""

from __future__ import annotations

import importlib
import json
import os
import pty
import select
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from onionshh import testing
from onionshh.cli import main
from onionshh.cli.app import run_command
from onionshh.cli.failures import worst
from onionshh.cli.lines import Output
from onionshh.cli.voice import Voice
from onionshh.config import Authority, NetworkFile, format_network_file

Mistake = Callable[..., str]


@pytest.fixture
def mistake(capsys: pytest.CaptureFixture[str]) -> Mistake:
    """Run a command that must fail with this status, and return its one sentence."""

    def run(status: int, *arguments: object) -> str:
        assert main([str(one) for one in arguments]) == status
        out, err = capsys.readouterr()
        assert err.startswith("onionshh: ")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        sentence = err.removeprefix("onionshh: ").strip()
        if "--json" in arguments:
            assert json.loads(out) == {"error": sentence}
        else:
            assert out == ""
        return sentence

    return run


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


class Heard:
    """A pipe, and what a voice writes into it."""

    def __init__(self) -> None:
        self._reading, self.writing = os.pipe()
        os.set_blocking(self._reading, False)

    async def lines(self, count: int) -> list[str]:
        """So many; a thread writes them, in time that is not virtual."""
        data = b""
        while data.count(b"\n") < count:
            try:
                data += os.read(self._reading, 1 << 20)
            except BlockingIOError:
                await trio.sleep(0)
        return data.decode().splitlines()

    def close(self) -> None:
        os.close(self._reading)
        os.close(self.writing)


@pytest.fixture
def heard() -> Iterator[Heard]:
    pipe = Heard()
    yield pipe
    pipe.close()


@asynccontextmanager
async def speaking(voice: Voice) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(voice.run)
        yield
        nursery.cancel_scope.cancel()


@contextmanager
def terminal() -> Iterator[int]:
    """A terminal in place of stderr."""
    ours, theirs = pty.openpty()
    os.set_blocking(ours, False)
    with os.fdopen(theirs, "w") as stream, redirect_stderr(stream):
        yield ours
    os.close(ours)


def seen(screen: int, size: int) -> bytes:
    """So many bytes of what a terminal was given, which it may pass on in pieces."""
    data = b""
    while len(data) < size and select.select([screen], [], [], 10)[0]:
        data += os.read(screen, size - len(data))
    return data


def network_file(path: Path, port: int) -> Path:
    network = NetworkFile("test", 1, (Authority(f"http://127.0.0.1:{port}", bytes([7] * 32)),))
    path.write_text(format_network_file(network))
    return path


class Screen:
    """Stands in for stdout and its thread, during which hours of virtual time would pass."""

    def __init__(self) -> None:
        self.text = ""

    @property
    def lines(self) -> list[str]:
        """All that was written so far."""
        return self.text.splitlines()

    @property
    def objects(self) -> list[dict[str, Any]]:
        """The same, where each line is an object."""
        return [json.loads(line) for line in self.lines]

    async def write(self, line: bytes) -> None:
        self.text += line.decode()
        await trio.lowlevel.checkpoint()


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> Screen:
    """What the command of this test writes line by line."""
    seen = Screen()
    monkeypatch.setattr(Output, "_write", lambda output, line: seen.write(line))
    return seen


@dataclass(frozen=True)
class Commands:
    """Runs commands over a network of the test, under the trio that runs already."""

    net: testing.Network

    async def run(self, *arguments: object, node: str = "visitor") -> int:
        """The exit status, as if no signal had come. Raises what the command raises. `node`: whose folder it
        has."""
        module = importlib.import_module(f"onionshh.cli.{arguments[0]}")
        works: list[Callable[[], Awaitable[int]]] = []
        where = ("--network", self.net.folder / "network.toml", "--data", self.net.folder / node)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "run", works.append)
            patch.setattr(module, "join", lambda *_, **__: self.net.join(node))
            status = run_command([str(one) for one in (*arguments[:1], *where, *arguments[1:])])
        if not works:
            return status
        try:
            return await works[0]()
        except BaseExceptionGroup as group:
            raise worst(group) from group
