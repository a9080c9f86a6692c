"""What a program sees of a transfer that it gets. Behind it is a holder with a few transfers."""

from __future__ import annotations

import gc

import pytest
import trio

from onionshh.client.incoming import IncomingTransfer, Shown, TransferIteration
from onionshh.client.peer import Peer
from onionshh.core.delivery.parts import TransferId
from onionshh.core.delivery.transfer_actions import OfferTransfer, TransferLost
from onionshh.errors import BadData, Closed, TooLarge
from onionshh.reasons import Reason

ONE, TWO = TransferId(b"1" * 16), TransferId(b"2" * 16)
PIECES = [b"hello ", b"world"]


class Holder:
    """Shows these, in order."""

    def __init__(self, *shown: Shown) -> None:
        self.shown = list(shown)
        self.finished: list[TransferId] = []
        self.given_back: list[TransferId] = []
        self.broken: Exception | None = None

    async def next(self) -> Shown | None:
        await trio.lowlevel.checkpoint()
        return self.shown.pop(0) if self.shown else None

    async def read(self, transfer: TransferId, number: int) -> bytes | None:
        await trio.lowlevel.checkpoint()
        return None if transfer in self.finished else PIECES[number]

    async def finish(self, transfer: TransferId) -> None:
        await trio.lowlevel.checkpoint()
        if self.broken is not None:
            raise self.broken
        self.finished.append(transfer)

    def let_go_soon(self, transfer: TransferId) -> None:
        self.given_back.append(transfer)


def nobody(session: bytes | None) -> Peer | None:
    return None


def offer(transfer: TransferId = ONE) -> OfferTransfer:
    return OfferTransfer(transfer, 11, 2, 3, b"session", 1_790_000_000)


def lost(reason: Reason) -> TransferLost:
    return TransferLost(TWO, 5, reason)


async def test_asking_for_the_next_one_finishes_the_one_before() -> None:
    holder = Holder(offer(ONE), lost(Reason.TRANSFER_EXPIRED), offer(TWO))
    sizes = [incoming.size async for incoming in TransferIteration(holder, nobody)]
    assert sizes == [11, 5, 11]
    assert holder.finished == [ONE, TWO]


async def test_its_bytes_in_pieces_and_at_once() -> None:
    incoming = IncomingTransfer(Holder(), offer(), nobody)
    assert [piece async for piece in incoming] == PIECES
    assert await incoming.whole(11) == b"hello world"
    with pytest.raises(TooLarge, match="11 bytes, more than the 10"):
        await incoming.whole(10)
    assert (incoming.shown, incoming.received_at, incoming.failed) == (3, 1_790_000_000, "")


async def test_one_that_is_finished_or_let_go_has_no_bytes() -> None:
    holder = Holder()
    incoming = IncomingTransfer(holder, offer(), nobody)
    await incoming.done()
    incoming.let_go()
    with pytest.raises(Closed):
        await incoming.whole()
    assert (holder.finished, holder.given_back) == ([ONE], [])
    incoming = IncomingTransfer(holder, offer(TWO), nobody)
    incoming.let_go()
    await incoming.done()
    with pytest.raises(Closed):
        await anext(aiter(incoming))
    assert (holder.finished, holder.given_back) == ([ONE], [TWO])


async def test_one_that_cannot_be_finished_is_still_held() -> None:
    holder = Holder(offer())
    loop = TransferIteration(holder, nobody)
    incoming = await anext(loop)
    holder.broken = BadData("the disk is full")
    with pytest.raises(BadData):
        await anext(loop)
    holder.broken = Closed("over")
    with pytest.raises(StopAsyncIteration):
        await anext(loop)
    holder.broken = None
    await incoming.done()
    assert holder.finished == [ONE]


def test_one_that_is_forgotten_is_let_go() -> None:
    holder = Holder()
    IncomingTransfer(holder, offer(), nobody)
    gc.collect()
    assert holder.given_back == [ONE]


@pytest.mark.parametrize(
    "reason", [Reason.TRANSFER_EXPIRED, Reason.TRANSFER_NOT_WHOLE, Reason.TRANSFER_DISPLACED]
)
async def test_one_that_did_not_come_whole_says_why(reason: Reason) -> None:
    holder = Holder()
    incoming = IncomingTransfer(holder, lost(reason), nobody)
    assert " " in incoming.failed
    assert (incoming.size, incoming.shown, incoming.received_at, incoming.peer) == (5, 1, 0, None)
    with pytest.raises(BadData, match=incoming.failed):
        await incoming.whole()
    await incoming.done()
    incoming.let_go()
    assert (holder.finished, holder.given_back) == ([], [])
