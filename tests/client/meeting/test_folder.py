"""Where a meeting keeps what it has: a folder for each secret and name, held by one at a time; or memory."""

from __future__ import annotations

import stat
from contextlib import AsyncExitStack
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from onionshh.client.board.folder import BOARDS_FOLDER
from onionshh.client.context import Context
from onionshh.client.meeting.folder import DATABASE_FILE, MEETINGS_FOLDER, MIGRATIONS, meeting_folder
from onionshh.client.meeting.store import Oneself
from onionshh.crypto.primitives import kdf
from onionshh.errors import BadData, DataInUse
from onionshh.net.store import DataDirectory, run_inline
from tests.client.meeting.meetings import SECRET, TOPIC

ONESELF = Oneself(b"i" * 16, bytes(96))


def context_in(folder: Path) -> Context:
    return cast(Context, SimpleNamespace(folder=DataDirectory(folder), run_blocking=run_inline))


async def test_a_named_meeting_has_a_folder_for_its_secret_and_name(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    async with AsyncExitStack() as stack:
        for secret, name in ((SECRET, "a"), (SECRET, "b"), (bytes(32), "a")):
            folder = await stack.enter_async_context(meeting_folder(context, secret, name))
            assert await folder.meeting.load() is None
            await folder.meeting.keep(ONESELF)
            assert folder.database is folder.contact.database
            tag = kdf("meeting folder", secret, name.encode(), length=8).hex()
            path = tmp_path / MEETINGS_FOLDER / tag / DATABASE_FILE
            assert path.exists()
            assert not stat.S_IMODE(path.stat().st_mode) & 0o077
        assert len(list((tmp_path / MEETINGS_FOLDER).iterdir())) == 3
        assert len(list((tmp_path / BOARDS_FOLDER).iterdir())) == 3, "each has a board of its own"
    names = " ".join(str(path) for path in tmp_path.rglob("*"))
    for secret in (SECRET, TOPIC.secret):
        assert secret.hex()[:16] not in names
    async with meeting_folder(context, SECRET, "a") as folder:
        assert await folder.meeting.load() == ONESELF
        assert await folder.contact.sessions.load() == []
        assert folder.board.lasts


async def test_without_a_name_nothing_is_on_disk(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    async with (
        meeting_folder(context, SECRET, None) as folder,
        meeting_folder(context, SECRET, None) as other,
    ):
        await folder.meeting.keep(ONESELF)
        assert await other.meeting.load() is None
        assert not folder.board.lasts
    async with meeting_folder(context, SECRET, None) as folder:
        assert await folder.meeting.load() is None
    assert not (tmp_path / MEETINGS_FOLDER).exists()
    assert not (tmp_path / BOARDS_FOLDER).exists()


async def test_one_at_a_time_holds_it(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    for _ in range(2):
        async with meeting_folder(context, SECRET, "press"):
            with pytest.raises(DataInUse, match="A meeting with this secret and name is open already"):
                async with meeting_folder(context, SECRET, "press"):
                    pass
            async with meeting_folder(context, SECRET, "other"):
                pass


async def test_a_damaged_file_is_told_and_the_name_is_free_again(tmp_path: Path) -> None:
    context = context_in(tmp_path)
    async with meeting_folder(context, SECRET, "press"):
        pass
    (file,) = (tmp_path / MEETINGS_FOLDER).glob(f"*/{DATABASE_FILE}")
    good = file.read_bytes()
    file.write_bytes(b"no database" * 1000)
    with pytest.raises(BadData):
        async with meeting_folder(context, SECRET, "press"):
            pass
    file.write_bytes(good)
    async with meeting_folder(context, SECRET, "press") as folder:
        assert await folder.meeting.load() is None


def test_no_migration_is_there_twice() -> None:
    assert len(set(MIGRATIONS)) == len(MIGRATIONS)
