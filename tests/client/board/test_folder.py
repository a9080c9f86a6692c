"""Where a board keeps what it has: a folder for each topic and name, held by one at a time; or memory."""

from __future__ import annotations

from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from onionshh.client.board.folder import BOARDS_FOLDER, DATABASE_FILE, MIGRATIONS, board_folder
from onionshh.client.board.own_store import OWN_POST_MIGRATIONS
from onionshh.client.board.store import BOARD_MIGRATIONS
from onionshh.client.context import Context
from onionshh.client.mail.deposit_store import DEPOSIT_MIGRATIONS
from onionshh.core.board.topic import Topic
from onionshh.errors import BadData, DataInUse
from onionshh.net.store import DataDirectory, run_inline
from tests.client.board.boards import SECRET, TOPIC
from tests.client.board.test_store import row

OTHER = Topic.of("chess")


def context_in(folder: Path) -> Context:
    return cast(Context, SimpleNamespace(folder=DataDirectory(folder), run_blocking=run_inline))


async def test_a_named_board_has_a_folder_for_its_topic_and_name(tmp_path: Path) -> None:
    context, tags = context_in(tmp_path), set()
    async with AsyncExitStack() as stack:
        for topic, name in ((TOPIC, "a"), (TOPIC, "b"), (OTHER, "a")):
            folder = await stack.enter_async_context(board_folder(context, topic, name))
            assert folder.lasts
            assert (tmp_path / BOARDS_FOLDER / folder.tag / DATABASE_FILE).exists()
            await folder.posts.add([row(1)], 100)
            tags.add(folder.tag)
        assert len(tags) == 3
    names = " ".join(str(path) for path in tmp_path.rglob("*"))
    assert SECRET.hex()[:16] not in names
    assert "chess" not in names
    async with board_folder(context, TOPIC, "a") as folder:
        assert folder.tag in tags
        assert await folder.posts.last() == 1
        assert await folder.own.load() == []
        assert await folder.deposits.load() == []


async def test_without_a_name_nothing_is_on_disk(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    async with board_folder(context, TOPIC, None) as folder, board_folder(context, TOPIC, None) as second:
        assert (folder.lasts, folder.tag) == (False, "")
        await folder.posts.add([row(1)], 100)
        assert (await folder.posts.last(), await second.posts.last()) == (1, 0)
    async with board_folder(context, TOPIC, None) as folder:
        assert await folder.posts.last() == 0
    assert not (tmp_path / BOARDS_FOLDER).exists()


async def test_a_name_is_in_use_once(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    async with board_folder(context, TOPIC, "a"):
        with pytest.raises(DataInUse, match="A board of this topic and name is open already"):
            async with board_folder(context, TOPIC, "a"):
                pass
        async with board_folder(context, OTHER, "a"), board_folder(context, TOPIC, None):
            pass
    async with board_folder(context, TOPIC, "a"):
        pass


async def test_a_damaged_file_is_said_and_holds_no_lock(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    async with board_folder(context, TOPIC, "a") as folder:
        path = tmp_path / BOARDS_FOLDER / folder.tag / DATABASE_FILE
    path.write_bytes(b"no database" * 100)
    for _ in range(2):
        with pytest.raises(BadData):
            async with board_folder(context, TOPIC, "a"):
                pass


def test_one_file_has_the_formats_of_all_stores() -> None:
    """What is on disk somewhere must stay as it is: a new format goes at the end."""
    assert MIGRATIONS[:4] == (BOARD_MIGRATIONS[0], OWN_POST_MIGRATIONS[0], *DEPOSIT_MIGRATIONS[:2])
