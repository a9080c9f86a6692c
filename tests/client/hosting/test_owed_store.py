"""Receipts that are owed to visitors who are away: on disk until they are left, and then on no disk."""

from __future__ import annotations

from pathlib import Path

from onionshh.client.hosting.owed_store import OWED_MIGRATIONS, OwedStore
from onionshh.core.delivery.record import Record, new_whisper, receipt_for
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from tests.client.world import WALL, bytes_on_disk
from tests.seeded import seeded

random_bytes = seeded(5)
SESSION = b"s" * 16


def receipt() -> Record:
    whisper = new_whisper(b"hello", expires=WALL + 600, privacy_class=1, random_bytes=random_bytes)
    return receipt_for(whisper, random_bytes)


async def test_they_are_there_after_a_restart_until_they_are_forgotten(tmp_path: Path) -> None:
    first, second, third = receipt(), receipt(), receipt()
    database = Database(tmp_path / "endpoint.db", OWED_MIGRATIONS, run_inline)
    store = OwedStore(database)
    await store.add(SESSION, [first, second])
    await store.add(b"t" * 16, [third])
    await store.add(SESSION, [first])
    database.close()
    database = Database(tmp_path / "endpoint.db", OWED_MIGRATIONS, run_inline)
    store = OwedStore(database)
    found = await store.load()
    assert sorted(found, key=lambda row: row[1].whisper_id) == sorted(
        [(SESSION, first), (SESSION, second), (b"t" * 16, third)], key=lambda row: row[1].whisper_id
    )
    store.forget([first.in_reply_to, third.in_reply_to])
    await database.empty_log()
    assert await store.load() == [(SESSION, second)]
    on_disk = bytes_on_disk(tmp_path)
    assert [bytes(one.whisper_id) in on_disk for one in (first, second, third)] == [False, True, False]
    database.close()
