"""The keys of ways back on disk: taken up again, erased when they are over or belong to another session."""

from __future__ import annotations

from pathlib import Path

from onionshh.client.session.way_store import WAY_MIGRATIONS, WayStore
from onionshh.core.endpoint.introducers import HeldIntroducer
from onionshh.core.session.session import SessionId
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId
from onionshh.net.database import Database
from onionshh.net.store import run_inline

ONE, TWO = SessionId(b"1" * 16), SessionId(b"2" * 16)


def held(number: int, expiry: int) -> HeldIntroducer:
    return HeldIntroducer(RelayId(bytes([number]) * 32), SigningKey(bytes([number + 100]) * 32), expiry)


def shown(ways: list[HeldIntroducer]) -> list[tuple[bytes, bytes, int]]:
    return [(way.relay, way.key.seed, way.expiry) for way in ways]


def opened(folder: Path) -> Database:
    return Database(folder / "contact.db", WAY_MIGRATIONS, run_inline)


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    database = opened(tmp_path)
    ways = WayStore(database).of(ONE)
    await ways.keep_introducer(held(1, 3000))
    await ways.keep_introducer(held(2, 2000))
    await WayStore(database).of(TWO).keep_introducer(held(3, 4000))
    database.close()
    store = WayStore(opened(tmp_path))
    assert shown(await store.of(ONE).introducers(1000)) == shown([held(2, 2000), held(1, 3000)])
    assert shown(await store.of(TWO).introducers(1000)) == shown([held(3, 4000)])


async def test_what_is_over_is_not_there(tmp_path: Path) -> None:
    store = WayStore(opened(tmp_path))
    ways = store.of(ONE)
    for way in (held(1, 2000), held(2, 3000)):
        await ways.keep_introducer(way)
    assert shown(await ways.introducers(2000)) == shown([held(2, 3000)])
    await ways.drop_introducer(held(2, 3000))
    assert await ways.introducers(2000) == []
    assert not await store.holds(ONE)


async def test_the_ways_of_other_sessions_are_erased(tmp_path: Path) -> None:
    store = WayStore(opened(tmp_path))
    await store.of(ONE).keep_introducer(held(1, 2000))
    await store.of(TWO).keep_introducer(held(2, 2000))
    await store.forget(besides=TWO)
    assert (await store.holds(ONE), await store.holds(TWO)) == (False, True)
    await store.forget()
    assert not await store.holds(TWO)
