"""Keys for letters: one a period, on disk with their dates, and gone when no letter can be left for them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from onionshh.client.hosting.letter_keys import KEPT_SECONDS, LETTER_KEY_MIGRATIONS, LetterKeys
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from tests.client.world import WALL, bytes_on_disk
from tests.seeded import seeded

PERIOD = 20_717


@asynccontextmanager
async def opened(folder: Path, seed: int = 1) -> AsyncIterator[tuple[LetterKeys, Database]]:
    database = Database(folder / "endpoint.db", LETTER_KEY_MIGRATIONS, run_inline)
    try:
        keys = LetterKeys(database, seeded(seed))
        await keys.load()
        yield keys, database
    finally:
        database.close()


async def test_a_key_is_made_once_and_its_date_only_grows(tmp_path: Path) -> None:
    async with opened(tmp_path) as (keys, _):
        first = await keys.key_until(PERIOD, WALL + 10)
        other = await keys.key_until(PERIOD + 1, WALL + 10)
        assert first.key.public != other.key.public
        later = await keys.key_until(PERIOD, WALL + 20)
        assert (later.key.public, later.until) == (first.key.public, WALL + 20)
        earlier = await keys.key_until(PERIOD, WALL + 15)
        assert earlier.until == WALL + 20
    async with opened(tmp_path, seed=2) as (keys, _):
        again = await keys.key_until(PERIOD, WALL)
        assert (again.key.public, again.until) == (first.key.public, WALL + 20)


async def test_the_latest_keys_are_tried_first(tmp_path: Path) -> None:
    async with opened(tmp_path) as (keys, _):
        for number in (2, 0, 1):
            await keys.key_until(PERIOD + number, WALL)
    async with opened(tmp_path, seed=2) as (keys, _):
        assert [key.period - PERIOD for key in keys.newest_first(2)] == [2, 1]


async def test_a_key_is_erased_when_the_last_letter_for_it_is_gone(tmp_path: Path) -> None:
    async with opened(tmp_path) as (keys, database):
        old = (await keys.key_until(PERIOD, WALL)).key.to_bytes()
        new = (await keys.key_until(PERIOD + 1, WALL + 1)).key.to_bytes()
        await keys.tidy(WALL + KEPT_SECONDS)
        assert len(keys.newest_first(16)) == 2
        await keys.tidy(WALL + KEPT_SECONDS + 1)
        assert [key.period for key in keys.newest_first(16)] == [PERIOD + 1]
        await database.empty_log()
        on_disk = bytes_on_disk(tmp_path)
        assert old not in on_disk
        assert new in on_disk


async def test_no_secret_shows_when_printed(tmp_path: Path) -> None:
    async with opened(tmp_path) as (keys, _):
        key = await keys.key_until(PERIOD, WALL)
        assert key.key.to_bytes().hex()[:16] not in repr(key)
        assert repr(key.key.to_bytes())[2:20] not in repr(key)
