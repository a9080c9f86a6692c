"""A chat room for people who share a secret.

    (umask 077; head -c 32 /dev/urandom > room)
    python tests/examples/chat.py room anna

Each line on stdin is said to all; Ctrl-C ends the program. Whoever was away sees what was said meanwhile, up
to a day back, when the program runs again. Nobody but the members can read it, and no member learns where
another one is.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

import onionshh

DAY = 86_400.0


@dataclass(frozen=True)
class Line:
    """One thing that somebody said. `nick` is what they call themselves; `who` is a mark that nobody else can
    have. `missing`: how many lines of theirs before it did not come."""

    nick: str
    text: str
    who: str | None
    missing: int


async def say(room: onionshh.Board, nick: str, text: str) -> onionshh.Posting:
    """Say something to all. It is on disk when this returns, and goes on after a crash."""
    return await room.post(json.dumps({"nick": nick, "text": text}).encode(), ttl_seconds=DAY)


async def listen(room: onionshh.Board) -> AsyncIterator[Line]:
    """What was said since we were here last, and then what is said. A line counts as heard when the next one
    is asked for."""
    async for post in room:
        try:
            said = json.loads(post.body)
            line = Line(str(said["nick"]), str(said["text"]), post.author, post.missing)
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
        yield line


async def read_stdin(room: onionshh.Board, nick: str) -> None:
    """Say each line of stdin. A thread waits for them, which does not hold up the end of the program."""
    begun = b""
    while data := await trio.to_thread.run_sync(os.read, 0, 65_536, abandon_on_cancel=True):
        *lines, begun = (begun + data).split(b"\n")
        for line in lines:
            await say(room, nick, line.decode(errors="replace"))


def plain(text: str) -> str:
    """What members wrote, without what would move the cursor or forge a line."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


async def run(secret: bytes, nick: str) -> None:
    me = onionshh.Identity.load_or_create(f"{nick}/identity")
    async with (
        onionshh.join(data_dir=nick) as node,
        node.board(secret, author=me, name=nick) as room,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(read_stdin, room, nick)
        async for line in listen(room):
            gap = f" ({line.missing} missing before)" if line.missing else ""
            print(f"{plain(line.nick)}: {plain(line.text)}{gap}", flush=True)


def ended(program: Callable[[], Awaitable[None]]) -> int:
    """Run this until it ends. What a person can mend is said in a sentence. Returns the exit status."""
    status = 0
    try:
        trio.run(program)
    except* KeyboardInterrupt:
        pass
    except* (onionshh.Error, OSError) as group:
        status = 1
        for sentence in sentences(group):
            print(sentence, file=sys.stderr)
    return status


def sentences(error: BaseException) -> Iterator[str]:
    """What went wrong, also where several things did."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from sentences(one)
    else:
        yield str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description="A chat room for people who share a secret.")
    parser.add_argument("room", type=Path, help="the file of the secret, 32 bytes")
    parser.add_argument("nick", help="what you call yourself, and the folder of what you heard")
    asked = parser.parse_args()
    try:
        secret = asked.room.read_bytes()
    except OSError as error:
        parser.error(f"cannot read {asked.room}: {error.strerror}")
    if len(secret) != 32:
        parser.error(f"{asked.room} has {len(secret)} bytes; the secret of a room has 32")
    return ended(partial(run, secret, asked.nick))


if __name__ == "__main__":
    sys.exit(main())
