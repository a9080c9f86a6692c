"""`onionshh board`: what lies on a board, and what comes."""

from __future__ import annotations

import time
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import click
import trio

from onionshh.cli.defaults import InWords
from onionshh.cli.ending import run, when_ended
from onionshh.cli.failures import Usage
from onionshh.cli.folders import network_folder
from onionshh.cli.lines import Output, as_json, as_text
from onionshh.cli.options import (
    as_usage,
    bind_option,
    check_bind,
    check_reach,
    folder_option,
    json_option,
    network_option,
    via_option,
)
from onionshh.cli.talk import counted, encoded, note
from onionshh.cli.text import printable
from onionshh.cli.topics import check_board_name, topic_of, topic_options
from onionshh.cli.verbose import verbose_option
from onionshh.client.board.board import READ_MOST
from onionshh.client.board.post import Post
from onionshh.client.node import Node, join
from onionshh.net.network_file import read_network_file

AUTHOR_DIGITS = 8

HELP = """Show what lies on a board: all posts that have not expired, or with --watch also what comes.

A TOPIC is a name, or with --topic-file a file of 32 random bytes, which all members share. Each post is
shown with the time that its author gives, a mark for the author, and its number. "3 missing" says that three
posts of that author right before it did not come: they have expired, were taken back, or relays hide them.

With --name this board remembers what it has shown. Then --watch goes on behind the last post that was shown,
and --after CURSOR shows only what is behind that one; with --json each post has its cursor. Cursors of one
name mean nothing to another.

\b
With --json, one object per line:
  {"id": "…", "author": "…" or null, "number": 3, "missing": 0, "late": false,
   "posted_at": Unix seconds, "expires": Unix seconds, "cursor": "…" or null, "body": "…"}
A body that is not UTF-8 comes as body_base64. late: later posts of this author were shown before it.

\b
Examples:
  onionshh board chess
  onionshh board chess --watch --name me
  onionshh board --topic-file club --json --name bot --after 1f0c…-17

\b
Arguments:
  [TOPIC]  The board, if there is no --topic-file.
"""


@click.command(help=HELP)
@topic_options
@network_option()
@click.option("--watch", is_flag=True, help="Go on, and show what comes, until ended.")
@click.option("--after", metavar="CURSOR", help="Show only what is behind this post. Needs --name.")
@click.option(
    "--limit",
    cls=InWords,
    type=click.IntRange(1, READ_MOST),
    metavar="N",
    show_default="all",
    help="At most N posts.",
)
@click.option("--name", metavar="WHO", help="Remember under this name what was shown.")
@folder_option
@verbose_option
@bind_option
@via_option
@json_option
def board(
    topic: str | None,
    topic_file: Path | None,
    network: Path,
    watch: bool,
    after: str | None,
    limit: int | None,
    name: str | None,
    data: Path | None,
    bind: str | None,
    via: str | None,
    as_json: bool,
) -> int:
    """Show what lies on a board: all posts that have not expired, or with --watch also what comes."""
    if topic is not None and topic_file is not None:
        raise Usage("TOPIC and --topic-file exclude each other.")
    if after is not None and name is None:
        raise Usage("--after needs --name: a cursor means something only to the board that gave it.")
    if after is not None and watch:
        raise Usage("--after and --watch exclude each other; --watch goes on behind what was shown last.")
    if limit is not None and watch:
        raise Usage("--limit and --watch exclude each other.")
    if watch:
        when_ended(0)
    check_board_name(name)
    check_bind(bind)
    found = topic_of(topic, topic_file)
    joined = read_network_file(network)
    check_reach(bind, joined, via)
    node = join(network, data_dir=data or network_folder(joined), bind=bind, via=via)
    task = _Task(found, name, after or "", limit or READ_MOST, watch, as_json)
    return run(lambda: _show(task, node))


@dataclass(frozen=True, slots=True)
class _Task:
    """What is to be shown, of which board."""

    topic: bytes | str = field(repr=False)
    name: str | None
    after: str
    limit: int
    watch: bool
    as_json: bool

    def line(self, post: Post) -> bytes:
        """One post, as it is shown."""
        return _as_object(post) if self.as_json else encoded(_as_lines(post))


async def _show(task: _Task, joining: AbstractAsyncContextManager[Node]) -> int:
    output = Output(gives_up=not task.watch)
    async with (
        trio.open_nursery() as nursery,
        joining as node,
        node.board(task.topic, name=task.name) as board,
    ):
        nursery.start_soon(output.run)
        if task.watch:
            async for post in board:
                await output.show(task.line(post))
        with as_usage():
            posts = await board.read(task.after, task.limit)
        for post in posts:
            await output.show(task.line(post))
        if not posts and not task.as_json:
            note("nothing lies on this board now.")
        nursery.cancel_scope.cancel()
    return 0


def _as_object(post: Post) -> bytes:
    said: dict[str, object] = {
        "id": post.id,
        "author": post.author,
        "number": post.number,
        "missing": post.missing,
        "late": post.late,
        "posted_at": post.posted_at,
        "expires": post.expires,
        "cursor": post.cursor or None,
    }
    return as_json(said | as_text("body", post.body))


def _as_lines(post: Post) -> str:
    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(post.posted_at))
    parts = [when, "no author" if post.author is None else f"{post.author[:AUTHOR_DIGITS]} #{post.number}"]
    if post.missing:
        parts.append(f"{counted(post.missing, 'post')} missing")
    if post.late:
        parts.append("late")
    # Each line of the body begins with a mark, so that none can pass for a line of ours.
    body = "".join(f"\n  | {line}" for line in printable(post.body).split("\n"))
    return f"{', '.join(parts)}{body}\n"
