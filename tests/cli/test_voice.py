"""What `host` says, and that it stays true."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.lines import Output
from onionshh.cli.standing import SETTLED_LOOKS, Standing
from onionshh.cli.voice import JsonVoice, PeopleVoice, Voice
from onionshh.client.endpoint import Whisper
from onionshh.client.hosting.reachability import Reachability

WANTED = 6


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


class Came:
    """Stands in for a whisper."""

    id = "ab"
    received_at = 0.0

    def __init__(self, body: bytes) -> None:
        self.body = body


async def test_many_whispers_are_few_lines(heard: Heard, autojump_clock: MockClock) -> None:
    """A thousand a second for a minute, then one."""
    voice = PeopleVoice(Output(heard.writing))
    async with speaking(voice):
        for _ in range(60):
            for _ in range(1000):
                voice.came(cast(Whisper, Came(b"12345")))
            await trio.sleep(1)
        await trio.sleep(60)
        voice.came(cast(Whisper, Came(b"1234567")))
        lines = [line.partition(" ")[2] for line in await heard.lines(8)]
    assert lines[0] == "whisper of 5 bytes"
    assert lines[-1] == "whisper of 7 bytes"
    assert sum(int(line.split()[0]) for line in lines[1:-1]) == 60_000 - 1
    assert sum(int(line.split()[2]) for line in lines[1:-1]) == 5 * (60_000 - 1)


async def test_a_body_cannot_pass_for_a_line_of_ours(heard: Heard, autojump_clock: MockClock) -> None:
    voice = PeopleVoice(Output(heard.writing))
    async with speaking(voice):
        await voice.show(cast(Whisper, Came(b"one\n10:00:00 endpoint shh1forged\n")))
        lines = await heard.lines(4)
    assert lines[0].endswith(" whisper of 33 bytes")
    assert lines[1:] == ["  | one", "  | 10:00:00 endpoint shh1forged", "  | "]


@pytest.fixture(params=[PeopleVoice, JsonVoice])
def standing(request: pytest.FixtureRequest, heard: Heard) -> Standing:
    voice: Voice = request.param(Output(heard.writing))
    return Standing(voice, WANTED)


async def test_the_number_of_introducers_is_told_when_it_has_settled(
    standing: Standing, heard: Heard, autojump_clock: MockClock
) -> None:
    """The first one makes it reachable; more come, one goes and comes back, most go."""

    def stands(number: int, looks: int = SETTLED_LOOKS) -> None:
        for _ in range(looks):
            standing.looked(Reachability(True, number, 3.2), late=True)

    async with speaking(standing._voice):
        standing.changed(Reachability(True, 1, 3.2))
        for number in (2, 3, 4, 5):
            stands(number, looks=1)
        stands(6, looks=100)
        stands(5, looks=100)
        stands(6)
        stands(7)  # one that is about to end, and the one that takes its place
        stands(0)  # the loss is told by itself
        stands(2)
        stands(1)
        lines = await heard.lines(4)
    said = [json.loads(one) if one.startswith("{") else one.partition(" ")[2] for one in lines]
    if isinstance(standing._voice, PeopleVoice):
        assert said == [
            "reachable through 1 introducer, after 3.2 s",
            "reachable through 6 introducers now",
            "reachable through 2 introducers now",
            "reachable through 1 introducer now",
        ]
    else:
        assert said[0] == {"event": "reachable", "introducers": 1, "seconds": 3.2}
        assert said[1:] == [{"event": "introducers", "introducers": number} for number in (6, 2, 1)]


async def test_why_it_is_not_reachable_is_told_once_for_each_reason(
    heard: Heard, autojump_clock: MockClock
) -> None:
    voice = PeopleVoice(Output(heard.writing))
    standing = Standing(voice, WANTED)

    def stays(why: str, late: bool = True) -> None:
        for _ in range(10):
            standing.looked(Reachability(False, 0, 0.0, why), late)

    async with speaking(voice):
        stays("it has just started", late=False)
        for _ in range(3):
            stays("it has no introducer")
            stays("its descriptor is not on the ring")
        standing.changed(Reachability(True, 6, 60.0))
        standing.changed(Reachability(False, 0, 0.0, "it has no introducer"))
        stays("it has no introducer")
        lines = [line.partition(" ")[2] for line in await heard.lines(4)]
    assert lines == [
        "not reachable: it has no introducer",
        "not reachable: its descriptor is not on the ring",
        "reachable through 6 introducers, after 60.0 s",
        "not reachable: it has no introducer",
    ]
