"""Parts on disk: what was acknowledged is there after any crash, and what is over is in no file any more."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from hashlib import sha3_256
from pathlib import Path
from random import Random

import pytest

from onionshh.client.hosting.part_store import PART_MIGRATIONS, PartStore
from onionshh.core.base.chance import Chance
from onionshh.core.delivery.actions import Count, LaneId, Send
from onionshh.core.delivery.arriving import Kept
from onionshh.core.delivery.parts import PART_DATA, Part, TransferId, part_record
from onionshh.core.delivery.record import NO_ID, RECEIPT, Record
from onionshh.core.delivery.transfer_actions import (
    CheckWhole,
    DropTransfer,
    FinishTransfer,
    ForgetTransfer,
    InActions,
    KeepPart,
    MarkWhole,
    OfferTransfer,
    OutActions,
    RememberTransfers,
    SendPart,
    StoredPart,
    StoredTransfer,
    TransferEnded,
    TransferRow,
)
from onionshh.core.delivery.transfer_in import IncomingTransfers
from onionshh.core.delivery.transfer_out import OutgoingTransfer, OutStage
from onionshh.errors import BadData
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from tests.client.world import bytes_on_disk
from tests.seeded import seeded

EXPIRES = 600
ID, OTHER = TransferId(b"t" * 16), TransferId(b"o" * 16)
DIGEST = bytes(range(32))
HASH = sha3_256(b"whole").digest()
SECRET = b"nobody may read this later"


def keep(number: int, data: bytes = SECRET, *, last: bool = False, transfer: TransferId = ID) -> KeepPart:
    return KeepPart(Part(transfer, number, data, HASH if last else None), EXPIRES, DIGEST)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[PartStore]:
    database = Database(folder / "endpoint.db", PART_MIGRATIONS, run_inline)
    try:
        yield PartStore(database, run_inline)
    finally:
        database.close()


async def test_what_is_kept_is_found_again(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        await store.commit([keep(2, b"end", last=True), keep(0, b"start")])
    async with opened(tmp_path) as store:
        await store.commit([keep(1, b"", transfer=OTHER)])
        parts = (StoredPart(0, DIGEST, 5), StoredPart(2, DIGEST, 3))
        assert await store.held() == [
            StoredTransfer(ID, Kept.COMING, EXPIRES, 0, 2, HASH, parts),
            StoredTransfer(OTHER, Kept.COMING, EXPIRES, 0, None, b"", (StoredPart(1, DIGEST, 0),)),
        ]
        assert await store.read(ID, 0) == b"start"
        assert await store.read(ID, 2) == b"end"
        assert await store.read(OTHER, 1) == b""
        assert await store.read(ID, 1) is None
        assert await store.whole_hash(ID, 3) == sha3_256(b"startend").digest()


async def test_wholes_are_found_in_the_order_in_which_they_became_whole(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        names = [TransferId(bytes([number]) * 16) for number in range(4)]
        await store.commit([keep(0, last=True, transfer=name) for name in names])
        for name in (names[2], names[0], names[3]):
            await store.commit([MarkWhole(name, 7)])
        await store.show(names[0])
        await store.show(names[0])
    async with opened(tmp_path) as store:
        found = await store.held()
        assert [one.transfer for one in found] == [names[1], names[2], names[0], names[3]]
        assert [one.state for one in found] == [Kept.COMING, Kept.WHOLE, Kept.WHOLE, Kept.WHOLE]
        assert [one.shown for one in found] == [0, 0, 2, 0]


ENDS: list[tuple[list[TransferRow], int]] = [
    ([MarkWhole(ID, 7), FinishTransfer(ID)], Kept.DONE),
    ([DropTransfer(ID, EXPIRES, Reason.TRANSFER_EXPIRED)], Kept.BAD),
]


@pytest.mark.parametrize(("rows", "state"), ENDS)
async def test_of_what_is_over_only_the_id_is_in_any_file(
    tmp_path: Path, rows: Sequence[TransferRow], state: int
) -> None:
    database = Database(tmp_path / "endpoint.db", PART_MIGRATIONS, run_inline)
    store = PartStore(database, run_inline)
    await store.commit([keep(0, SECRET.ljust(PART_DATA)), keep(1, SECRET, last=True)])
    await store.commit([keep(0, b"another one stays", transfer=OTHER)])
    assert SECRET in bytes_on_disk(tmp_path)
    await store.commit(rows)
    await database.empty_log()
    assert SECRET not in bytes_on_disk(tmp_path)
    assert HASH not in bytes_on_disk(tmp_path)
    assert b"another one stays" in bytes_on_disk(tmp_path)
    await store.commit([keep(2)])  # written late: it changes nothing
    over, _ = sorted(await store.held(), key=lambda one: one.transfer == OTHER)
    assert over == StoredTransfer(ID, state, EXPIRES, 0, None, b"")
    assert await store.read(ID, 0) is None
    await store.commit([ForgetTransfer(ID)])
    await database.empty_log()
    assert bytes(ID) not in bytes_on_disk(tmp_path)
    database.close()


async def test_rows_are_written_all_or_none(tmp_path: Path) -> None:
    async with opened(tmp_path) as store:
        with pytest.raises(BadData):
            await store.commit([keep(0), KeepPart(Part(ID, None, b""), EXPIRES, DIGEST)])  # type: ignore[arg-type]
        assert await store.held() == []


async def test_a_disk_that_takes_nothing_still_shows_what_it_holds(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(tmp_path / "endpoint.db", PART_MIGRATIONS, run_inline)
    store = PartStore(database, run_inline)
    await store.commit([keep(0, last=True), MarkWhole(ID, 7)])
    await database.read(lambda connection: connection.execute("PRAGMA query_only = ON"))
    await store.show(ID)
    assert "could not be noted" in caplog.text
    assert await store.read(ID, 0) == SECRET
    database.close()


async def test_sizes_are_told_without_reading_the_data(tmp_path: Path) -> None:
    """64 MiB would be read at each start; LENGTH looks at the head of a row only."""
    async with opened(tmp_path) as store:
        await store.commit([keep(number, bytes(PART_DATA)) for number in range(3)])
        (found,) = await store.held()
        assert [part.size for part in found.parts] == [PART_DATA] * 3


# A machine that dies.


class Died(Exception):
    """The power failed."""


class Endpoint:
    """IncomingTransfers over a real database. Its power fails at the n-th sync, just before it or just after.
    A program reads what it is shown and finishes it."""

    def __init__(self, folder: Path, wholes: dict[TransferId, bytes], dies_at: int, *, after: bool) -> None:
        self._folder = folder
        self._wholes = wholes
        self._dies_at = dies_at
        self._after = after
        self.syncs = 0
        self.deaths = 0
        self.finished: list[TransferId] = []
        self.receipts: list[Record] = []
        self._open()
        self.transfers.want()

    def _open(self) -> None:
        self.database = Database(self._folder / "endpoint.db", PART_MIGRATIONS, run_inline)
        self.store = PartStore(self.database, run_inline)
        self.transfers = IncomingTransfers(seeded(self.deaths))

    async def bring(self, record: Record) -> None:
        part = Part.decode_untrusted(record.body)
        try:
            await self._do(self.transfers.part_in(LaneId(1), record, part, refuse=None, now=0.0))
        except Died:
            await self._start_again()

    async def _start_again(self) -> None:
        self.database.close()
        self.deaths += 1
        self._open()
        await self._do(self.transfers.restored(await self.store.held(), 0.0))
        await self._do(self.transfers.tidy(0))
        await self._do(self.transfers.want())

    async def _do(self, actions: InActions) -> None:
        for action in actions:
            match action:
                case RememberTransfers(token, rows):
                    await self._commit(rows)
                    await self._do(self.transfers.remembered(token))
                case CheckWhole(transfer, parts):
                    whole = await self.store.whole_hash(transfer, parts)
                    await self._do(self.transfers.checked(transfer, whole, 0))
                case OfferTransfer(transfer, size, parts):
                    await self._use(transfer, size, parts)
                case Send(_, records):
                    self.receipts += records
                case Count(reason):
                    raise AssertionError(reason)

    async def _commit(self, rows: Sequence[TransferRow]) -> None:
        self.syncs += 1
        dies = self.syncs == self._dies_at
        if dies and not self._after:
            raise Died
        await self.store.commit(rows)
        self.finished += [row.transfer for row in rows if isinstance(row, FinishTransfer)]
        if dies:
            raise Died

    async def _use(self, transfer: TransferId, size: int, parts: int) -> None:
        await self.store.show(transfer)
        pieces = [await self.store.read(transfer, number) for number in range(parts)]
        assert b"".join(piece or b"" for piece in pieces) == self._wholes[transfer]
        assert size == len(self._wholes[transfer])
        assert transfer not in self.finished
        await self._do(self.transfers.finish(transfer))
        await self._do(self.transfers.want())


class Senders:
    """Three transfers on their way out. Parts without a receipt come again, in an order that is drawn."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.out: dict[WhisperId, Record] = {}
        self.ended: list[OutStage] = []
        self.wholes: dict[TransferId, bytes] = {}
        self._of: dict[WhisperId, OutgoingTransfer] = {}
        self._all: list[OutgoingTransfer] = []
        for number, size in enumerate((0, 2 * PART_DATA + 5, 3 * PART_DATA)):
            chance = Chance(seeded(100 * seed + number))
            sender = OutgoingTransfer(
                size=size, expires=EXPIRES, privacy_class=1, deadline=1e9, chance=chance
            )
            whole = self._random.randbytes(size)
            self.wholes[sender.transfer] = whole
            self._all.append(sender)
            for actions in (sender.begin(), sender.more(whole), sender.end()):
                self._do(sender, actions)

    def _do(self, sender: OutgoingTransfer, actions: OutActions) -> None:
        for action in actions:
            if isinstance(action, SendPart):
                self.out[action.record.whisper_id] = action.record
                self._of[action.record.whisper_id] = sender
            elif isinstance(action, TransferEnded):
                self.ended.append(action.stage)

    def next(self) -> Record:
        return self._random.choice(list(self.out.values()))

    def take(self, receipts: list[Record]) -> None:
        for receipt in receipts:
            assert receipt.kind == RECEIPT
            if self.out.pop(receipt.in_reply_to, None) is not None:
                sender = self._of[receipt.in_reply_to]
                self._do(sender, sender.acknowledged(receipt.in_reply_to, 0.0))
        receipts.clear()
        for sender in self._all:
            self._do(sender, sender.tick(1e6))


