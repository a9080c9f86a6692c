"""Boards, a chat room and a meeting, of processes of their own that are killed in the middle.

A post comes to its relays one after the other, over most of a minute. Whoever watches has it with the first.
So nothing here waits for the end of `post`.
"""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.system.processes import COMMAND, PATIENCE_SECONDS, Running, running, until

RELAYS = 8
SOON_SECONDS = 30.0
"""Seconds, on a machine that does other things as well."""
CHAT = Path(__file__).parent.parent / "examples" / "chat.py"
NICKS = ("anna", "ben", "cleo", "dan", "eve")
LINES = 3
"""What each says before the kill, and again after it."""


@dataclass
class Net:
    """A network, the folders of those who use it, and what is started here: none of it outlives the test."""

    folder: Path
    file: Path
    secret: Path
    stack: ExitStack

    def start(
        self,
        command: str,
        who: str,
        *arguments: object,
        stdin: int = subprocess.DEVNULL,
        stdout: int = subprocess.PIPE,
    ) -> Running:
        """A command of somebody with a folder of their own. It is killed in the end."""
        where = ("--network", self.file, "--data", self.folder / who)
        process = Running(command, *where, *arguments, stdin=stdin, stdout=stdout)
        self.stack.callback(process.destroy)
        return process

    def board(self, who: str, topic: str) -> list[dict[str, Any]]:
        """What `board --json` shows."""
        where = ("--network", self.file, "--data", self.folder / who)
        done = subprocess.run(
            [*COMMAND, "board", topic, *map(str, where), "--json"],
            capture_output=True,
            timeout=PATIENCE_SECONDS,
            check=True,
        )
        assert done.stderr == b""
        return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.fixture(scope="module")
def network_file(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """That of a network that runs."""
    state = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(state))
        with running("network", "--relays", RELAYS) as network:
            network.until(lambda line: f"{RELAYS} relays listed; ready." in line)
            yield state / "onionshh" / "one-machine" / "network.toml"


@pytest.fixture(scope="module")
def early_post(network_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """`onionshh post`, at work. It takes most of a minute, so it begins before the first test."""
    data = tmp_path_factory.mktemp("early")
    options = ("--network", network_file, "--data", data, "--json", "--verbose")
    process = Running("post", "early", "hello", *options)
    yield process
    process.destroy()


@pytest.fixture
def net(network_file: Path, early_post: Running, tmp_path: Path) -> Iterator[Net]:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(range(32)))
    secret.chmod(0o600)
    with ExitStack() as stack:
        yield Net(tmp_path, network_file, secret, stack)


def bodies(process: Running) -> list[str]:
    """What a process that speaks JSON has shown."""
    return [event["body"] for event in map(json.loads, list(process.lines)) if "body" in event]


def test_who_watches_sees_posts_of_others_and_after_a_kill_what_came_meanwhile(net: Net) -> None:
    watch = ("chess", "--watch", "--json", "--name", "me")
    watcher = net.start("board", "watcher", *watch)
    net.start("post", "one", "chess", "first", "--author", net.folder / "identity")
    until(lambda: bodies(watcher) == ["first"], SOON_SECONDS)
    watcher.kill()

    for who, body in (("two", "second"), ("three", "third")):
        net.start("post", who, "chess", body)
    until(lambda: len(net.board("reader", "chess")) == 3, SOON_SECONDS)
    here, there = net.board("reader", "chess"), net.board("other", "chess")
    assert sorted(post["id"] for post in here) == sorted(post["id"] for post in there)
    found = {post["id"]: post for post in there}
    for post in here:
        assert post == found[post["id"]]
    assert {(post["body"], post["author"] is None, post["number"]) for post in here} == {
        ("first", False, 1),
        ("second", True, 0),
        ("third", True, 0),
    }

    again = net.start("board", "watcher", *watch)
    until(lambda: {"second", "third"} <= set(bodies(again)), SOON_SECONDS)
    net.start("post", "four", "chess", "fourth")
    until(lambda: "fourth" in bodies(again), SOON_SECONDS)
    counts = Counter(bodies(again))
    assert counts.pop("first", 0) <= 1  # the one that was shown last
    assert counts == {"second": 1, "third": 1, "fourth": 1}
    again.end()


