"""`onionshh post`: what is checked before anything is posted, how it ends, and what becomes of earlier
posts. Whole networks in virtual time."""

from __future__ import annotations

import io
import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from onionshh import Identity, Post, testing
from onionshh.cli.ending import end_on_signals, status_when_ended
from onionshh.cli.failures import Usage
from onionshh.cli.post import GIVEN_UP, GOES_ON
from onionshh.client.board import reading
from onionshh.client.board.publishing import NO_NUMBER, UNREAD
from onionshh.core.board.entry import NUMBER_MOST
from onionshh.core.board.topic import Topic
from onionshh.ids import RelayId
from onionshh.net import link_loop
from tests.cli.conftest import Commands, Mistake, network_file, seen, terminal
from tests.client.board.boards import DAY, HOUR, SECRET, kept, network, written
from tests.client.mail.postal import Bent, bend, place, places_of
from tests.client.world import until
from tests.inside import inside

Captured = pytest.CaptureFixture[str]
LATE = "no relay took it in time"


@pytest.fixture(autouse=True)
def _slower_ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here minutes pass."""
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 5.0)


@dataclass(frozen=True)
class Poster:
    """Runs of `onionshh post` over one folder, and the relays, which can be told to be silent."""

    net: testing.Network
    commands: Commands
    relays: dict[RelayId, Bent]

    async def run(self, *arguments: object) -> int:
        return await self.commands.run("post", *arguments)

    async def posts(self, topic: bytes | str = "chess") -> list[Post]:
        """What somebody else finds."""
        async with self.net.join("reader") as node, node.board(topic) as board:
            return await board.read()

    async def silence(self, *places: int, topic: str = "chess") -> None:
        """The relays of these places answer nothing that concerns this board."""
        async with self.net.join("reader") as node:
            context = inside(node)
            found = places_of(context, Topic.of(topic).mailbox(context.view.period))
        for relay in {relay for number in places for relay in found[number]}:
            self.relays[relay].silent = True

    async def some_of_each_place_alone(self, topic: str = "chess") -> None:
        """Each place has one relay that keeps posts, and the others answer nothing."""
        async with self.net.join("reader") as node:
            context = inside(node)
            first, second = places_of(context, Topic.of(topic).mailbox(context.view.period))
        one, other = first[0], next(relay for relay in second if relay != first[0])
        for relay, bent in self.relays.items():
            bent.silent = relay not in (one, other)

    def speak(self) -> None:
        """All relays are honest again."""
        for bent in self.relays.values():
            bent.silent = False


@asynccontextmanager
async def posting() -> AsyncIterator[Poster]:
    async with network() as net:
        yield Poster(net, Commands(net), bend(net))


async def test_a_person_is_told_that_it_is_stored_and_gets_its_id(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with posting() as poster:
        assert await poster.run("chess", "anyone for a game?", "--ttl", "3h") == 0
        (post,) = await poster.posts()
    out, err = capsys.readouterr()
    assert out == f"{post.id}\n"
    assert err.startswith("onionshh: stored, 4 of 4 copies, until 2026-09-21 13:1")
    assert err.endswith(" UTC; the proof of work took 0.0 s.\n")  # virtual time stands still meanwhile
    assert err.count("\n") == 1
    assert (post.body, post.author) == (b"anyone for a game?", None)
    assert 0 <= post.expires - post.posted_at - 3 * HOUR < 60


async def test_a_program_gets_one_object(autojump_clock: MockClock, capsys: Captured) -> None:
    async with posting() as poster:
        assert await poster.run("chess", "", "--json") == 0
        (post,) = await poster.posts()
    out, err = capsys.readouterr()
    assert (err, post.body) == ("", b"")
    assert json.loads(out) == {
        "status": "stored",
        "why": "",
        "id": post.id,
        "copies": 4,
        "expires": post.expires,
        "proof_seconds": 0.0,
    }


async def test_where_topic_and_text_come_from(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    club, letter = tmp_path / "club", tmp_path / "letter"
    club.write_text(f"{SECRET.hex()}\n")
    letter.write_bytes(b"a file\xff\n")

    def typed(data: bytes) -> None:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))

    async with posting() as poster:
        assert await poster.run("--topic-file", club, "a text") == 0
        assert await poster.run("--topic-file", club, "--", "-1 is a text") == 0
        assert await poster.run("--topic-file", club, os.fsdecode(b"bytes \xff")) == 0
        assert await poster.run("--topic-file", club, "--file", letter) == 0
        for arguments in (("-",), (), ("--file", "-")):
            typed(f"typed {arguments}".encode())
            assert await poster.run("--topic-file", club, *arguments) == 0
        typed(SECRET)
        assert await poster.run("--topic-file", "-", "the topic is typed") == 0
        assert {post.body for post in await poster.posts(SECRET)} == {
            b"a text",
            b"-1 is a text",
            b"bytes \xff",
            b"a file\xff\n",
            b"typed ('-',)",
            b"typed ()",
            b"typed ('--file', '-')",
            b"the topic is typed",
        }


async def test_an_author_signs_and_its_file_is_made(autojump_clock: MockClock, tmp_path: Path) -> None:
    file = tmp_path / "new" / "identity"
    async with posting() as poster:
        for text in ("first", "second"):
            assert await poster.run("chess", text, "--author", file) == 0
        assert await poster.run("go", "elsewhere", "--author", file) == 0
        found = await poster.posts()
        (elsewhere,) = await poster.posts("go")
    key = Identity.load(file).author_key(Topic.of("chess").secret).public.hex()
    assert [(post.body, post.author, post.number) for post in found] == [
        (b"first", key, 1),
        (b"second", key, 2),
    ]
    assert elsewhere.author not in (None, key)
    assert file.stat().st_mode & 0o777 == 0o600


async def test_the_posts_of_one_name_are_listed_extended_and_taken_back(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    def told() -> list[dict[str, Any]]:
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    common = ("chess", "--name", "shop")
    async with posting() as poster:
        assert await poster.run(*common, "--mine") == 0
        out, err = capsys.readouterr()
        assert (out, err) == ("", "onionshh: there is no post of yours here that has not expired.\n")
        assert await poster.run(*common, "--mine", "--json") == 0
        assert capsys.readouterr() == ("", "")
        for text in ("a bicycle", "a boat"):
            assert await poster.run(*common, text, "--json") == 0
        bicycle, boat = told()

        assert await poster.run(*common, "--mine", "--json") == 0
        assert [(one["id"], one["status"], one["copies"]) for one in told()] == [
            (bicycle["id"], "stored", 4),
            (boat["id"], "stored", 4),
        ]
        assert await poster.run(*common, "--mine") == 0
        lines = capsys.readouterr().out.splitlines()
        assert lines[0].startswith(f"{bicycle['id']}  stored, 4 of 4 copies, until 2026-09-22 10:1")
        assert lines[1].startswith(f"{boat['id']}  stored")

        assert await poster.run(*common, "--extend", bicycle["id"], "--ttl", "3h", "--json") == 0
        (extended,) = told()
        assert (extended["id"], extended["status"], extended["why"]) == (bicycle["id"], "stored", "")
        assert extended["expires"] < bicycle["expires"] - 20 * HOUR
        assert await poster.run(*common, "--extend", bicycle["id"], "--ttl", "3d") == 0
        said = capsys.readouterr().err
        assert said.startswith("onionshh: stored, ")
        assert " of 4 copies, until 2026-09-24 " in said
        (longer,) = (post for post in await poster.posts() if post.id == bicycle["id"])
        assert longer.expires > bicycle["expires"] + DAY

        assert await poster.run(*common, "--recall", boat["id"], "--json") == 0
        (recalled,) = told()
        assert (recalled["id"], recalled["status"], recalled["copies"]) == (boat["id"], "recalled", 0)
        assert [post.body for post in await poster.posts()] == [b"a bicycle"]
        with pytest.raises(Usage, match=r"^This post is recalled and cannot be extended\.$"):
            await poster.run(*common, "--extend", boat["id"])
        assert await poster.run(*common, "--recall", bicycle["id"]) == 0
        assert capsys.readouterr().err == "onionshh: taken back: every relay has erased it.\n"
        assert await poster.posts() == []

        for about in ("--recall", "--extend"):
            for wrong in (bicycle["id"][:8], "", "\x1b[2J\n"):
                with pytest.raises(Usage, match=r"^No post of yours here has the id .*; --mine lists"):
                    await poster.run(*common, about, wrong)
            with pytest.raises(Usage, match="No post of yours here"):
                await poster.run("chess", "--name", "other", about, bicycle["id"])


async def test_what_no_relay_takes_in_time_is_not_stored(autojump_clock: MockClock, capsys: Captured) -> None:
    async with posting() as poster:
        await poster.silence(0, 1)
        began = trio.current_time()
        assert await poster.run("chess", "hello", "--wait", "20s") == 1
        assert trio.current_time() - began < 60
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"onionshh: not stored (failed): {LATE}; {GIVEN_UP}.\n"
        assert await poster.run("chess", "hello", "--wait", "0", "--json") == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["status"], told["why"], told["copies"]) == ("failed", f"{LATE}; {GIVEN_UP}", 0)
        poster.speak()
        assert await poster.posts() == []


async def test_with_a_name_what_was_not_stored_goes_on_with_the_next_run(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    common = ("chess", "--name", "me")
    async with posting() as poster:
        await poster.silence(0, 1)
        assert await poster.run(*common, "first", "--wait", "20s") == 1
        assert capsys.readouterr().err == f"onionshh: not stored (queued): {LATE}; {GOES_ON}.\n"
        assert await poster.run(*common, "second", "--wait", "0", "--json") == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["status"], told["why"]) == ("queued", f"{LATE}; {GOES_ON}")
        assert await poster.run(*common, "--mine", "--json") == 0
        mine = [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()]
        assert mine == ["queued", "queued"]
        poster.speak()
        assert await poster.run(*common, "third") == 0
        assert {post.body for post in await poster.posts()} == {b"first", b"second", b"third"}


async def test_what_is_in_the_way_is_said_once_while_it_tries_on(
    autojump_clock: MockClock, capsys: Captured, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An author whose number is not known has to read the board first."""
    monkeypatch.setattr(reading, "READING_SECONDS", 30.0)
    common = ("chess", "hello", "--author", tmp_path / "me", "--wait", "5m")
    async with posting() as poster:
        await poster.silence(0)
        for arguments in (common, (*common, "--json")):
            assert await poster.run(*arguments) == 1
        out, err = capsys.readouterr()
        first, last = err.splitlines()
        assert first == f"onionshh: {UNREAD}; trying on."
        assert last == f"onionshh: not stored (failed): {UNREAD}; {GIVEN_UP}."
        assert json.loads(out)["why"] == f"{UNREAD}; {GIVEN_UP}"


