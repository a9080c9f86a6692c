"""A named contact's folder: where it lies, who may hold it, and that closing leaves nothing undone."""

from __future__ import annotations

import stat

import pytest
from trio.testing import MockClock

from onionshh.client.contact_folder import DATABASE_FILE, contact_folder
from onionshh.core.delivery.record import new_whisper
from onionshh.crypto.primitives import kdf
from onionshh.errors import BadData, DataInUse
from tests.client.world import WALL, bytes_on_disk, small
from tests.inside import inside
from tests.seeded import seeded

KEY = bytes(range(32))


async def test_it_lies_under_a_hash_and_is_for_its_owner(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join("one") as node:
        async with contact_folder(inside(node), KEY, "press") as opened:
            name = kdf("contact folder", KEY, b"press", length=8).hex()
            folder = net.folder / "one" / "contacts" / name
            assert (folder / DATABASE_FILE).exists()
            for path in (folder, *folder.iterdir()):
                assert not stat.S_IMODE(path.stat().st_mode) & 0o077
            about = opened.database.read_now(lambda c: c.execute("SELECT * FROM about").fetchall())
            assert about == [(1, KEY, "press")]
        async with contact_folder(inside(node), KEY[::-1], "press"), contact_folder(inside(node), KEY, "p"):
            assert len(list((net.folder / "one" / "contacts").iterdir())) == 3


async def test_one_at_a_time_holds_it(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join("one") as node:
        for _ in range(2):
            async with contact_folder(inside(node), KEY, "press"):
                with pytest.raises(DataInUse, match="take another name"):
                    async with contact_folder(inside(node), KEY, "press"):
                        pass


async def test_what_was_put_off_is_done_when_it_closes(autojump_clock: MockClock) -> None:
    record = new_whisper(b"a body", expires=WALL + 600, privacy_class=1, random_bytes=seeded(3))
    async with small(4) as net, net.join("one") as node:
        async with contact_folder(inside(node), KEY, "press") as folder:
            folder.outbox.accept(record, None)
            folder.outbox.settled(record.whisper_id, "delivered", "")
        assert b"a body" not in bytes_on_disk(net.folder / "one" / "contacts")
        async with contact_folder(inside(node), KEY, "press") as folder:
            found = folder.outbox.find(record.whisper_id)
            assert found is not None
            assert found.status == "delivered"


async def test_a_damaged_file_is_told_and_the_openedis_free_again(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join("one") as node:
        async with contact_folder(inside(node), KEY, "press"):
            (file,) = (net.folder / "one" / "contacts").glob(f"*/{DATABASE_FILE}")
        file.write_bytes(b"this is no database at all" * 100)
        for _ in range(2):
            with pytest.raises(BadData, match="is damaged"):
                async with contact_folder(inside(node), KEY, "press"):
                    pass
