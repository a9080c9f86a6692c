"""Letters on disk: what is there before each PUT, and after a kill at any moment."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
from trio.testing import MockClock

from onionshh.client.mail.deposit_store import DEPOSIT_MIGRATIONS, DepositStore
from onionshh.client.mail.deposits import Deposits, DepositsInMemory, KeptItem, KeptLetter
from onionshh.core.mailbox.copies import Copy, CopyState
from onionshh.core.mailbox.work import NO_PROOF
from onionshh.errors import BadData
from onionshh.ids import RelayId, WhisperId
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.wire.mailbox import INBOX, Mailbox
from tests.client.dying import DyingDisk
from tests.client.mail.postal import LETTER, Heard, bend, leaving, mailbox_of, sealed
from tests.client.world import QUIET, bytes_on_disk, small, until
from tests.inside import inside

BOX = Mailbox(INBOX, bytes(range(32)), 7)
OTHER = WhisperId(b"other".ljust(16, b"\0"))
UNKNOWN = WhisperId(b"unknown".ljust(16, b"\0"))
RELAYS = [RelayId(bytes((n,)) * 32) for n in range(3)]


@asynccontextmanager
async def store_in(folder: Path) -> AsyncIterator[DepositStore]:
    folder.mkdir(exist_ok=True)
    database = Database(folder / "mail.db", DEPOSIT_MIGRATIONS, run_inline)
    try:
        yield DepositStore(database)
    finally:
        await database.aclose()


async def fill(deposits: Deposits) -> list[KeptLetter]:
    """Do everything once. Returns what must be there then."""
    items, others = sealed(BOX, 5000, 4), sealed(BOX, 6000, 1, "other")
    await deposits.add(LETTER, items, 4000)
    await deposits.add(OTHER, others, 5500)
    await deposits.proved(items[2].item_id, 96, b"n" * 16)
    await deposits.copied(items[2].item_id, Copy(RELAYS[0], 0, CopyState.TRIED))
    await deposits.copied(items[2].item_id, Copy(RELAYS[1], 1, CopyState.TRIED))
    await deposits.copied(items[2].item_id, Copy(RELAYS[1], 1, CopyState.STORED))
    await deposits.recalled(OTHER)
    kept = [KeptItem.of(item) for item in items]
    copies = (Copy(RELAYS[0], 0, CopyState.TRIED), Copy(RELAYS[1], 1, CopyState.STORED))
    kept[2] = replace(kept[2], effort=96, nonce=b"n" * 16, copies=copies)
    return [
        KeptLetter(LETTER, 4000, False, tuple(kept)),
        KeptLetter(OTHER, 5500, True, tuple(map(KeptItem.of, others))),
    ]


async def test_what_was_kept_is_there_after_a_restart(tmp_path: Path) -> None:
    async with store_in(tmp_path) as store:
        expected = await fill(store)
    async with store_in(tmp_path) as store:
        assert await store.load() == expected
        for item in sealed(BOX, 5000, 4):
            assert await store.value(item.item_id) == item.value


async def test_a_store_on_disk_and_one_in_memory_do_the_same(tmp_path: Path) -> None:
    async with store_in(tmp_path) as store:
        memory = DepositsInMemory()
        for deposits in (store, memory):
            assert await deposits.load() == []
            await fill(deposits)
            deposits.forget(UNKNOWN)  # unknown: nothing happens
            await deposits.copied(b"unknown", Copy(RELAYS[0], 0, CopyState.TRIED))
        assert await store.load() == await memory.load()
        for deposits in (store, memory):
            deposits.forget(LETTER)
            await deposits.recalled(OTHER)  # writes what waits, too
            assert [kept.letter for kept in await deposits.load()] == [OTHER]
            with pytest.raises(BadData):
                await deposits.value(sealed(BOX, 5000)[0].item_id)


async def test_an_extension_is_the_same_on_disk_and_in_memory(tmp_path: Path) -> None:
    memory = DepositsInMemory()
    async with store_in(tmp_path) as store:
        for deposits in (store, memory):
            await fill(deposits)
            erased = sealed(BOX, 5000, 4)[2].item_id
            await deposits.copied(erased, Copy(RELAYS[2], 1, CopyState.ERASED))
            await deposits.extended(LETTER, 9000)
            await deposits.extended(UNKNOWN, 9000)  # unknown: nothing happens
            await deposits.extended(LETTER, 7000)
            await deposits.proved(erased, 50, b"m" * 16)
    async with store_in(tmp_path) as store:
        kept = await store.load()
        assert kept == await memory.load()
        for item in sealed(BOX, 5000, 4):
            assert await store.value(item.item_id) == item.value
    letter, other = kept
    assert (letter.until, {item.expires for item in letter.items}) == (7000, {7000})
    assert {item.revision for item in letter.items} == {2}
    assert [(item.effort, item.nonce) for item in letter.items][1:3] == [(0, NO_PROOF), (50, b"m" * 16)]
    states = [copy.state for copy in letter.items[2].copies]
    assert states == [CopyState.TRIED, CopyState.TRIED, CopyState.ERASED]
    assert (other.until, other.items[0].revision, other.items[0].expires) == (5500, 0, 6000)


async def test_a_file_of_before_there_were_revisions_is_taken_up(tmp_path: Path) -> None:
    database = Database(tmp_path / "mail.db", DEPOSIT_MIGRATIONS[:1], run_inline)
    await DepositStore(database).add(LETTER, sealed(BOX, 5000, 4), 4000)
    await database.aclose()
    async with store_in(tmp_path) as store:
        kept = tuple(map(KeptItem.of, sealed(BOX, 5000, 4)))
        assert await store.load() == [KeptLetter(LETTER, 4000, False, kept)]
        await store.extended(LETTER, 6000)
        assert {item.revision for item in (await store.load())[0].items} == {1}


async def test_a_letter_of_the_same_name_takes_the_place_of_one_that_could_not_be_erased(
    tmp_path: Path,
) -> None:
    async with store_in(tmp_path) as store:
        await store.add(LETTER, sealed(BOX, 5000), 4000)
        await store.add(LETTER, sealed(BOX, 9000, 4, "other"), 8000)
        kept = tuple(map(KeptItem.of, sealed(BOX, 9000, 4, "other")))
        assert await store.load() == [KeptLetter(LETTER, 8000, False, kept)]
        with pytest.raises(BadData):
            await store.value(sealed(BOX, 5000)[0].item_id)


async def test_what_is_forgotten_is_not_on_disk(tmp_path: Path) -> None:
    async with store_in(tmp_path) as store:
        await fill(store)
        store.forget(LETTER)
    left = bytes_on_disk(tmp_path)
    for item in sealed(BOX, 5000, 4):
        assert item.seed not in left
        assert item.value[:100] not in left
    assert sealed(BOX, 6000, 1, "other")[0].seed in left


async def test_the_table_knows_only_three_states(tmp_path: Path) -> None:
    async with store_in(tmp_path) as store:
        await fill(store)
    with sqlite3.connect(tmp_path / "mail.db") as connection:
        states = {state for (state,) in connection.execute("SELECT state FROM deposit_copies")}
    assert states == {CopyState.TRIED, CopyState.STORED}


async def test_a_kill_after_any_write_leaves_one_item_under_one_id(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = DyingDisk(monkeypatch, "mail.db")
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays = inside(node), bend(net)
        box, number, died = mailbox_of(context), 0, True
        while died:
            folder, heard = tmp_path / str(number), Heard()
            expires = context.clock.wall() + 3600
            items = sealed(box, expires, 1, str(number))
            async with store_in(folder) as store:
                disk.dies_after(number, folder)
                async with leaving(context, store, heard) as made:
                    with suppress(BadData):
                        await made.leave(LETTER, items, expires)
                    await until(lambda: disk.dead or made.copies(LETTER) == 4, 300)
            died = disk.dead
            if died:
                disk.restore()
            else:
                disk.dies_after(1000, folder)
            tried = {
                relay: [put for _, put, _ in bent.puts if put.item_id == items[0].item_id]
                for relay, bent in relays.items()
            }
            async with store_in(folder) as store:
                known = {
                    copy.relay for kept in await store.load() for part in kept.items for copy in part.copies
                }
                assert {relay for relay, puts in tried.items() if puts} <= known
                async with leaving(context, store, Heard()) as made:
                    await made.leave(LETTER, items, expires)
                    await until(lambda: made.copies(LETTER) == 4, 300)
                    assert sum(bent.kept for bent in relays.values()) == 4
                    assert await made.recall(LETTER)
            puts = [put for bent in relays.values() for _, put, _ in bent.puts if put.value]
            ours = [put for put in puts if put.item_id == items[0].item_id]
            assert {(put.revision, put.expires, put.value) for put in ours} == {(0, expires, items[0].value)}
            assert len({put.nonce for put in ours}) == 1
            assert sum(bent.kept for bent in relays.values()) == 0
            number += 1
    assert number >= 10


async def test_a_full_disk_keeps_no_relay_from_hearing_of_a_recall(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    disk = DyingDisk(monkeypatch, "mail.db")
    async with (
        small(6, interval_seconds=600, **QUIET) as net,
        net.join() as node,
        store_in(tmp_path) as store,
    ):
        context, relays = inside(node), bend(net)
        expires = context.clock.wall() + 3600
        async with leaving(context, store, Heard()) as made:
            await made.leave(LETTER, sealed(mailbox_of(context), expires), expires)
            await until(lambda: made.copies(LETTER) == 4, 300)
            disk.dies_after(0, tmp_path)
            with pytest.raises(BadData):
                await made.recall(LETTER)
            await until(lambda: not any(bent.kept for bent in relays.values()), 60)
            disk.restore()
