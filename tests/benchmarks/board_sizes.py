"""How long it takes somebody new to read a board, by the posts that lie there.

    python -m tests.benchmarks.board_sizes
    python -m tests.benchmarks.board_sizes --counts 100 --spread 300     a short run

All relays, and the reader, are in one process: real links over loopback, one core for everyone. What is not
real, in both rows:

- The relays ask for no proof of work, since a board of many posts costs hours of it to fill.
- The posts do not come over circuits. They are handed to the relays that keep them, in bunches, as if each
  bunch came over another neighbour.

In the first row all posts lie in one mailbox. One holds 4 096 items, and a reader takes 16 pages of heads
from a relay, 4 800 items. For 10 000 posts both bounds are raised (ITEMS_MOST, PAGES_MOST), so that figure is
of a board that cannot be; those of 100 and of 1 000 are within the bounds.

In the second row no bound is raised. 10 000 posts of one author lie in the mailboxes of three days, a third
in each. A network that starts now has no random value of the day before yesterday, so its directory is given
one. And the relays take what is left for that day as if it were still in the window in which they do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any, Final

import trio

from onionshh import testing
from onionshh.client.board import reading
from onionshh.core.base.params import Params
from onionshh.core.board.entry import Entry, seal_entry
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox import price
from onionshh.core.mailbox.item import make_put
from onionshh.core.mailbox.places import writable
from onionshh.core.roles import Origin, Remember
from onionshh.crypto.identity import SigningKey
from onionshh.directory import issuer
from onionshh.directory.consensus import next_random
from onionshh.geometry import HASH
from onionshh.rendezvous import mailbox_deposits, mailboxes
from onionshh.rendezvous.mailboxes import Mailboxes
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from onionshh.wire.consensus import SharedRandom
from tests.benchmarks.measured import Measured, single, some
from tests.inside import inside

COUNTS: Final = (100, 1_000, 10_000)
SPREAD: Final = 10_000
"""Posts over three days."""
DAYS: Final = 3
RELAYS: Final = 8
SECONDS: Final = 3600
BODY: Final = bytes(256)
BATCH: Final = 64


def measure(counts: Sequence[int] = COUNTS, spread: int = SPREAD) -> list[Measured]:
    """Both rows of this file; about three minutes."""
    told = _child("one", "--counts", *map(str, counts))
    seconds = {int(count): value for count, value in told.items()}
    days = _child("days", "--spread", str(spread))
    return [
        Measured("a board read anew, by posts (all in one process)", "s", values=seconds),
        single(f"a board of {spread} posts over {DAYS} days, by somebody new", "s", days["seconds"]),
    ]


def _child(*arguments: str) -> dict[str, Any]:
    """In a process of its own: what is raised stays there."""
    command = [sys.executable, "-m", "tests.benchmarks.board_sizes", "--child", *arguments]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told


class _Depositor:
    """A circuit on which a role hears of deposits, as far as the role sees it."""

    binding = bytes(32)
    joined = False
    waiting_messages = 0

    def __init__(self, number: int) -> None:
        self.origin: Origin = f"192.0.{number // 256}.{number % 256}"


def _fill(role: Mailboxes, puts: list[w.Put], wall: int) -> None:
    """Have a relay keep these items."""
    for at in range(0, len(puts), BATCH):
        circuit = _Depositor(at // BATCH)
        tokens, rows = [], list[object]()
        for put in puts[at : at + BATCH]:
            for action in role.handle(circuit, m.PUT, put.encode(), 0.0, wall):
                if isinstance(action, Remember):
                    tokens.append(action.token)
                    rows += action.rows
        role.store.commit(rows)
        for token in tokens:
            role.remembered(token, 0.0, wall)
        role.circuit_closed(circuit, 0.0)


def _puts(topic: Topic, author: SigningKey, period: int, numbers: range) -> list[w.Put]:
    """Posts of one author with these numbers, in the mailbox of this period."""
    mailbox, wall = topic.mailbox(period), int(time.time())
    puts = []
    for number in numbers:
        key = SigningKey(os.urandom(32))
        entry = Entry(author.public, number, wall // 60, os.urandom(16), 0, 1, BODY)
        value = seal_entry(topic, mailbox, key.public, author, entry, os.urandom)
        puts.append(make_put(key, mailbox, expires=wall + SECONDS, revision=0, value=value))
    return puts


async def _seconds(net: testing.Network, number: int, count: int, days: int = 1) -> float:
    """How long a board is read on which so many posts lie, in the mailboxes of so many periods."""
    secret = bytes((number,)) * 32
    topic, author = Topic.of(secret), SigningKey(os.urandom(32))
    async with net.join() as node:
        context = inside(node)
        for day in range(days):
            period = context.view.period - days + 1 + day
            places = writable(context.view, topic.mailbox(period))
            keepers = {row.identity for place in places or () for row in place}
            numbers = range(1 + count * day // days, 1 + count * (day + 1) // days)
            puts = _puts(topic, author, period, numbers)
            for running in net.relays:
                if running.relay.keys.relay_id in keepers:
                    (role,) = (role for role in running.roles if isinstance(role, Mailboxes))
                    _fill(role, puts, int(time.time()))
                    await trio.sleep(0)
        async with node.board(secret) as board:
            started = time.perf_counter()
            posts = await board.read(limit=100_000)
            seconds = time.perf_counter() - started
    if [post.number for post in posts] != list(range(1, count + 1)):
        raise ValueError(f"{len(posts)} of {count} posts were read, or not in their order")
    return seconds


async def _one(counts: Sequence[int]) -> None:
    """All posts in one mailbox, with bounds raised where they must be."""
    if max(counts) > price.ITEMS_MOST[w.BOARD]:
        vars(reading).update(PAGES_MOST=64)
        price.ITEMS_MOST[w.BOARD] = 2 * max(counts)
    async with testing.network(RELAYS, transport="loopback") as net:
        found: dict[str, Any] = {}
        for number, count in enumerate(counts):
            found[str(count)] = await _seconds(net, number, count)
    print(json.dumps(found))


async def _days(spread: int) -> None:
    """In the mailboxes of three days, with the bounds as they are."""

    def with_older(held: Sequence[SharedRandom], *, params: Params, valid_after: int, **rest: Any) -> Any:
        period = params.period_of(valid_after)
        days = [SharedRandom(period - day, os.urandom(HASH), valid_after) for day in range(1, DAYS)]
        return next_random((*days, *held), params=params, valid_after=valid_after, **rest)

    vars(issuer).update(next_random=with_older)
    vars(mailboxes).update(in_window=lambda *_: True)
    async with testing.network(RELAYS, transport="loopback") as net:
        print(json.dumps({"seconds": await _seconds(net, 0, spread, DAYS)}))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.board_sizes")
    parser.add_argument("--counts", type=some, nargs="+", default=COUNTS, help="posts in one mailbox")
    parser.add_argument("--spread", type=some, default=SPREAD, help="posts over three days")
    parser.add_argument("--child", choices=("one", "days"), help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    vars(mailbox_deposits).update(price=lambda *_, **__: 0)
    if options.child == "one":
        trio.run(_one, options.counts)
    elif options.child == "days":
        trio.run(_days, options.spread)
    else:
        for row in measure(options.counts, options.spread):
            print(row.line())


if __name__ == "__main__":
    main()
