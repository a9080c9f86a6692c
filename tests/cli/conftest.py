"""What several tests of the command line need: pipes, a voice that speaks into one, and a
network file."""

from __future__ import annotations

import os
import pty
import select
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, redirect_stderr
from pathlib import Path

import pytest
import trio

from onionshh.cli.voice import Voice
from onionshh.config import Authority, NetworkFile, format_network_file


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
