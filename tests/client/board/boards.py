"""What the tests of boards share: networks of honest and of bent relays, and posts that are made by hand."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import onionshh
from onionshh import testing
from onionshh.client.board.folder import MIGRATIONS
from onionshh.client.board.store import BoardStore
from onionshh.client.context import Context
from onionshh.client.mail.deposits import SealedItem
from onionshh.core.base.drops import Drops
from onionshh.core.board.entry import Entry, seal_entry, split_post
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.item import make_put
from onionshh.crypto.ed25519 import SigningKey
from onionshh.crypto.primitives import kdf
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.wire import mailbox as w
from tests.client.mail.postal import Bent, places_of
from tests.client.world import QUIET, WALL, small
from tests.seeded import seeded

HOUR = 3600
DAY = 86_400
SECRET = bytes(range(32))
TOPIC = Topic.of(SECRET)
PERIOD = WALL // DAY
BOX = TOPIC.mailbox(PERIOD)
ALICE, BOB = (SigningKey.generate(seeded(n)) for n in (1001, 1002))


def network(relays: int = 8, **params: int) -> AbstractAsyncContextManager[testing.Network]:
    """A quiet network of a few relays, with a consensus every ten minutes."""
    return small(relays, **{"interval_seconds": 600, **QUIET, **params})


def at_six(context: Context, relays: dict[RelayId, Bent], *, before: int = 0) -> list[Bent]:
    """The relays that are asked for the board: three of the first place, then three of the second."""
    box = TOPIC.mailbox(context.view.period - before)
    return [relays[relay] for place in places_of(context, box) for relay in place]


def kept(relays: dict[RelayId, Bent]) -> int:
    """Items at all relays."""
    return sum(bent.kept for bent in relays.values())


def bodies(posts: Sequence[onionshh.Post]) -> list[bytes]:
    return [post.body for post in posts]


def numbers(posts: Sequence[onionshh.Post]) -> list[tuple[int, int, bool]]:
    """The number, how many are missing, and whether it is late."""
    return [(post.number, post.missing, post.late) for post in posts]


def written(
    author: SigningKey | None,
    number: int,
    body: bytes,
    *,
    expires: int,
    mailbox: w.Mailbox = BOX,
    mark: str = "",
    posted: int = WALL,
    again: str = "",
) -> list[SealedItem]:
    """The items of a post, as its author makes them. `mark`: for another post of the same number. `again`:
    for other items of the same post."""
    key = author or SigningKey(kdf("test author", body, mark.encode()))
    post_id = kdf("test post", key.public, number.to_bytes(4, "big"), body, mark.encode(), length=16)
    chunks = split_post(body)
    made = []
    for part, chunk in enumerate(chunks):
        seed = kdf("test item", post_id, bytes((part,)), mailbox.encode(), again.encode())
        entry = Entry(key.public, number, posted // 60, post_id, part, len(chunks), chunk)
        item_id = SigningKey(seed).public
        value = seal_entry(TOPIC, mailbox, item_id, key, entry, seeded(int.from_bytes(item_id[:4])))
        made.append(SealedItem(mailbox, seed, expires, value))
    return made


def item_of(sealed: SealedItem, *, expires: int | None = None, revision: int = 0) -> w.Item:
    """What a relay gives that has this item."""
    expires = sealed.expires if expires is None else expires
    put = make_put(
        SigningKey(sealed.seed), sealed.mailbox, expires=expires, revision=revision, value=sealed.value
    )
    return w.Item(sealed.item_id, expires, revision, put.signature, sealed.value)


def context_without_network() -> Context:
    """The clock and the counts of what is dropped. Nothing else of it may be used."""
    clock = Clock(WALL)
    clock.confirm(WALL)
    return cast(Context, SimpleNamespace(clock=clock, drops=Drops()))


@dataclass(frozen=True)
class Tables:
    """An open file of a board."""

    database: Database
    store: BoardStore


@asynccontextmanager
async def tables_in(folder: Path) -> AsyncIterator[Tables]:
    database = Database(folder / "board.db", MIGRATIONS, run_inline)
    try:
        yield Tables(database, BoardStore(database))
    finally:
        await database.aclose()
