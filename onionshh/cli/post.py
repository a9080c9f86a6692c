"""`onionshh post`: one post on a board, or what becomes of earlier ones."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import click
import trio

from onionshh.cli.bar import Bar, filled
from onionshh.cli.ending import ended_by_signal, run, when_ended
from onionshh.cli.failures import FAILED, Usage
from onionshh.cli.folders import network_folder
from onionshh.cli.options import (
    DURATION,
    PATH,
    as_usage,
    bind_option,
    check_bind,
    check_reach,
    folder_option,
    json_option,
    network_option,
    via_option,
)
from onionshh.cli.sources import STDIN, read_source
from onionshh.cli.talk import note
from onionshh.cli.text import one_line
from onionshh.cli.topics import check_board_name, topic_of, topic_options
from onionshh.cli.verbose import verbose_option
from onionshh.client.arguments import check_post_ttl
from onionshh.client.board.board import Board
from onionshh.client.board.posting import COPIES_WANTED, Posting
from onionshh.client.identities import Identity
from onionshh.client.node import Node, join
from onionshh.core.board.entry import POST_MOST
from onionshh.errors import TooLarge
from onionshh.net.network_file import read_network_file

COPIES_SECONDS: Final = 60.0
"""How long the other copies are waited for once a post is stored."""
GOES_ON: Final = "it goes on with the next run with --name"
GIVEN_UP: Final = "given up, and what a relay has stays there until it expires"

HELP = """Post on a board: at most 65 535 bytes, from the command line, a file or stdin.

Whoever knows the TOPIC reads it with `onionshh board`, until --ttl is over. A TOPIC is a name, and anyone
may guess a name. A secret topic is a file of 32 random bytes, which all members share.

The post lies at four relays. This machine works for that, a part of a second to some seconds. The relays get
it one after the other, up to half a minute apart. Once two of them have it, others can read it, and nothing
needs to run here any more; the command waits a minute at most for the other two, and ends with exit status 0.
What is in the way is said on stderr.

With --author the post is signed by a key that this identity has on this board alone: readers see which posts
are of one author, and not who that is. Without, no two posts can be linked.

With --name what is not stored goes on with the next run of that name, and --mine lists your posts there,
--recall takes one back, and --extend gives it another --ttl. Without --name nobody can take a post back.

\b
With --json, one object for each post:
  {"status": "stored", "why": "", "id": "…", "copies": 4, "expires": Unix seconds, "proof_seconds": 0.3}
status: stored, queued (with --name it goes on), failed, recalled or expired; why: what is in the way.

\b
Examples:
  onionshh post chess "anyone for a game?" --ttl 3h
  onionshh post offers "a bicycle, 40 euros" --ttl 3d --name shop --author me/identity
  onionshh post offers --name shop --mine
  onionshh post offers --name shop --recall 6f1d…
  onionshh post --topic-file club "we meet at eight"

\b
Arguments:
  [TOPIC]     The board, if there is no --topic-file.
  [TEXT | -]  What to post; - or nothing: read stdin. Put -- before a text that begins with -.
