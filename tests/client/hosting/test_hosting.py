"""An endpoint put together from its parts: held alone, read before it runs, closed when it is over."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.hosting.hosting import (
    DATABASE_FILE,
    MIGRATIONS,
    Hosting,
    endpoint_folder,
    open_hosting,
    put_together,
)
from onionshh.client.hosting.key_store import KEY_MIGRATIONS
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadData, Closed, DataInUse
from onionshh.net.database import Database
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import run_inline
from tests.client.world import small, until
from tests.inside import inside
from tests.seeded import seeded

IDENTITY = IdentityKeys.generate(seeded(3))
QUIET = dict(interval_seconds=300)


def test_a_listing_of_folders_shows_no_address() -> None:
    folder = endpoint_folder(InMemory(), IDENTITY)
    assert folder is not endpoint_folder(InMemory(), IDENTITY)
    shown = folder.named("x")
    assert IDENTITY.address not in shown
    assert IDENTITY.A.hex()[:8] not in shown


def test_one_file_has_the_formats_of_both_stores() -> None:
    assert MIGRATIONS[0] == KEY_MIGRATIONS[0] + WHISPER_MIGRATIONS[0]
    assert len(MIGRATIONS) == len(KEY_MIGRATIONS) + len(WHISPER_MIGRATIONS) - 1


async def test_the_parts_alone_do_nothing(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        before = len(node.circuits())
        database = Database(":memory:", MIGRATIONS, run_inline)
        made = put_together(inside(node), IDENTITY, database, introducers=2)
        await trio.sleep(30)
        assert len(node.circuits()) <= before + 4  # those that every node builds ahead
        assert not made.introducers.entries
        assert made.reachability.state.why == "it has just started"
        assert IDENTITY.A.hex() not in repr(made)
        database.close()


async def test_it_is_held_alone_until_it_is_over(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        hosting = await open_hosting(context, IDENTITY, 1, None)
        with pytest.raises(DataInUse):
            await open_hosting(context, IDENTITY, 1, None)
        await hosting.start()
        await until(lambda: hosting.parts.reachability.state.reachable)
        over = [hosting.over]
        with trio.CancelScope() as scope:  # leaving is not cut short by a cancellation
            scope.cancel()
            await hosting.aclose()
        over.append(hosting.over)
        assert over == [False, True]
        with pytest.raises(Closed):
            await hosting.parts.database.read(lambda connection: None)
        assert await hosting.next() is None
        again = await open_hosting(context, IDENTITY, 1, None)
        await again.start()
        await again.aclose()


async def test_what_cannot_be_opened_is_let_go_of(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        folder = endpoint_folder(context.folder, IDENTITY)
        with ExitStack() as held:
            held.enter_context(folder.lock())
            with pytest.raises(DataInUse):
                await open_hosting(context, IDENTITY, 1, None)
        (net.folder / "host").joinpath(folder.named(DATABASE_FILE)).write_bytes(b"no database" * 500)
        for _ in range(2):  # the second time it is damaged still, and not in use
            with pytest.raises(BadData):
                await open_hosting(context, IDENTITY, 1, None)


async def test_a_whisper_let_go_after_the_end_harms_nothing(autojump_clock: MockClock) -> None:
    hosting: Hosting | None = None
    async with small(4, **QUIET) as net:
        async with net.join("host") as node:
            hosting = await open_hosting(inside(node), IDENTITY, 1, None)
            await hosting.start()
        await until(lambda: hosting is not None and hosting.over)  # the node ended it
        hosting.let_go(b"w" * 16)  # type: ignore[arg-type]
        with pytest.raises(Closed):
            await hosting.finish(b"w" * 16)  # type: ignore[arg-type]
