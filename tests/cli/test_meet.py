"""`onionshh meet`: what is typed is said, what is said is shown, and how it ends. Whole networks in virtual
time."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.cli.ending import end_gently, end_on_signals, status_when_ended
from onionshh.cli.lines import LINE_BYTES, TOO_LONG
from onionshh.cli.meet import SAID_EVERY_SECONDS
from onionshh.client.meeting.meeting import MANY
from onionshh.net import link_loop
from tests.cli.conftest import Commands, Mistake, Screen, network_file
from tests.client.board.boards import kept, network
from tests.client.mail.postal import bend
from tests.client.world import until

Captured = pytest.CaptureFixture[str]
SECRET = bytes(range(32))
LONG_SECONDS = 1800.0
"""What a notice may take that lies in a mailbox."""


@pytest.fixture(autouse=True)
def _slower_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here minutes pass."""
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 5.0)


class Stdin:
    """Stands in for stdin and its thread, during which hours of virtual time would pass."""

    def __init__(self) -> None:
        self._typing, self._typed = trio.open_memory_channel[bytes | object](math.inf)

    def type(self, *lines: bytes | object) -> None:
        for line in lines:
            self._typing.send_nowait(line)

    def end(self) -> None:
        self._typing.close()

    async def next(self) -> bytes | object | None:
        try:
            return await self._typed.receive()
        except trio.EndOfChannel:
            return None


@dataclass
class Talk:
    """Runs of `onionshh meet`, one at a time, and the node of the other one."""

    net: testing.Network
    other: onionshh.Node
    screen: Screen
    patch: pytest.MonkeyPatch
    stdin: Stdin = field(default_factory=Stdin)
    statuses: list[int] = field(default_factory=list)
    heard: list[onionshh.Whisper] = field(default_factory=list)
    """What the other one was shown."""

    @asynccontextmanager
    async def runs(self, *options: object) -> AsyncIterator[trio.CancelScope]:
        """One run, which ends by itself before the block does, or is cancelled as by a signal."""
        file = self.net.folder / "secret"
        file.write_bytes(SECRET)
        self.stdin, self.screen.text = Stdin(), ""
        self.patch.setattr("onionshh.cli.meet.LineReader", lambda: self.stdin)

        async def run() -> None:
            with scope:
                self.statuses.append(await Commands(self.net).run("meet", file, *options))

        with trio.fail_after(24 * 3600):
            async with trio.open_nursery() as nursery:
                scope = trio.CancelScope()
                nursery.start_soon(run)
                yield scope

    @asynccontextmanager
    async def other_one(self, *, name: str | None = None) -> AsyncIterator[onionshh.Meeting]:
        """The other one is there, and listens."""
        async with self.other.meet(SECRET, name=name) as meeting, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def listen() -> None:
                async for whisper in meeting:
                    self.heard.append(whisper)

            yield meeting
            nursery.cancel_scope.cancel()

    @property
    def bodies(self) -> list[bytes]:
        """The same, only what was said."""
        return [whisper.body for whisper in self.heard]

    def events(self, name: str) -> list[dict[str, Any]]:
        """The events of this kind that the command wrote."""
        return [event for event in self.screen.objects if event.get("event") == name]


@asynccontextmanager
async def talking(screen: Screen, patch: pytest.MonkeyPatch) -> AsyncIterator[Talk]:
    async with network() as net, net.join("other") as other:
        yield Talk(net, other, screen, patch)


