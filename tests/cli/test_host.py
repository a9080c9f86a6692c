"""What `host` shows, and when a whisper that it has shown is finished."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli import main
from onionshh.cli.answers import Answers
from onionshh.cli.handling import Patience, Tally
from onionshh.cli.host import show, show_and_hold
from onionshh.cli.lines import LineReader, Output
from onionshh.cli.voice import JsonVoice, PeopleVoice
from tests.cli.conftest import Heard, Pipe, network_file, speaking
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
        nursery.start_soon(show, endpoint, voice, Patience(), tally)
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
                nursery.start_soon(show_and_hold, endpoint, voice, Patience(), answers, tally)
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


@pytest.mark.parametrize(
    "options, said",
    [
        (("--echo", "--exec", "cat"), "--echo and --exec exclude each other"),
        (("--exec", "no-such-program-anywhere"), "there is no no-such-program-anywhere"),
        (("--exec", "'"), "cannot be read"),
        (("--bind", "192.0.2.1"), "--bind needs an IP address of this machine"),
    ],
)
def test_what_cannot_be_is_said_before_a_folder_is_made(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = network_file(tmp_path / "net.toml", 7000)
    data = tmp_path / "me"
    assert main(["host", "--network", str(file), "--data", str(data), *options]) == 2
    assert said in capsys.readouterr().err
    assert not data.exists()
