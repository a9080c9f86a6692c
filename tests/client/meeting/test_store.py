"""What a meeting remembers of itself, in its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from onionshh.client.meeting.store import MEETING_MIGRATIONS, MeetingStore, Oneself
from onionshh.errors import BadData, Closed
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from tests.seeded import seeded

ONESELF = Oneself(b"i" * 16, seeded(1)(96))


@contextmanager
def opened(path: Path) -> Iterator[MeetingStore]:
    database = Database(path, MEETING_MIGRATIONS, run_inline)
    try:
        yield MeetingStore(database)
    finally:
        database.close()


async def test_who_we_were_is_known_in_the_next_run(tmp_path: Path) -> None:
    with opened(tmp_path / "meeting.db") as store:
        assert await store.load() is None
        await store.keep(ONESELF)
        assert await store.load() == ONESELF
    with opened(tmp_path / "meeting.db") as store:
        assert await store.load() == ONESELF
        other = Oneself(b"j" * 16, bytes(96))
        await store.keep(other)
        assert await store.load() == other, "there is one of us"
    assert ONESELF.seed.hex() not in repr(ONESELF)
    assert "seed" not in repr(ONESELF)


async def test_which_sessions_began_is_known_until_it_is_over(tmp_path: Path) -> None:
    with opened(tmp_path / "meeting.db") as store:
        assert await store.began(0) == {}
        await store.begin(b"s", b"a" * 16, 1000, 0)
        await store.begin(b"t", b"b" * 16, 2000, 0)
        await store.begin(b"s", b"a" * 16, 1500, 0)
    with opened(tmp_path / "meeting.db") as store:
        assert await store.began(1499) == {b"s": (b"a" * 16, 1500), b"t": (b"b" * 16, 2000)}
        assert await store.began(1500) == {b"t": (b"b" * 16, 2000)}
        await store.begin(b"u", b"c" * 16, 3000, 1500)
        assert set(await store.began(0)) == {b"t", b"u"}, "what is over is erased"


async def test_a_closed_database_and_a_damaged_one_are_told(tmp_path: Path) -> None:
    with opened(tmp_path / "meeting.db") as store:
        pass
    with pytest.raises(Closed):
        await store.keep(ONESELF)
    (tmp_path / "meeting.db").write_bytes(b"no database" * 1000)
    with pytest.raises(BadData), opened(tmp_path / "meeting.db") as store:
        await store.load()