async def test_a_post_that_can_never_be_stored_is_not_said_to_go_on(
    autojump_clock: MockClock, capsys: Captured, tmp_path: Path
) -> None:
    """Another machine has the identity, and has posted under the last number."""
    club, me = tmp_path / "club", tmp_path / "me"
    club.write_bytes(SECRET)
    key = Identity.load_or_create(me).author_key(SECRET)
    async with posting() as poster:
        async with poster.net.join("other") as node:
            context, wall = inside(node), poster.net.clock.wall()
            items = written(key, NUMBER_MOST, b"x", expires=wall + DAY, posted=wall)
            six = (relay for side in places_of(context, items[0].mailbox) for relay in side)
            await place(context, items, *six)
        common = ("--topic-file", club, "hello", "--author", me, "--name", "me")
        began = trio.current_time()
        assert await poster.run(*common) == 1
        assert await poster.run(*common, "--json") == 1
        assert trio.current_time() - began < 60
        out, err = capsys.readouterr()
        assert err == f"onionshh: not stored (failed): {NO_NUMBER}.\n"
        assert (json.loads(out)["status"], json.loads(out)["why"]) == ("failed", NO_NUMBER)


async def test_recalling_and_extending_where_relays_do_not_answer(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    common = ("chess", "--name", "me")
    async with posting() as poster:
        assert await poster.run(*common, "hello") == 0
        post_id = capsys.readouterr().out.strip()
        await poster.silence(0)
        assert await poster.run(*common, "--extend", post_id, "--ttl", "3d") == 1
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"onionshh: not extended everywhere: too few relays have the new end; {GOES_ON}."
        )
        assert await poster.run(*common, "--recall", post_id, "--json") == 1
        told = json.loads(capsys.readouterr().out)
        assert (told["status"], told["why"]) == ("recalled", f"some relays did not answer; {GOES_ON}")
        assert await poster.run(*common, "--recall", post_id) == 1
        assert capsys.readouterr().err.splitlines()[-1] == (
            f"onionshh: not taken back everywhere: some relays did not answer; {GOES_ON}."
        )
        poster.speak()
        assert await poster.run(*common, "--recall", post_id) == 0
        assert await poster.posts() == []