"""


@click.command(help=HELP)
@topic_options
@network_option()
@click.argument("text", metavar="[TEXT | -]", required=False)
@click.option("--file", type=PATH, metavar="FILE", help="Take the post from it; - is stdin.")
@click.option(
    "--ttl",
    type=DURATION,
    metavar="TIME",
    default="1d",
    help="How long it lies there: 90s, 30m, 3h, 3d; at most 7d. Rounded up to 10m, 30m, 1h, 3h, 1d, 3d, 7d.",
)
@click.option(
    "--author",
    type=PATH,
    metavar="FILE",
    help="Sign it with the identity in this file, which is made if there is none.",
)
@click.option("--name", metavar="WHO", help="Keep your posts on this board under this name.")
@click.option("--mine", is_flag=True, help="List your posts that have not expired.")
@click.option("--recall", metavar="ID", help="Take this post of yours back.")
@click.option("--extend", metavar="ID", help="Have this post of yours expire after --ttl from now.")
@click.option(
    "--wait",
    type=DURATION,
    metavar="TIME",
    default="3m",
    help="How long to try.",
)
@folder_option
@verbose_option
@bind_option
@via_option
@json_option
def post(
    topic: str | None,
    topic_file: Path | None,
    network: Path,
    text: str | None,
    file: Path | None,
    ttl: float,
    author: Path | None,
    name: str | None,
    mine: bool,
    recall: str | None,
    extend: str | None,
    wait: float,
    data: Path | None,
    bind: str | None,
    via: str | None,
    as_json: bool,
) -> int:
    """Post on a board: at most 65 535 bytes, from the command line, a file or stdin."""
    if topic_file is not None:
        if text is not None:
            raise Usage("TOPIC and --topic-file exclude each other.")
        topic, text = None, topic  # the one argument
    about = mine or recall is not None or extend is not None
    if about and (text is not None or file is not None):
        raise Usage("--mine, --recall and --extend are about posts that are there; leave the text out.")
    if mine + (recall is not None) + (extend is not None) > 1:
        raise Usage("--mine, --recall and --extend exclude each other.")
    if about and name is None:
        raise Usage("--mine, --recall and --extend need --name: without a name nothing is known of a post.")
    check_board_name(name)
    with as_usage():
        check_post_ttl(ttl, "--ttl")
    check_bind(bind)
    board = topic_of(topic, topic_file)
    body = b"" if about else _body(text, file, topic_file)
    with as_usage():
        identity = None if author is None else Identity.load_or_create(author)
    joined = read_network_file(network)
    check_reach(bind, joined, via)
    task = _Task(board, identity, name, body, ttl, wait, mine, recall, extend)
    teller = _Teller(name is not None, as_json=as_json)
    node = join(network, data_dir=data or network_folder(joined), bind=bind, via=via)
    status = run(lambda: _do(task, node, teller))
    if ended_by_signal() and not teller.is_told:
        teller.nothing_was_done()
    return status


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to be done, on which board."""

    topic: bytes | str = field(repr=False)
    author: Identity | None
    name: str | None
    body: bytes = field(repr=False)
    ttl_seconds: float
    wait_seconds: float
    mine: bool
    recall: str | None
    extend: str | None


def _body(text: str | None, file: Path | None, topic_file: Path | None) -> bytes:
    """What to post. Usage, TooLarge."""
    if text is not None and file is not None:
        raise Usage("TEXT and --file exclude each other.")
    if text not in (None, "-"):
        body = os.fsencode(text)
    else:
        source = file or STDIN
        if source == STDIN == topic_file:
            raise Usage("stdin cannot be both the topic and the post; give one of them another way.")
        body = read_source(source, POST_MOST + 1, "post")
        if not body and text is None and file is None:
            raise Usage('There is nothing on stdin to post; "" posts nothing on purpose.')
    if len(body) > POST_MOST:
        raise TooLarge(f"A post holds at most {POST_MOST} bytes; this is more.")
    return body


async def _do(task: _Task, joining: AbstractAsyncContextManager[Node], teller: _Teller) -> int:
    async with joining as node, node.board(task.topic, author=task.author, name=task.name) as board:
        if task.mine:
            return teller.mine(board.postings())
        if task.recall is not None:
            posting = _found(board, task.recall)
            gone = await posting.recall()
            return teller.recalled(posting, gone=gone)
        if task.extend is not None:
            posting = _found(board, task.extend)
            with as_usage():
                done = await posting.extend(task.ttl_seconds)
            if done:
                await _until_stored(posting, task.wait_seconds, teller)
            return teller.extended(posting, done=done)
        posting = await board.post(task.body, ttl_seconds=task.ttl_seconds)
        try:
            await _until_stored(posting, task.wait_seconds, teller)
        except trio.Cancelled:  # a signal
            teller.tell(posting, interrupted=True)
            raise
        return teller.tell(posting)


def _found(board: Board, post_id: str) -> Posting:
    for posting in board.postings():
        if posting.id == post_id:
            return posting
    raise Usage(f"No post of yours here has the id {one_line(post_id)}; --mine lists them.")


