"""What `host` says."""

from __future__ import annotations

from typing import cast

import trio
from trio.testing import MockClock

from onionshh.cli.lines import Output
from onionshh.cli.voice import PeopleVoice
from onionshh.client.whisper import Whisper
from tests.cli.conftest import Heard, speaking


class Came:
    """Stands in for a whisper."""

    id = "ab"
    received_at = 0.0
    sender = None

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