class Member:
    """One member of a chat room, in all its runs."""

    def __init__(self, net: Net, nick: str) -> None:
        self.net = net
        self.nick = nick
        self.runs: list[Running] = []

    def start(self) -> None:
        process = Running(
            *(self.net.secret, self.nick),
            command=(sys.executable, str(CHAT)),
            network=self.net.file,
            folder=self.net.folder,
            stdin=subprocess.PIPE,
        )
        self.net.stack.callback(process.destroy)
        self.runs.append(process)

    def say(self, *numbers: int) -> None:
        for number in numbers:
            self.runs[-1].type(f"line {number}")

    @property
    def kept(self) -> int:
        """How many lines of this member are on disk, and so will not be lost."""
        with suppress(sqlite3.OperationalError):  # the file is being made
            for path in (self.net.folder / self.nick / "boards").glob("*/board.db"):
                with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
                    return int(connection.execute("SELECT count(*) FROM own_posts").fetchone()[0])
        return 0

    @property
    def shown(self) -> list[str]:
        """All lines of all runs, once each: without one that the next run shows first again."""
        lines: list[str] = []
        for run in self.runs:
            new = list(run.lines)
            lines += new[1:] if lines and new[:1] == lines[-1:] else new
        return lines


def test_a_chat_room_whose_five_members_are_killed_in_the_middle(net: Net) -> None:
    members = [Member(net, nick) for nick in NICKS]
    for member in members:
        member.start()
    for member in members:
        member.say(*range(LINES))
    until(lambda: all(member.kept == LINES for member in members))
    for member in members:
        member.runs[-1].process.send_signal(signal.SIGKILL)
    for member in members:
        member.runs[-1].wait()
    for member in members:
        member.start()
        member.say(*range(LINES, 2 * LINES))
    wanted = {nick: [f"{nick}: line {number}" for number in range(2 * LINES)] for nick in NICKS}
    most = 2 * LINES * len(NICKS)
    until(lambda: all(len(set(member.shown)) >= most for member in members))
    for member in members:
        for nick, lines in wanted.items():
            assert [line for line in member.shown if line.startswith(f"{nick}: ")] == lines, member.nick
        assert len(member.shown) == most
        assert all(run.errors == [] for run in member.runs)


@contextmanager
def ended(*processes: Running) -> Iterator[None]:
    """After the block stdin ends, and each process has nothing left to do."""
    yield
    for process in processes:
        assert process.process.stdin is not None
        process.process.stdin.close()
    for process in processes:
        assert process.wait() == 0, (process.lines, process.errors)


def test_two_who_meet_talk_and_go_on_after_one_of_them_was_killed(net: Net) -> None:
    def meets(who: str) -> Running:
        options = (net.secret, "--name", who, "--json", "--ttl", "1h")
        return net.start("meet", who, *options, stdin=subprocess.PIPE)

    anna, ben = meets("anna"), meets("ben")
    anna.send({"body": "hello"})
    until(lambda: bodies(ben) == ["hello"])
    ben.send({"body": "good to see you"})
    until(lambda: bodies(anna) == ["good to see you"])
    assert anna.event("met") == ben.event("met") == {"event": "met", "others": 1}
    ben.kill()
    anna.send({"body": "are you there?"})
    ben = meets("ben")
    with ended(anna, ben):
        until(lambda: "are you there?" in bodies(ben))
        ben.send({"body": "yes, again"})
        until(lambda: bodies(anna) == ["good to see you", "yes, again"])
        assert Counter(bodies(ben)) - Counter(["hello"]) == {"are you there?": 1}


def test_a_signal_is_the_end_of_a_meeting_that_stays(net: Net) -> None:
    alone = net.start("meet", "alone", net.secret, "--stay", "--verbose", stdin=subprocess.PIPE)
    until(lambda: any(" keeps a copy" in line for line in alone.errors))
    alone.end(signal.SIGINT)
    assert not any("closing took" in line for line in alone.errors)


def test_a_list_that_nobody_reads_any_more_ends(net: Net) -> None:
    net.start("post", "one", "crowd", "hello")
    until(lambda: len(net.board("reader", "crowd")) == 1)
    reading, writing = os.pipe()
    os.close(reading)
    lister = net.start("board", "reader", "crowd", stdout=writing)
    os.close(writing)
    assert lister.wait() == 1


def test_a_signal_to_post_does_not_undo_what_is_stored(net: Net, early_post: Running) -> None:
    """Three copies are in both places."""
    until(lambda: sum(" keeps a copy" in line for line in early_post.errors) >= 3)
    early_post.process.send_signal(signal.SIGTERM)
    assert early_post.wait() == 0, early_post.errors
    (told,) = map(json.loads, early_post.lines)
    assert (told["status"], told["why"]) == ("stored", "")
    assert told["copies"] >= 3
    (post,) = net.board("reader", "early")
    assert (post["id"], post["body"], post["expires"]) == (told["id"], "hello", told["expires"])