async def run(folder: Path, dies_at: int, *, after: bool) -> Endpoint:
    folder.mkdir()
    senders = Senders(seed=dies_at)
    endpoint = Endpoint(folder, senders.wholes, dies_at, after=after)
    for _ in range(200):
        senders.take(endpoint.receipts)
        if not senders.out:
            break
        await endpoint.bring(senders.next())
    assert senders.ended == [OutStage.DELIVERED] * 3
    assert sorted(endpoint.finished) == sorted(senders.wholes)
    assert all(stored.state == Kept.DONE for stored in await endpoint.store.held())
    endpoint.database.close()
    return endpoint


@pytest.mark.parametrize("after", [False, True])
async def test_a_machine_that_dies_at_any_sync_loses_nothing_it_acknowledged_and_shows_nothing_twice(
    tmp_path: Path, after: bool
) -> None:
    dies_at = 0
    while True:
        dies_at += 1
        endpoint = await run(tmp_path / str(dies_at), dies_at, after=after)
        if endpoint.syncs < dies_at:
            break
        assert endpoint.deaths == 1
    assert dies_at > 10


def test_a_part_answers_nothing() -> None:
    record = part_record(keep(0).part, expires=1, privacy_class=1, random_bytes=seeded(1))
    assert record.in_reply_to == NO_ID