async def _until_stored(posting: Posting, wait: float, teller: _Teller) -> None:
    """Wait until it is stored, and a while for the other copies. Show meanwhile how far it is."""
    end, said = trio.current_time() + wait, ""
    while not posting.is_final and trio.current_time() < end and posting.copies[0] < COPIES_WANTED:
        if posting.status == "stored" and said != "stored":
            when_ended(0)
            said, end = "stored", trio.current_time() + COPIES_SECONDS
        elif posting.why not in ("", said):
            said = posting.why
            teller.meanwhile(f"{said}; trying on.")
        teller.show(posting)
        with trio.move_on_at(end):
            await posting.changed()


class _Teller:
    """Tells what became of posts: to a person, or as objects of JSON."""

    def __init__(self, named: bool, *, as_json: bool) -> None:
        self._named = named
        self._as_json = as_json
        self._bar = Bar()
        self.is_told = False

    def nothing_was_done(self) -> None:
        """A signal ended the command before there was a post to tell of."""
        sentence = "interrupted before anything was done."
        note(sentence)
        if self._as_json:
            print(json.dumps({"error": sentence}), flush=True)

    def meanwhile(self, line: str) -> None:
        """Say what a person who waits should know."""
        if not self._as_json:
            note(line)

    def show(self, posting: Posting) -> None:
        """Show how far it is."""
        if self._as_json:
            return
        copies, wanted = posting.copies
        if copies:
            self._bar.show(f"{filled(copies / wanted)} {copies} of {wanted} copies")
        elif posting.proof_seconds:
            self._bar.show(f"proof of work: {posting.proof_seconds:.0f} s")

    def tell(self, posting: Posting, *, interrupted: bool = False) -> int:
        """Tell how it ended. Returns the exit status."""
        self.is_told = True
        self._bar.clear()
        stored = posting.status == "stored"
        status = posting.status if stored or self._named else "failed"
        if stored:
            why = ""
        elif posting.status == "failed":  # and no run brings it further
            why = one_line(posting.why)
        else:
            why = posting.why or ("interrupted" if interrupted else "no relay took it in time")
            why = f"{one_line(why)}; {GOES_ON if self._named else GIVEN_UP}"
        if self._as_json:
            self._say(posting, status, why)
        elif stored:
            note(f"{_in_words(posting)}; the proof of work took {posting.proof_seconds:.1f} s.")
            print(posting.id, flush=True)
        else:
            note(f"not stored ({status}): {why}.")
        return 0 if stored else FAILED

    def mine(self, postings: Sequence[Posting]) -> int:
        """List one's own posts."""
        self.is_told = True
        for posting in postings:
            if self._as_json:
                self._say(posting, posting.status, posting.why)
            else:
                print(f"{posting.id}  {_in_words(posting)}", flush=True)
        if not postings and not self._as_json:
            note("there is no post of yours here that has not expired.")
        return 0

    def recalled(self, posting: Posting, *, gone: bool) -> int:
        """It was taken back."""
        self.is_told = True
        why = "" if gone else f"some relays did not answer; {GOES_ON}"
        if self._as_json:
            self._say(posting, posting.status, why)
        else:
            note(f"not taken back everywhere: {why}." if why else "taken back: every relay has erased it.")
        return 0 if gone else FAILED

    def extended(self, posting: Posting, *, done: bool) -> int:
        """It was extended."""
        self.is_told = True
        self._bar.clear()
        why = "" if done else f"too few relays have the new end; {GOES_ON}"
        if self._as_json:
            self._say(posting, posting.status, why)
        else:
            note(f"not extended everywhere: {why}." if why else f"{_in_words(posting)}.")
        return 0 if done else FAILED

    def _say(self, posting: Posting, status: str, why: str) -> None:
        said = {
            "status": status,
            "why": why,
            "id": posting.id,
            "copies": posting.copies[0],
            "expires": posting.expires,
            "proof_seconds": round(posting.proof_seconds, 6),
        }
        print(json.dumps(said), flush=True)


def _in_words(posting: Posting) -> str:
    """`stored, 4 of 4 copies, until 2026-11-27 14:03 UTC`."""
    copies, wanted = posting.copies
    until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(posting.expires))
    why = f" ({one_line(posting.why)})" if posting.why else ""
    return f"{posting.status}{why}, {copies} of {wanted} copies, until {until}"
