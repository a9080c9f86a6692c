"""One's own posts on disk, until their time is over."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from onionshh.client.board.own_store import OwnPost, OwnPosts
from onionshh.core.board.entry import NUMBER_MOST
from onionshh.errors import BadData, Closed
from tests.client.board.boards import tables_in
from tests.client.dying import DyingDisk
from tests.client.world import bytes_on_disk

ALICE = b"a" * 32


def own(number: int, author: bytes | None = ALICE) -> OwnPost:
    return OwnPost(
        bytes((number,)) * 16,
        author,
        None,
        b"secret" * 5 + b"..",
        10 + number,
        5000,
        b"secret body %d" % number,
    )


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    async with tables_in(tmp_path) as tables:
        store = OwnPosts(tables.database)
        assert await store.load() == []
        for post in (own(2), own(1), own(3, None)):
            await store.add(post)
        assert await store.last_number(ALICE) is None
        await store.number(own(2).post_id, ALICE, 7)
        await store.extended(own(1).post_id, 9000)
    async with tables_in(tmp_path) as tables:
        store = OwnPosts(tables.database)
        assert await store.load() == [replace(own(2), number=7), replace(own(1), expires=9000), own(3, None)]
        assert await store.last_number(ALICE) == 7
        assert await store.last_number(b"b" * 32) is None
        await store.number(own(1).post_id, ALICE, 8)
        assert await store.last_number(ALICE) == 8


async def test_a_number_that_no_entry_has_is_none(tmp_path: Path) -> None:
    async with tables_in(tmp_path) as tables:
        store = OwnPosts(tables.database)
        for post, number in ((own(1), NUMBER_MOST), (own(2), NUMBER_MOST + 1)):
            await store.add(post)
            await store.number(post.post_id, ALICE, number)
        assert await store.load() == [replace(own(1), number=NUMBER_MOST), own(2)]


async def test_what_is_taken_back_or_over_is_not_on_disk(tmp_path: Path) -> None:
    async with tables_in(tmp_path) as tables:
        store = OwnPosts(tables.database)
        for number in (1, 2, 3):
            await store.add(own(number))
            await store.number(own(number).post_id, ALICE, number)
        await store.recalled(own(1).post_id)
        store.forget(own(2).post_id)
        store.forget(b"unknown")
        await tables.database.empty_log()
        assert await store.load() == [
            replace(own(1), number=1, body=b"", recalled=True),
            replace(own(3), number=3),
        ]
        left = bytes_on_disk(tmp_path)
        assert b"secret body 1" not in left
        assert b"secret body 2" not in left
        assert b"secret body 3" in left
        store.forget(own(3).post_id)
        await tables.database.empty_log()
        assert await store.last_number(ALICE) == 3  # no number is used again


async def test_a_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = DyingDisk(monkeypatch, "board.db")
    async with tables_in(tmp_path) as tables:
        store = OwnPosts(tables.database)
        await store.add(own(1))
        disk.dies_after(0, tmp_path)
        for attempt in (
            store.add(own(2)),
            store.number(own(1).post_id, ALICE, 1),
            store.extended(own(1).post_id, 1),
            store.recalled(own(1).post_id),
        ):
            with pytest.raises(BadData, match="make room"):
                await attempt
        assert await store.load() == [own(1)]
        disk.restore()
    with pytest.raises(Closed):
        await store.add(own(2))


def test_the_body_is_not_shown() -> None:
    assert "secret" not in repr(own(1))