@pytest.mark.parametrize("options", [(), ("--json",), ("--name", "me")], ids=str)
async def test_a_signal_before_it_is_stored(
    options: tuple[str, ...], autojump_clock: MockClock, capsys: Captured
) -> None:
    """A signal cancels the command."""
    async with posting() as poster:
        await poster.silence(0, 1)
        with end_on_signals():
            with trio.move_on_after(20):
                await poster.run("chess", "hello", *options)
                raise AssertionError("went on")
            assert status_when_ended() == 1
    out, err = capsys.readouterr()
    if "--json" in options:
        told = json.loads(out)
        assert (told["status"], told["why"]) == ("failed", f"interrupted; {GIVEN_UP}")
    elif options:
        assert err == f"onionshh: not stored (queued): interrupted; {GOES_ON}.\n"
    else:
        assert err == f"onionshh: not stored (failed): interrupted; {GIVEN_UP}.\n"


async def test_a_signal_while_more_copies_are_made_does_not_undo_it(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with posting() as poster:
        await poster.some_of_each_place_alone()
        with end_on_signals():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(poster.run, "chess", "hello")
                await until(lambda: kept(poster.relays) == 2)
                await trio.sleep(5)
                nursery.cancel_scope.cancel()
            assert status_when_ended() == 0
        poster.speak()
        (post,) = await poster.posts()
    out, err = capsys.readouterr()
    assert out == f"{post.id}\n"
    assert err.startswith("onionshh: stored, 2 of 4 copies, until ")


async def test_the_other_copies_are_waited_for_a_while(autojump_clock: MockClock, capsys: Captured) -> None:
    async with posting() as poster:
        await poster.some_of_each_place_alone()
        began = trio.current_time()
        assert await poster.run("chess", "hello", "--wait", "3d") == 0
        assert 60 < trio.current_time() - began < 150
    assert capsys.readouterr().err.startswith("onionshh: stored, 2 of 4 copies, until ")


async def test_a_bar_shows_the_copies(autojump_clock: MockClock) -> None:
    async with posting() as poster:
        await poster.some_of_each_place_alone()
        with terminal() as screen:
            assert await poster.run("chess", "hello") == 0
            shown = b""
            while b"the proof of work took" not in shown:
                shown += seen(screen, 1)
    assert b"[###############---------------] 2 of 4 copies" in shown
    assert b"\r\x1b[Konionshh: stored, 2 of 4 copies, until " in shown


# What a person gets wrong.


@pytest.mark.parametrize(
    "arguments, said",
    [
        ((), "Which board? Give TOPIC"),
        ((" chess", "x"), "The name of a topic is 1 to 256 printable characters"),
        (("chess", "x", "--file", "{file}"), "TEXT and --file exclude each other."),
        (("chess", "-", "--file", "{file}"), "TEXT and --file exclude each other."),
        (("chess", "--file", "{folder}/none"), "Cannot read the post from {folder}/none: No such file"),
        (("chess", "--file", "{folder}"), "give a file, not a folder"),
        (("chess", "x" * 65_536), "A post holds at most 65535 bytes; this is more."),
        (("chess", "é" * 32_768), "A post holds at most 65535 bytes; this is more."),
        (("chess", "--file", "{large}"), "A post holds at most 65535 bytes; this is more."),
        (("chess", "x", "--topic-file", "{secret}"), "TOPIC and --topic-file exclude each other."),
        (("x", "--topic-file", "{file}"), "What {file} holds is no secret of 32 bytes"),
        (("x", "--topic-file", "{folder}/none"), "Cannot read the topic from {folder}/none"),
        (("chess", "x", "--mine", "--name", "me"), "leave the text out"),
        (("chess", "--file", "{file}", "--recall", "ab", "--name", "me"), "leave the text out"),
        (("x", "--topic-file", "{secret}", "--mine", "--name", "me"), "leave the text out"),
        (("chess", "--mine"), "need --name: without a name nothing is known of a post."),
        (("chess", "--extend", "ab"), "need --name"),
        (("chess", "--mine", "--recall", "ab", "--name", "me"), "exclude each other"),
        (("chess", "--extend", "ab", "--recall", "", "--name", "me"), "exclude each other"),
        (("chess", "x", "--name", ""), "--name must be text of 1 to 64 printable characters"),
        (("chess", "x", "--ttl", "59s"), "60 or more, not 59.0."),
        (("chess", "x", "--ttl", "8d"), "at most 604800 (7 days)"),
        (("chess", "x", "--ttl", "tomorrow"), "'tomorrow' is not a time; write 90s, 30m, 3h or 3d."),
        (("chess", "x", "--wait", "-1"), "'-1' is not a time"),
        (("chess", "x", "--author", "{folder}"), "give a file, not a folder"),
        (("chess", "x", "--author", "{large}"), "{large} is larger than any file of ours; move it away."),
        (("chess", "x", "--author", "{secret}"), "{secret} is not an identity, or is damaged"),
        (("chess", "x", "--author", "{file}/identity"), "{file}"),
    ],
)
@pytest.mark.parametrize("options", [(), ("--json",)], ids=str)
def test_what_cannot_be_is_said_before_anything_is_posted(
    arguments: tuple[str, ...], said: str, options: tuple[str, ...], mistake: Mistake, tmp_path: Path
) -> None:
    network = network_file(tmp_path / "net.toml", 7000)
    names = {name: tmp_path / name for name in ("file", "large", "secret")} | {"folder": tmp_path}
    names["file"].write_text("hello")
    names["large"].touch(0o600)
    os.truncate(names["large"], 65_536)
    names["secret"].write_bytes(SECRET)
    names["secret"].chmod(0o600)
    given = [one.format(**names) for one in arguments]
    assert said.format(**names) in mistake(2, "post", "--network", network, *given, *options)
    assert not (tmp_path / "visitor").exists()


def test_stdin_is_one_thing(mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_file(tmp_path / "net.toml", 7000)
    for arguments in ((), ("-",), ("--file", "-")):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(SECRET)))
        said = mistake(2, "post", "--network", network, "--topic-file", "-", *arguments)
        assert said == "stdin cannot be both the topic and the post; give one of them another way."
    monkeypatch.setattr("sys.stdin", None)
    for what, *given in (("post", "chess"), ("topic", "--topic-file", "-", "--mine", "--name", "me")):
        said = mistake(2, "post", "--network", network, *given)
        assert said == f"There is nothing to read on stdin; give the {what} as an argument or a file."


def test_more_than_a_post_on_stdin(mistake: Mistake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = network_file(tmp_path / "net.toml", 7000)
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(bytes(65_536))))
    assert "A post holds at most 65535 bytes" in mistake(2, "post", "--network", network, "chess", "--json")
