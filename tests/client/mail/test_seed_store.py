"""The seed of a period: one at a time, on disk or in memory, until it is erased."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.seed_store import SEED_MIGRATIONS, PeriodSeed, Seeds, SeedsInMemory, SeedStore
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from tests.client.world import bytes_on_disk

FIRST, SECOND = PeriodSeed(7, b"first".ljust(32, b".")), PeriodSeed(8, b"second".ljust(32, b"."))


async def go_through(seeds: Seeds) -> None:
    assert await seeds.load() is None
    await seeds.keep(FIRST)
    assert await seeds.load() == FIRST
    await seeds.keep(SECOND)
    assert await seeds.load() == SECOND


async def test_in_memory() -> None:
    seeds = SeedsInMemory()
    await go_through(seeds)
    seeds.forget()
    assert await seeds.load() is None


@pytest.mark.parametrize("forgets", [False, True])
async def test_on_disk(forgets: bool, tmp_path: Path, autojump_clock: MockClock) -> None:
    path = tmp_path / "contact.db"
    async with (
        aclosing(Database(path, SEED_MIGRATIONS, run_inline)) as database,
        trio.open_nursery() as tasks,
    ):
        tasks.start_soon(database.keep_erased)
        seeds = SeedStore(database)
        await go_through(seeds)
        if forgets:
            seeds.forget()
        await trio.sleep(2)
        assert FIRST.seed not in bytes_on_disk(tmp_path)
        assert (SECOND.seed in bytes_on_disk(tmp_path)) is not forgets
        tasks.cancel_scope.cancel()
    async with aclosing(Database(path, SEED_MIGRATIONS, run_inline)) as database:
        assert await SeedStore(database).load() == (None if forgets else SECOND)
