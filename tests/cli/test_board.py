"""`onionshh board`: what lies there and what comes. Nothing in a post passes for a line of ours. Whole
networks in virtual time."""

from __future__ import annotations

import base64
import errno
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import Identity, testing
from onionshh.cli.board import AUTHOR_DIGITS
from onionshh.cli.ending import end_on_signals, status_when_ended
from onionshh.cli.failures import Usage
from onionshh.cli.lines import Output
from onionshh.errors import DataInUse, NetworkUnreachable
from onionshh.net import link_loop
from tests.cli.conftest import Commands, Mistake, Screen, network_file
from tests.client.board.boards import ALICE, HOUR, SECRET, network, written
from tests.client.mail.postal import bend, place, places_of
from tests.client.world import WALL, until
from tests.inside import inside

Captured = pytest.CaptureFixture[str]
ME = Identity.generate(testing.seeded(51))


@pytest.fixture(autouse=True)
def _slower_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here minutes pass."""
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 5.0)


@dataclass
class Reader:
    """Runs of `onionshh board` over one folder, and somebody else who posts."""

    net: testing.Network
    author: onionshh.Node
    commands: Commands
    file: Path = field(init=False)

    def __post_init__(self) -> None:
        self.file = self.net.folder / "club"
        self.file.write_bytes(SECRET)

    async def run(self, *arguments: object) -> int:
        return await self.commands.run("board", "--topic-file", self.file, *arguments)

    async def post(self, *bodies: bytes, author: Identity | None = None) -> None:
        """Somebody posts these, one after the other."""
        async with self.author.board(SECRET, author=author) as board:
            for body in bodies:
                posting = await board.post(body, ttl_seconds=HOUR)
                with trio.fail_after(900):
                    while posting.copies[0] < 4:
                        await posting.changed()

    async def put(self, number: int, body: bytes, *, posted: int = WALL) -> None:
        """A post that its author makes by hand lies there."""
        context = inside(self.author)
        items = written(ALICE, number, body, expires=WALL + HOUR, posted=posted)
        first, second = places_of(context, items[0].mailbox)
        await place(context, items, first[0], second[0])

    @contextmanager
    def watching(self, nursery: trio.Nursery, *arguments: object) -> Iterator[trio.CancelScope]:
        """`board --watch`, until a signal cancels it."""
        scope = trio.CancelScope()

        async def watch() -> None:
            with scope:
                await self.run("--watch", *arguments)
                raise AssertionError("it ended")

        nursery.start_soon(watch)
        yield scope
        scope.cancel()


@asynccontextmanager
async def reading() -> AsyncIterator[Reader]:
    async with network() as net, net.join("author") as author:
        yield Reader(net, author, Commands(net))


async def test_posts_for_a_person(autojump_clock: MockClock, screen: Screen, capsys: Captured) -> None:
    async with reading() as reader:
        await reader.post(b"hello", b"two\nlines\n", author=ME)
        await reader.post(b"")
        assert await reader.run() == 0
    mark = ME.author_key(SECRET).public.hex()[:AUTHOR_DIGITS]
    heads = [line for line in screen.lines if not line.startswith("  | ")]
    assert [head.partition(", ")[2] for head in heads] == [f"{mark} #1", f"{mark} #2", "no author"]
    assert all(head.startswith("2026-09-21 10:1") for head in heads)
    bodies = [line for line in screen.lines if line.startswith("  | ")]
    assert bodies == ["  | hello", "  | two", "  | lines", "  | ", "  | "]
    assert screen.lines.index("  | two") == screen.lines.index(heads[1]) + 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "body, shown",
    [
        (b"2026-09-21 10:10, no author\n  | x", ["2026-09-21 10:10, no author", "  | x"]),
        (b"\x1b[2J\x1b]0;title\x07", [r"\x1b[2J\x1b]0;title\x07"]),
        (b"\r2026-09-21\x0b\x0c\x08", [r"\x0d2026-09-21\x0b\x0c\x08"]),
        ("\u202eabc\u2066".encode(), [r"\u202eabc\u2066"]),
        ("a\u2028b\u2029c\x85d".encode(), [r"a\u2028b\u2029c\x85d"]),
        (b"\xff\xfe", ["\ufffd\ufffd"]),
        (b"\0\x7f", [r"\x00\x7f"]),
        ("caf\u00e9\t\U0001f40c".encode(), ["caf\u00e9\t\U0001f40c"]),
    ],
)
async def test_nothing_in_a_post_is_obeyed_or_passes_for_a_line_of_ours(
    autojump_clock: MockClock, screen: Screen, body: bytes, shown: list[str]
) -> None:
    async with reading() as reader:
        await reader.post(body)
        assert await reader.run() == 0
    head, *lines = screen.text.removesuffix("\n").split("\n")
    assert head.endswith(", no author")
    assert lines == [f"  | {line}" for line in shown]


async def test_missing_and_late_posts(autojump_clock: MockClock, screen: Screen) -> None:
    """The first comes after its successors were shown."""
    mark = ALICE.public.hex()[:AUTHOR_DIGITS]
    async with reading() as reader:
        await reader.put(2, b"two")
        await reader.put(4, b"four")
        await reader.put(7, b"seven")
        assert await reader.run("--name", "me") == 0
        assert [line for line in screen.lines if not line.startswith("  | ")] == [
            f"2026-09-21 10:00, {mark} #2",
            f"2026-09-21 10:00, {mark} #4, 1 post missing",
            f"2026-09-21 10:00, {mark} #7, 2 posts missing",
        ]
        await reader.put(3, b"three")
        screen.text = ""
        assert await reader.run("--name", "me", "--json") == 0
    assert [(one["number"], one["missing"], one["late"]) for one in screen.objects] == [
        (2, 0, False),
        (4, 1, False),
        (7, 2, False),
        (3, 0, True),
    ]


async def test_a_late_post_and_any_time_are_shown_to_a_person(
    autojump_clock: MockClock, screen: Screen
) -> None:
    """An author may say any time."""
    mark = ALICE.public.hex()[:AUTHOR_DIGITS]
    async with reading() as reader:
        await reader.put(2, b"two", posted=(2**32 - 1) * 60)
        assert await reader.run("--name", "me") == 0
        assert screen.lines[0] == f"10136-02-16 04:15, {mark} #2"
        await reader.put(1, b"one", posted=0)
        screen.text = ""
        assert await reader.run("--name", "me") == 0
    assert screen.lines[2] == f"1970-01-01 00:00, {mark} #1, late"


async def test_posts_for_a_program(autojump_clock: MockClock, screen: Screen, capsys: Captured) -> None:
    async with reading() as reader:
        await reader.post(b"hello\n\x1b", author=ME)
        await reader.post(b"\xff\0")
        assert await reader.run("--json") == 0
        signed, anonymous = screen.objects
        async with reader.author.board(SECRET) as board:
            first, second = await board.read()
    assert signed == {
        "id": first.id,
        "author": ME.author_key(SECRET).public.hex(),
        "number": 1,
        "missing": 0,
        "late": False,
        "posted_at": first.posted_at,
        "expires": first.expires,
        "cursor": None,
        "body": "hello\n\x1b",
    }
    assert (anonymous["id"], anonymous["author"], anonymous["number"]) == (second.id, None, 0)
    assert base64.b64decode(anonymous["body_base64"]) == b"\xff\0"
    assert "body" not in anonymous
    assert capsys.readouterr() == ("", "")


async def test_cursors_and_limits(autojump_clock: MockClock, screen: Screen) -> None:
    async def shown(*arguments: str) -> list[str]:
        screen.text = ""
        assert await reader.run("--json", *arguments) == 0
        return [str(one["body"]) for one in screen.objects]

    async with reading() as reader:
        await reader.post(b"1", b"2", b"3", author=ME)
        assert await shown("--limit", "2") == ["1", "2"]
        assert await shown("--name", "me") == ["1", "2", "3"]
        first, second, third = (str(one["cursor"]) for one in screen.objects)
        assert await shown("--name", "me") == ["1", "2", "3"], "without --watch nothing is finished"
        assert await shown("--name", "me", "--after", first) == ["2", "3"]
        assert await shown("--name", "me", "--after", first, "--limit", "1") == ["2"]
        assert await shown("--name", "me", "--after", third) == []
        await reader.post(b"4")
        assert await shown("--name", "me", "--after", second) == ["3", "4"]
        for wrong in ("x", first[1:], f"{first}9", "\x1b"):
            with pytest.raises(Usage, match="This cursor is not of this board and name"):
                await reader.run("--name", "me", "--after", wrong)
        with pytest.raises(Usage, match="This cursor is not of this board and name"):
            await reader.run("--name", "you", "--after", first)


async def test_an_empty_board(autojump_clock: MockClock, screen: Screen, capsys: Captured) -> None:
    async with reading() as reader:
        assert await reader.run() == 0
        assert capsys.readouterr().err == "onionshh: nothing lies on this board now.\n"
        assert await reader.run("--json") == 0
        assert capsys.readouterr() == ("", "")
    assert screen.text == ""


async def test_a_board_none_of_whose_relays_answer(autojump_clock: MockClock, screen: Screen) -> None:
    async with reading() as reader:
        for bent in bend(reader.net).values():
            bent.silent = True
        with pytest.raises(NetworkUnreachable, match="No relay of this board answers"):
            await reader.run()


async def test_watching_shows_what_lies_there_and_what_comes(
    autojump_clock: MockClock, screen: Screen
) -> None:
    async with reading() as reader, trio.open_nursery() as nursery:
        await reader.post(b"before")
        with end_on_signals():
            with reader.watching(nursery):
                await until(lambda: "before" in screen.text)
                assert status_when_ended() == 0
                for number in range(3):
                    await reader.post(f"post {number}".encode(), author=ME)
                await until(lambda: "post 2" in screen.text)
    bodies = [line for line in screen.lines if line.startswith("  | ")]
    assert bodies == ["  | before", "  | post 0", "  | post 1", "  | post 2"]


async def test_watching_with_a_name_goes_on_behind_what_was_shown(
    autojump_clock: MockClock, screen: Screen
) -> None:
    options = ("--name", "me", "--json")
    async with reading() as reader, trio.open_nursery() as nursery:
        await reader.post(b"1", b"2", author=ME)
        with reader.watching(nursery, *options):
            await until(lambda: len(screen.lines) == 2)
            with pytest.raises(DataInUse, match="A board of this topic and name is open already"):
                await reader.run(*options)
            assert await reader.run("--name", "you") == 0
        await trio.sleep(10)
        await reader.post(b"3", author=ME)
        screen.text = ""
        with reader.watching(nursery, *options):
            await until(lambda: len(screen.lines) == 1)
            await trio.sleep(600)
            assert [one["body"] for one in screen.objects] == ["3"]


@pytest.mark.parametrize("number", [errno.EPIPE, errno.EBADF, errno.ENOSPC])
async def test_a_list_ends_when_stdout_cannot_be_written(
    number: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(output: Output, data: bytes) -> int:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(Output, "_some_of", write)
    async with reading() as reader:
        await reader.post(b"1")
        with pytest.raises(OSError, match=os.strerror(number)), trio.fail_after(600):
            await reader.run()


async def test_what_stdout_does_not_take_is_tried_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """Nothing is left out, and a post that was not written does not count as shown."""
    taken, refused = bytearray(), [True]

    def write(output: Output, data: bytes) -> int:
        if refused[0]:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken.extend(data)
        return len(data)

    monkeypatch.setattr(Output, "_some_of", write)
    async with reading() as reader, trio.open_nursery() as nursery:
        await reader.post(b"1", b"2", author=ME)
        said = ""

        def heard() -> str:
            nonlocal said
            said += capsys.readouterr().err
            return said

        with reader.watching(nursery, "--name", "me"):
            await until(lambda: "No space left on device" in heard(), 3600)
        await trio.sleep(10)
        said = ""
        with reader.watching(nursery, "--name", "me"):
            await until(lambda: "No space left on device" in heard(), 3600)
            refused[0] = False
            await until(lambda: b"  | 2" in taken, 3600)
            await until(lambda: "stdout can be written again." in heard())
    assert [line for line in taken.splitlines() if line.startswith(b"  | ")] == [b"  | 1", b"  | 2"]
    assert "onionshh: stdout cannot be written (No space left on device); we go on" in heard()


# What a person gets wrong.


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((), "Which board? Give TOPIC"),
        (("",), "The name of a topic is 1 to 256 printable characters"),
        (("a\x1b[2J",), "The name of a topic is 1 to 256 printable characters"),
        (("chess", "--topic-file", "{file}"), "TOPIC and --topic-file exclude each other."),
        (("--topic-file", "{file}"), "What {file} holds is no secret of 32 bytes"),
        (("--topic-file", "{folder}"), "give a file, not a folder"),
        (("chess", "--after", "ab-1"), "--after needs --name"),
        (("chess", "--after", ""), "--after needs --name"),
        (("chess", "--after", "ab-1", "--watch", "--name", "me"), "--after and --watch exclude each other"),
        (("chess", "--limit", "5", "--watch"), "--limit and --watch exclude each other."),
        (("chess", "--limit", "0"), "'--limit': 0 is not in the range 1<=x<=100000."),
        (("chess", "--limit", "100001"), "'--limit': 100001 is not in the range"),
        (("chess", "--limit", "many"), "'--limit'"),
        (("chess", "--name", ""), "--name must be text of 1 to 64 printable characters"),
        (("chess", "--name", "x" * 65), "--name must be text of 1 to 64 printable characters"),
        (("chess", "--name", "a\nb", "--watch"), "--name must be text of 1 to 64 printable characters"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
def test_what_cannot_be(
    arguments: tuple[str, ...], said: str, options: tuple[str, ...], mistake: Mistake, tmp_path: Path
) -> None:
    network = network_file(tmp_path / "net.toml", 7000)
    names = {"folder": tmp_path, "file": tmp_path / "file"}
    names["file"].write_text("hello")
    given = [one.format(**names) for one in arguments]
    assert said.format(**names) in mistake(2, "board", "--network", network, *given, *options)
