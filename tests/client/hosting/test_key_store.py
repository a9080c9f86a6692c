"""The key_store: an endpoint's period keys, replay log and introducers, as they come back after a restart."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from onionshh.client.hosting.key_store import KEY_MIGRATIONS, KeyStore, PeriodKeys
from onionshh.core.endpoint.introducers import HeldIntroducer
from onionshh.core.endpoint.replay import ReplayLog
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from tests.client.world import WALL, bytes_on_disk
from tests.seeded import seeded

PERIOD = 20_717


@asynccontextmanager
async def opened(folder: Path, entries: int = 100, seed: int = 1) -> AsyncIterator[tuple[KeyStore, Database]]:
    database = Database(folder / "endpoint.db", KEY_MIGRATIONS, run_inline)
    try:
        key_store = KeyStore(database, seeded(seed), entries)
        await key_store.load()
        yield key_store, database
    finally:
        database.close()


def secrets_of(keys: PeriodKeys) -> tuple[bytes, bytes, bytes]:
    return keys.rendezvous.private, keys.seal.to_bytes(), keys.signing.seed


async def see(key_store: KeyStore, keys: PeriodKeys, entry: bytes) -> None:
    assert keys.replay.check_and_add(entry)
    await key_store.remember(keys, entry)


async def test_the_keys_of_a_period_come_back_with_their_revision_and_replay_log(tmp_path: Path) -> None:
    async with opened(tmp_path) as (key_store, _):
        keys = await key_store.period_keys(PERIOD)
        other = await key_store.period_keys(PERIOD + 1)
        assert len({*secrets_of(keys), *secrets_of(other)}) == 6
        assert await key_store.period_keys(PERIOD) is keys
        await key_store.set_revision(keys, 77)
        await see(key_store, keys, b"a" * 32)
        await see(key_store, other, b"b" * 32)
    async with opened(tmp_path, seed=2) as (key_store, _):
        again = await key_store.period_keys(PERIOD)
        assert secrets_of(again) == secrets_of(keys)
        assert again.revision == 77
        assert again.replay.seen(b"a" * 32)
        assert not again.replay.seen(b"b" * 32)
        assert (await key_store.period_keys(PERIOD + 1)).replay.seen(b"b" * 32)


async def test_keys_are_found_by_the_low_byte_of_their_period(tmp_path: Path) -> None:
    async with opened(tmp_path) as (key_store, _):
        keys = await key_store.period_keys(PERIOD)
        assert key_store.named(PERIOD & 0xFF) is keys
        assert key_store.named((PERIOD + 1) & 0xFF) is None


async def test_a_full_replay_log_means_new_keys_and_an_empty_log(tmp_path: Path) -> None:
    async with opened(tmp_path, entries=4) as (key_store, database):
        keys = await key_store.period_keys(PERIOD)
        await key_store.set_revision(keys, 5)
        for letter in b"abc":
            await see(key_store, keys, bytes([letter]) * 32)
        new = await key_store.period_keys(PERIOD)
        assert not set(secrets_of(new)) & set(secrets_of(keys))
        assert new.revision == 5  # the ring refuses anything that is not later
        assert (len(new.replay), key_store.named(PERIOD & 0xFF)) == (0, new)
        await database.empty_log()
        assert keys.seal.to_bytes() not in bytes_on_disk(tmp_path)
    async with opened(tmp_path, entries=4) as (key_store, _):
        again = await key_store.period_keys(PERIOD)
        assert secrets_of(again) == secrets_of(new)
        assert len(again.replay) == 0


async def test_a_log_that_was_full_is_still_full_after_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path, entries=3) as (key_store, _):
        keys = await key_store.period_keys(PERIOD)
        for letter in b"ab":
            await see(key_store, keys, bytes([letter]) * 32)
    async with opened(tmp_path, entries=3, seed=2) as (key_store, _):
        held = key_store.named(PERIOD & 0xFF)
        assert held is not None
        assert held.replay.full
        assert secrets_of(await key_store.period_keys(PERIOD)) != secrets_of(keys)


async def test_forgotten_keys_are_in_no_file_any_more(tmp_path: Path) -> None:
    async with opened(tmp_path) as (key_store, database):
        old = await key_store.period_keys(PERIOD)
        new = await key_store.period_keys(PERIOD + 1)
        await see(key_store, old, b"h" * 32)
        on_disk = bytes_on_disk(tmp_path)
        assert all(secret in on_disk for secret in (*secrets_of(old), *secrets_of(new)))
        await key_store.forget_before(PERIOD + 1)
        await database.empty_log()
        on_disk = bytes_on_disk(tmp_path)
        assert not any(secret in on_disk for secret in (*secrets_of(old), b"h" * 32))
        assert all(secret in on_disk for secret in secrets_of(new))
        assert key_store.named(PERIOD & 0xFF) is None


async def test_introducers_come_back_until_their_time_is_over(tmp_path: Path) -> None:
    def held(number: int, expiry: int) -> HeldIntroducer:
        return HeldIntroducer(RelayId(bytes([number]) * 32), SigningKey(bytes([number + 100]) * 32), expiry)

    early, late, dropped = held(1, WALL + 10), held(2, WALL + 20), held(3, WALL + 20)
    async with opened(tmp_path) as (key_store, database):
        for one in (late, early, dropped):
            await key_store.keep_introducer(one)
        await key_store.drop_introducer(dropped)
        await database.empty_log()
        assert dropped.key.seed not in bytes_on_disk(tmp_path)
    async with opened(tmp_path) as (key_store, database):
        found = await key_store.introducers(WALL + 9)
        assert [(one.relay, one.key.seed, one.expiry) for one in found] == [
            (one.relay, one.key.seed, one.expiry) for one in (early, late)
        ]
        assert [one.relay for one in await key_store.introducers(WALL + 10)] == [late.relay]
        await database.empty_log()
        assert early.key.seed not in bytes_on_disk(tmp_path)


async def test_no_secret_shows_when_printed(tmp_path: Path) -> None:
    async with opened(tmp_path) as (key_store, _):
        keys = await key_store.period_keys(PERIOD)
        shown = repr(keys) + repr(HeldIntroducer(RelayId(bytes(32)), keys.signing, WALL))
        for secret in secrets_of(keys):
            assert secret.hex()[:16] not in shown
            assert repr(secret)[2:20] not in shown
        assert isinstance(keys.replay, ReplayLog)