async def test_two_people_talk(
    autojump_clock: MockClock, screen: Screen, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    async with talking(screen, monkeypatch) as talk, talk.other_one() as other:
        async with talk.runs():
            talk.stdin.type(b"hello", b"", b"caf\xc3\xa9\xff")
            await until(lambda: len(talk.heard) == 3, 3600)
            other.send(b"good to see you\n12:00:00 met\x1b[2J")
            await until(lambda: "good to see you" in screen.text)
            other.send(b"and what else?")
            await until(lambda: "what else" in screen.text)
            talk.stdin.end()
    assert talk.statuses == [0]
    assert talk.bodies == [b"hello", b"", b"caf\xc3\xa9\xff"]
    met, *lines = screen.lines
    assert re.fullmatch(r"\d\d:\d\d:\d\d met", met)
    assert lines == ["  | good to see you", r"  | 12:00:00 met\x1b[2J", "  | and what else?"]
    assert capsys.readouterr() == ("", "")


async def test_two_programs_talk(
    autojump_clock: MockClock, screen: Screen, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    async with talking(screen, monkeypatch) as talk, talk.other_one() as other:
        async with talk.runs("--json"):
            talk.stdin.type(b'{"body": "caf\\u00e9"}', b'{"body_base64": "/wA="}')
            await until(lambda: len(talk.heard) == 2, 3600)
            sent = [other.send(body) for body in (b"text\n\x1b", b"\xff\0")]
            await until(lambda: len(talk.events("whisper")) == 2)
            talk.stdin.end()
    assert talk.statuses == [0]
    assert talk.bodies == ["café".encode(), b"\xff\0"]
    assert talk.events("met") == [{"event": "met", "others": 1}]
    assert sorted(talk.events("receipt"), key=str) == sorted(
        (
            {"event": "receipt", "id": whisper.id, "status": "delivered", "why": "", "copies": 0}
            for whisper in talk.heard
        ),
        key=str,
    )
    text, coded = talk.events("whisper")
    assert text.pop("received_at") > 1_700_000_000
    assert text == {"event": "whisper", "id": sent[0].id, "waited": False, "body": "text\n\x1b"}
    assert (coded["id"], coded["body_base64"], "body" in coded) == (sent[1].id, "/wA=", False)
    assert capsys.readouterr() == ("", "")


async def test_each_bad_line_is_answered_and_the_next_one_counts(
    autojump_clock: MockClock, screen: Screen, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    async with talking(screen, monkeypatch) as talk, talk.other_one():
        async with talk.runs("--json"):
            large = json.dumps({"body": "x" * 65_536}).encode()
            talk.stdin.type(b"hello", b'{"text": "x"}', b'{"body_base64": "!"}', TOO_LONG, large)
            talk.stdin.type(b'{"body": "good"}')
            talk.stdin.end()
        assert talk.statuses == [0]
        assert talk.bodies == [b"good"]
        assert [event["error"] for event in screen.objects if "error" in event] == [
            "This line is not valid JSON.",
            'A line is {"body": text}, or {"body_base64": …}.',
            "body_base64 is not valid base64.",
            f"A line is at most {LINE_BYTES} bytes.",
            "A whisper holds at most 65535 bytes; this one has 65536.",
        ]
        assert capsys.readouterr() == ("", "")
        async with talk.runs():
            talk.stdin.type(TOO_LONG, b"x" * 65_536, b'{"body": "as it is"}')
            talk.stdin.end()
        assert talk.bodies == [b"good", b'{"body": "as it is"}']
        said = capsys.readouterr().err.splitlines()
    assert [line for line in said if "others" not in line and "waiting until" not in line] == [
        f"onionshh: A line is at most {LINE_BYTES} bytes.",
        "onionshh: A whisper holds at most 65535 bytes; this one has 65536.",
    ]


@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
async def test_what_nobody_comes_for_expires_and_the_status_says_so(
    options: tuple[str, ...],
    autojump_clock: MockClock,
    screen: Screen,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    async with talking(screen, monkeypatch) as talk:
        began = trio.current_time()
        async with talk.runs("--ttl", "90s", *options):
            talk.stdin.type(b'{"body": "hello"}')
            talk.stdin.end()
        assert 80 < trio.current_time() - began < 130
    assert talk.statuses == [1]
    if options:
        (receipt,) = talk.events("receipt")
        assert receipt["status"] == "expired"
        assert not talk.events("met")
    else:
        assert screen.text == ""
        last = capsys.readouterr().err.splitlines()[-1]
        assert last.startswith("onionshh: not delivered (expired): ")


async def test_without_a_word_it_ends_at_once(
    autojump_clock: MockClock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(screen, monkeypatch) as talk:
        async with talk.runs():
            talk.stdin.end()
    assert talk.statuses == [0]
    assert screen.text == ""


@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
async def test_what_is_stored_for_later_is_enough_and_the_conversation_goes_on(
    options: tuple[str, ...],
    autojump_clock: MockClock,
    screen: Screen,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    """The other one has left when something is said, comes later, and answers when we have left."""
    common = ("--name", "anna", "--ttl", "3h", *options)
    async with talking(screen, monkeypatch) as talk:
        async with talk.other_one(name="ben"):
            async with talk.runs(*common):
                talk.stdin.type(b'{"body": "hello"}')
                await until(lambda: len(talk.heard) == 1, 3600)
                talk.stdin.end()
        capsys.readouterr()
        async with talk.runs(*common):
            talk.stdin.type(b'{"body": "for later"}')
            talk.stdin.end()
        assert talk.statuses == [0, 0]
        if options:
            stored = talk.events("receipt")[-1]
            assert (stored["status"], stored["why"]) == ("stored", "")
            assert stored["copies"] >= 2
        else:
            last = capsys.readouterr().err.splitlines()[-1]
            assert re.fullmatch(r"onionshh: stored for the other one, [234] of 4 copies\.", last)
        async with talk.other_one(name="ben") as other:
            await until(lambda: len(talk.heard) == 2, LONG_SECONDS)
            assert talk.heard[1].waited
            receipt = other.send(b"an answer", ttl_seconds=3 * 3600)
            await until(lambda: receipt.status == "stored", LONG_SECONDS)
            await trio.sleep(LONG_SECONDS)
        async with talk.runs(*common, "--stay") as signal:
            await until(lambda: "an answer" in screen.text, LONG_SECONDS)
            if options:
                assert talk.events("whisper")[0]["waited"] is True
                wanted = (stored["id"], "delivered")
                await until(
                    lambda: wanted in [(one["id"], one["status"]) for one in talk.events("receipt")],
                    LONG_SECONDS,
                )
            signal.cancel()


def unwanted() -> None:
    raise AssertionError("the node would have been cancelled as well")


async def test_a_signal_ends_it_and_its_hello_is_taken_back(
    autojump_clock: MockClock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(screen, monkeypatch) as talk:
        relays = bend(talk.net)
        with end_on_signals():
            async with talk.runs("--stay"):
                await until(lambda: kept(relays) >= 2)
                end_gently(unwanted)
        assert talk.statuses == [0]
        assert kept(relays) == 0


@pytest.mark.parametrize("options", [(), ("--name", "me")], ids=str)
async def test_a_signal_says_what_was_not_delivered(
    options: tuple[str, ...],
    autojump_clock: MockClock,
    screen: Screen,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    async with talking(screen, monkeypatch) as talk:
        with end_on_signals():
            async with talk.runs(*options):
                talk.stdin.type(b"hello", b"is anybody there?")
                await trio.sleep(10)
                end_gently(unwanted)
            assert status_when_ended() == 1
            fate = "when it runs again with this --name before their --ttl ends" if options else "no more"
            assert f"2 whispers not delivered so far, to be sent {fate}." in capsys.readouterr().err


async def test_what_expired_counts_also_when_more_was_said_after_it(
    autojump_clock: MockClock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(screen, monkeypatch) as talk:
        async with talk.runs("--ttl", "90s", "--json"):
            talk.stdin.type(b'{"body": "nobody is there"}', b"  ")
            await until(lambda: len(talk.events("receipt")) == 1, 3600)
            async with talk.other_one():
                await until(lambda: len(talk.events("met")) == 1, 3600)
                talk.stdin.type(b'{"body": "now you are"}')
                await until(lambda: len(talk.events("receipt")) == 2, 3600)
                talk.stdin.end()
                await until(lambda: len(talk.statuses) == 1, 3600)
    assert [event["status"] for event in talk.events("receipt")] == ["expired", "delivered"]
    assert talk.statuses == [1]
    assert not any("error" in event for event in screen.objects)


async def test_it_stays_when_stdin_has_ended_until_a_signal_comes(
    autojump_clock: MockClock, screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with talking(screen, monkeypatch) as talk:
        with end_on_signals():
            async with talk.runs("--stay") as signal:
                talk.stdin.type(b"hello")
                await trio.sleep(10)
                assert status_when_ended() == 0
                talk.stdin.end()
                await trio.sleep(10)
                assert status_when_ended() == 0
                async with talk.other_one() as other:
                    await until(lambda: len(talk.heard) == 1, 3600)
                    other.send(b"late, but here")
                    await until(lambda: "  | late, but here\n" in screen.text)
                signal.cancel()
    assert talk.statuses == []


@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
async def test_that_there_are_several_others_is_said_once(
    options: tuple[str, ...],
    autojump_clock: MockClock,
    screen: Screen,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    wanted = MANY.format(others=2)
    async with talking(screen, monkeypatch) as talk, talk.net.join("third") as third:
        async with talk.runs("--stay", *options) as signal, talk.other_one():
            await until(lambda: "met" in screen.text, 3600)
            async with third.meet(SECRET):
                await trio.sleep(600)
            await trio.sleep(10 * SAID_EVERY_SECONDS)
            signal.cancel()
    if options:
        assert wanted in [event["why"] for event in talk.events("problem")]
        assert len(talk.events("problem")) == len({event["why"] for event in talk.events("problem")})
        assert capsys.readouterr().err == ""
    else:
        said = capsys.readouterr().err.splitlines()
        assert said.count(f"onionshh: {wanted}.") == 1


# What a person gets wrong.


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("-",), "The secret cannot come on stdin: that is for what you say."),
        (("{folder}/none",), "Cannot read the secret from {folder}/none: No such file"),
        (("{folder}",), "give a file, not a folder"),
        (("{file}",), "What {file} holds is no secret of 32 bytes or 64 hex digits"),
        (("{secret}", "x"), "unexpected extra argument (x)"),
        (("{secret}", "--name", ""), "--name must be text of 1 to 64 printable characters"),
        (("{secret}", "--ttl", "0"), "A TTL must be more than 0 and at most 604800 seconds (7 days)."),
        (("{secret}", "--ttl", "8d"), "A TTL must be more than 0 and at most 604800 seconds (7 days)."),
        (("{secret}", "--ttl", "soon"), "'soon' is not a time; write 90s, 30m, 3h or 3d."),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
def test_what_cannot_be(
    arguments: tuple[str, ...], said: str, options: tuple[str, ...], mistake: Mistake, tmp_path: Path
) -> None:
    network = network_file(tmp_path / "net.toml", 7000)
    names = {"folder": tmp_path, "file": tmp_path / "file", "secret": tmp_path / "secret"}
    names["file"].write_text("hello")
    names["secret"].write_bytes(SECRET)
    given = [one.format(**names) for one in arguments]
    assert said.format(**names) in mistake(2, "meet", "--network", network, *given, *options)
