"""What `host` shows, and when a whisper that it has shown is finished."""

from __future__ import annotations

import json
import os

import trio
from trio.testing import MockClock

from onionshh.cli.answers import Answers
from onionshh.cli.handling import Patience, Tally
from onionshh.cli.lines import LineReader, Output
from onionshh.cli.showing import Showing, ShowingAndHolding
from onionshh.cli.taking import Taking
from onionshh.cli.voice import JsonVoice, PeopleVoice
from tests.cli.conftest import Heard, Pipe, speaking
from tests.client.world import QUIET, hosted, small, until


async def test_what_was_shown_to_people_is_finished(heard: Heard, autojump_clock: MockClock) -> None:
    voice, tally = PeopleVoice(Output(heard.writing)), Tally()
    async with (
        small(**QUIET) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
        speaking(voice),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(Taking(Showing(voice, Patience(), tally), Patience(), tally).run, endpoint)
        async with visitor.contact(endpoint.address) as contact:
            for body in (b"first", b"second"):
                assert (await contact.whisper(body)).status == "delivered"
        await until(lambda: tally.finished == 2)
        assert tally.taken == 2
        assert endpoint.waiting[0] == 0
        lines = await heard.lines(4)
        nursery.cancel_scope.cancel()
    assert [line for line in lines if line.startswith("  | ")] == ["  | first", "  | second"]


async def test_what_a_program_was_shown_waits_for_its_line_over_a_restart(
    heard: Heard, pipe: Pipe, autojump_clock: MockClock
) -> None:
    shown: list[dict[str, str]] = []
    async with small(**QUIET) as net, net.join("visitor") as visitor:
        for start in range(2):
            voice, tally = JsonVoice(Output(heard.writing)), Tally()
            answers = Answers(LineReader(pipe.reading), Output(heard.writing), Patience(), tally)
            async with (
                hosted(net) as (_, endpoint),
                speaking(voice),
                trio.open_nursery() as nursery,
            ):
                way = ShowingAndHolding(voice, answers)
                nursery.start_soon(Taking(way, Patience(), tally).run, endpoint)
                if not start:
                    async with visitor.contact(endpoint.address) as contact:
                        assert (await contact.whisper(b"question")).status == "delivered"
                shown += [json.loads(line) for line in await heard.lines(1)]
                assert (tally.taken, tally.finished) == (1, 0)
                if start:
                    os.write(pipe.writing, json.dumps({"done": shown[0]["id"]}).encode() + b"\n")
                    pipe.close(pipe.writing)
                    await answers.run()
                    assert tally.finished == 1
                    assert endpoint.waiting[0] == 0
                nursery.cancel_scope.cancel()
    assert shown[0] == shown[1]
    assert shown[0]["body"] == "question"
