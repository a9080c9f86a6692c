"""How long it takes somebody new to read a board, by the posts that lie there.

    python -m tests.benchmarks.board_sizes

A board of many posts costs hours of work to fill. So here the relays ask for none, and all of them, and the
reader, are in one process: real links over loopback, one core for everyone. All posts lie in one mailbox.
With work, one holds 4 096, and 10 000 posts lie in those of three days.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from typing import Any, Final

import trio

from onionshh import testing
from onionshh.client.board import reading
from onionshh.client.context import Context
from onionshh.core.board.entry import Entry, seal_entry
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox import price
from onionshh.core.mailbox.item import make_put
from onionshh.core.mailbox.places import writable
from onionshh.core.roles import Origin, Remember
from onionshh.crypto.identity import SigningKey
from onionshh.rendezvous import mailbox_deposits, mailboxes
from onionshh.rendezvous.mailboxes import Mailboxes
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from tests.benchmarks.measured import Measured
from tests.inside import inside

COUNTS: Final = (100, 1_000, 10_000)
RELAYS: Final = 8
SECONDS: Final = 3600
BODY: Final = bytes(256)
BATCH: Final = 64


def measure() -> list[Measured]:
    """The one row of this file; about a minute and a half."""
    command = [sys.executable, "-m", "tests.benchmarks.board_sizes", "child"]
    told = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    seconds = {int(count): value for count, value in told.items()}
    return [Measured("a board read anew, by posts (all in one process)", "s", values=seconds)]


class _Depositor:
    """A circuit on which a role hears of deposits, as far as the role sees it."""

    binding = bytes(32)
    origin: Origin = "192.0.2.1"
    joined = False
    waiting_messages = 0


def _fill(role: Mailboxes, puts: list[w.Put], wall: int) -> None:
    """Have a relay keep these items."""
    circuit = _Depositor()
    for at in range(0, len(puts), BATCH):
        tokens, rows = [], list[object]()
        for put in puts[at : at + BATCH]:
            for action in role.handle(circuit, m.PUT, put.encode(), 0.0, wall):
                if isinstance(action, Remember):
                    tokens.append(action.token)
                    rows += action.rows
        role.store.commit(rows)
        for token in tokens:
            role.remembered(token, 0.0, wall)


def _puts(context: Context, topic: Topic, count: int) -> list[w.Put]:
    """So many posts of one author."""
    author, mailbox = SigningKey(os.urandom(32)), topic.mailbox(context.view.period)
    wall = int(time.time())
    puts = []
    for number in range(1, count + 1):
        key = SigningKey(os.urandom(32))
        entry = Entry(author.public, number, wall // 60, os.urandom(16), 0, 1, BODY)
        value = seal_entry(topic, mailbox, key.public, author, entry, os.urandom)
        puts.append(make_put(key, mailbox, expires=wall + SECONDS, revision=0, value=value))
    return puts


async def _seconds(net: testing.Network, number: int, count: int) -> float:
    secret = bytes((number,)) * 32
    topic = Topic.of(secret)
    async with net.join() as node:
        context = inside(node)
        places = writable(context.view, topic.mailbox(context.view.period))
        keepers = {row.identity for place in places or () for row in place}
        puts = _puts(context, topic, count)
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


async def _child() -> None:
    vars(mailbox_deposits).update(price=lambda *_, **__: 0)
    vars(mailboxes).update(REQUESTS_MOST=100_000, PUT_RATE=10**9, PUT_BURST=10**9)
    vars(reading).update(PAGES_MOST=64)
    price.ITEMS_MOST[w.BOARD] = 2 * max(COUNTS)
    async with testing.network(RELAYS, transport="loopback") as net:
        found: dict[str, Any] = {}
        for number, count in enumerate(COUNTS):
            found[str(count)] = await _seconds(net, number, count)
    print(json.dumps(found))


if __name__ == "__main__":
    if len(sys.argv) > 1:
        trio.run(_child)
    else:
        for row in measure():
            print(row.line())
