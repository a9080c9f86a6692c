"""Parts on disk and in memory: the whole comes out once all are there, also after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.client.mail.part_store import (
    MAIL_PART_MIGRATIONS,
    TIDY_SECONDS,
    Parts,
    PartsInMemory,
    PartsOnDisk,
    keep_tidy,
)
from onionshh.core.mailbox import gather
from onionshh.errors import BadData, ProtocolError
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from tests.client.world import WALL, bytes_on_disk, small
from tests.inside import inside

LATER = WALL + 86_400
NAME, OTHER = b"n" * 32, b"o" * 32


@asynccontextmanager
async def context() -> AsyncIterator[Context]:
    async with small(3) as net, net.join() as node:
        yield inside(node)


@asynccontextmanager
async def on_disk(context: Context, path: Path) -> AsyncIterator[PartsOnDisk]:
    database = Database(path, MAIL_PART_MIGRATIONS, run_inline)
    try:
        parts = PartsOnDisk(context, database)
        await parts.load()
        yield parts
    finally:
        await database.aclose()


async def full(*_: object, **__: object) -> None:
    raise BadData("the disk is full")


async def put(parts: Parts, *numbers: int, name: bytes = NAME) -> list[bytes | None]:
    return [await parts.add(name, number, 3, b"part %d " % number, LATER) for number in numbers]


async def test_the_whole_comes_out_when_all_are_there(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with context() as node, on_disk(node, tmp_path / "parts.db") as disk:
        for parts in (disk, PartsInMemory(node)):
            await parts.load()
            assert await put(parts, 2, 0, 2) == [None, None, None]
            assert await put(parts, 1, 1) == [b"part 0 part 1 part 2 "] * 2
            await parts.done(NAME)
            await parts.done(NAME)
            assert await put(parts, 1) == [None]


async def test_parts_outlive_a_restart_and_are_erased_with_the_whole(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with context() as node:
        async with on_disk(node, tmp_path / "parts.db") as parts:
            await put(parts, 0, 2)
            await put(parts, 0, name=OTHER)
        assert b"part 2" in bytes_on_disk(tmp_path)
        async with on_disk(node, tmp_path / "parts.db") as parts:
            assert await put(parts, 1) == [b"part 0 part 1 part 2 "]
            assert await put(parts, 1) == [b"part 0 part 1 part 2 "], "the whole could not be kept"
            await parts.done(NAME)
        assert b"part 2" not in bytes_on_disk(tmp_path)
        async with on_disk(node, tmp_path / "parts.db") as parts:
            assert await put(parts, 1, 2, name=OTHER) == [None, b"part 0 part 1 part 2 "]


async def test_what_never_becomes_whole_is_erased_in_its_time(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also if no other part ever comes, after a restart, and if the disk fails first."""
    async with context() as node:
        until = node.clock.earliest() + 600
        async with on_disk(node, tmp_path / "parts.db") as parts:
            await parts.add(NAME, 0, 3, b"half a letter", until)
            await parts.tidy()
        async with on_disk(node, tmp_path / "parts.db") as parts, trio.open_nursery() as nursery:
            await put(parts, 0, name=OTHER)
            assert b"half a letter" in bytes_on_disk(tmp_path)
            nursery.start_soon(keep_tidy, parts)
            with monkeypatch.context() as patch:
                patch.setattr(Database, "transaction", full)
                while node.clock.earliest() < until + TIDY_SECONDS:
                    await trio.sleep(TIDY_SECONDS)
            await trio.sleep(TIDY_SECONDS + 1)
            nursery.cancel_scope.cancel()
        assert b"half a letter" not in bytes_on_disk(tmp_path)
        assert b"part 0" in bytes_on_disk(tmp_path)
        assert node.drops.counts[Reason.LETTER_EXPIRED] == 1


async def test_what_comes_in_one_part_touches_no_disk(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with context() as node, on_disk(node, tmp_path / "parts.db") as parts:
        assert await parts.add(NAME, 0, 1, b"all of it", LATER) == b"all of it"
        await parts.done(NAME)
        assert b"all of it" not in bytes_on_disk(tmp_path)


async def test_a_part_that_contradicts_is_refused(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with context() as node, on_disk(node, tmp_path / "parts.db") as parts:
        await put(parts, 0)
        with pytest.raises(ProtocolError) as caught:
            await parts.add(NAME, 0, 3, b"another", LATER)
        assert caught.value.reason is Reason.LETTER_PARTS
        assert await put(parts, 1, 2) == [None, b"part 0 part 1 part 2 "]


async def test_what_is_given_up_is_erased_and_counted(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gather, "LETTERS_MOST", 1)
    async with context() as node:
        async with on_disk(node, tmp_path / "parts.db") as parts:
            await put(parts, 0)
            await parts.add(OTHER, 0, 2, b"other", LATER)
            assert node.drops.counts[Reason.LETTER_DISPLACED] == 1
        assert b"part 0" not in bytes_on_disk(tmp_path)


async def test_a_full_disk_keeps_nothing_and_loses_nothing(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with context() as node, on_disk(node, tmp_path / "parts.db") as parts:
        with monkeypatch.context() as patch:
            patch.setattr(Database, "transaction", full)
            with pytest.raises(BadData):
                await put(parts, 0)
        assert await put(parts, 0, 1, 2) == [None, None, b"part 0 part 1 part 2 "]


async def test_two_stores_of_one_database_know_their_own_parts(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """What strangers leave in one displaces nothing in the other, also after a restart."""
    async with context() as node:
        for _ in range(2):
            database = Database(tmp_path / "parts.db", MAIL_PART_MIGRATIONS, run_inline)
            strangers = PartsOnDisk(node, database, lambda name: name != NAME)
            peers = PartsOnDisk(node, database, lambda name: name == NAME)
            for parts in (strangers, peers):
                await parts.load()
            await put(peers, 0, 2)
            for number in range(1100):
                await put(strangers, 0, name=number.to_bytes(32))
            await database.aclose()
        database = Database(tmp_path / "parts.db", MAIL_PART_MIGRATIONS, run_inline)
        peers = PartsOnDisk(node, database, lambda name: name == NAME)
        await peers.load()
        assert await put(peers, 1) == [b"part 0 part 1 part 2 "]
        await database.aclose()
