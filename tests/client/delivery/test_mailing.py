"""Deposits and recalls of one Sender: what the receipt shows of them, and what happens when they fail."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.delivery.lanes import LaneSet
from onionshh.client.delivery.mailing import Mail, NotLeft
from onionshh.client.delivery.outbox import Stored
from onionshh.client.delivery.sending import NotReached, Opening, Sending
from onionshh.client.mail.leaving import NotStored, Told, TooMuchMail
from onionshh.client.receipt import Receipt
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.record import Record, new_whisper
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from tests.client.world import QUIET, small
from tests.inside import inside
from tests.seeded import seeded

DAY = 86_400.0
AWAY = NotReached(Failure("nobody is there", nobody=True))
random_bytes = seeded(3)


class NobodyThere:
    """A way that leads nowhere."""

    async def once(self, record: Record, *, more: bool) -> Opening:
        await trio.lowlevel.checkpoint()
        raise AWAY

    def arrived(self, whisper: WhisperId) -> None: ...

    def silent(self, whisper: WhisperId) -> None: ...


class Box:
    """A mailbox whose relays do as the test says. `fails`: what `leave` raises, in order."""

    def __init__(
        self, *fails: Exception, earlier: tuple[WhisperId, ...] = (), seals_seconds: float = 0.0
    ) -> None:
        self._fails = list(fails)
        self._seals_seconds = seals_seconds
        self._earlier = earlier
        self.left: list[WhisperId] = []
        self.recalled: list[WhisperId] = []
        self.erases: bool | Exception = True
        self.receipts = True

    async def leave(self, record: Record) -> None:
        await trio.sleep(self._seals_seconds)
        if self._fails:
            raise self._fails.pop(0)
        self.left.append(record.whisper_id)

    async def recall(self, whisper: WhisperId) -> bool:
        await trio.lowlevel.checkpoint()
        self.recalled.append(whisper)
        if isinstance(self.erases, Exception):
            raise self.erases
        return self.erases

    def has(self, whisper: WhisperId) -> bool:
        return whisper in self._earlier


class World:
    def __init__(self, sending: Sending, box: Box, told: Told) -> None:
        self.sending = sending
        self.box = box
        self.told = told

    def send(self, ttl: float = DAY, *, receipt: bool = True) -> tuple[WhisperId, Receipt]:
        record = whisper(receipt=receipt)
        return record.whisper_id, self.sending.submit(record, self.sending.now() + ttl)


def whisper(*, receipt: bool = True) -> Record:
    return new_whisper(
        b"hello", expires=2**31, privacy_class=1, random_bytes=random_bytes, receipt_wanted=receipt
    )


@asynccontextmanager
async def world(box: Box) -> AsyncIterator[World]:
    async with small(3, **QUIET) as net, net.join() as node, trio.open_nursery() as nursery:
        lanes = LaneSet()
        lanes.nursery = nursery
        told: list[Told] = []

        def make(teller: Told) -> Mail:
            told.append(teller)
            return box

        sending = Sending(inside(node), lanes, NobodyThere(), mail=make)
        nursery.start_soon(sending.keep_time)
        yield World(sending, box, told[0])
        nursery.cancel_scope.cancel()


async def test_what_is_left_shows_its_work_and_its_copies(autojump_clock: MockClock) -> None:
    async with world(Box()) as one:
        id, receipt = one.send()
        await trio.sleep(1)
        assert one.box.left == [id]
        one.told.proving(id, 1.5, 9000)
        assert (receipt.proof_seconds, receipt.proof_tries) == (1.5, 9000)
        one.told.stored(id, 1, False)
        assert (receipt.status, receipt.copies) == ("queued", (1, 4))
        one.told.stored(id, 2, True)
        assert (receipt.status, receipt.copies) == ("stored", (2, 4))
        one.told.stored(id, 4, True)
        assert (receipt.status, receipt.copies) == ("stored", (4, 4))
        assert not receipt.is_final
        assert one.sending.pending() == [receipt]


async def test_whoever_waits_for_it_is_woken(autojump_clock: MockClock) -> None:
    async with world(Box()) as one, trio.open_nursery() as nursery:
        id, receipt = one.send()
        seen: list[str] = []

        @nursery.start_soon
        async def follow() -> None:
            while receipt.status != "stored":
                await receipt.changed()
                seen.append(f"{receipt.status} {receipt.copies[0]}")

        await trio.sleep(1)
        one.told.stored(id, 1, False)
        await trio.sleep(1)
        one.told.stored(id, 2, True)
        with trio.fail_after(1):
            await receipt.stored()
        await trio.sleep(1)
        assert seen[-1] == "stored 2"


async def test_no_relay_takes_it(autojump_clock: MockClock) -> None:
    async with world(Box()) as one:
        id, receipt = one.send()
        await trio.sleep(1)
        one.told.not_stored(id, NotStored.DEAR)
        assert (receipt.status, receipt.why) == ("queued", str(NotStored.DEAR))
        one.told.stored(id, 2, True)
        assert (receipt.status, receipt.why) == ("stored", "")
        one.told.not_stored(id, NotStored.FULL)
        assert (receipt.status, receipt.why) == ("stored", "")


@pytest.mark.parametrize(
    ("failure", "after"),
    [
        (NotLeft("the endpoint takes no letters", 50.0), 50.0),
        (TooMuchMail("too many letters wait"), 600.0),
        (BadData("the disk is full"), 600.0),
    ],
)
async def test_what_cannot_be_left_says_why_and_is_tried_again(
    failure: Exception, after: float, autojump_clock: MockClock
) -> None:
    async with world(Box(failure)) as one:
        id, receipt = one.send()
        await trio.sleep(after - 5)
        assert one.box.left == []
        await trio.sleep(10)
        assert one.box.left == [id]
        assert receipt.status == "queued"


async def test_a_letter_whose_mailbox_is_over_is_left_once_more(autojump_clock: MockClock) -> None:
    async with world(Box()) as one:
        id, receipt = one.send()
        await trio.sleep(1)
        one.told.stored(id, 1, False)
        one.told.lapsed(id)
        await trio.sleep(1)
        assert one.box.left == [id, id]
        one.told.stored(id, 2, True)
        one.told.lapsed(id)
        await trio.sleep(1)
        assert one.box.left == [id, id]
        assert receipt.status == "stored"


async def test_nothing_is_tried_again_where_that_is_in_vain_or_all_is_closed(
    autojump_clock: MockClock,
) -> None:
    for failure in (NotLeft("never"), Closed("closed")):
        async with world(Box(failure)) as one:
            one.send()
            await trio.sleep(1000)
            assert one.box.left == []


async def test_it_ends_before_it_is_stored(autojump_clock: MockClock) -> None:
    import onionshh

    async with world(Box(NotLeft("no inbox"))) as one:
        _, receipt = one.send(ttl=700.0)
        with pytest.raises(onionshh.NotStored, match=r"^Not stored: ") as caught:
            await receipt.stored()
        assert caught.value.status == "expired"
        assert caught.value.why == receipt.why


async def test_a_recall_tells_whether_nobody_can_get_it(autojump_clock: MockClock) -> None:
    for erases, expected in ((True, True), (False, False), (BadData("disk"), False), (Closed(""), False)):
        box = Box()
        box.erases = erases
        async with world(box) as one:
            id, receipt = one.send()
            await trio.sleep(1)
            one.told.stored(id, 3, True)
            assert await receipt.recall() is expected
            assert (receipt.status, receipt.why) == ("failed", "it was recalled")
            assert set(box.recalled) == {id}


async def test_one_that_was_never_left_is_recalled_too(autojump_clock: MockClock) -> None:
    async with world(Box(NotLeft("no inbox"))) as one:
        _, receipt = one.send()
        assert await receipt.recall()
        assert receipt.status == "failed"


async def test_one_that_is_being_left_is_not_left_after_its_recall(autojump_clock: MockClock) -> None:
    """It is sealed only once a descriptor is found, and an endpoint leaves a few letters a minute. Nobody
    would recall what is left after the recall."""
    async with world(Box(seals_seconds=100.0)) as one:
        _, receipt = one.send()
        _, other = one.send()
        await trio.sleep(1)
        assert await receipt.recall()
        assert (receipt.status, receipt.why) == ("failed", "it was recalled")
        await trio.sleep(200)
        assert one.box.left == [WhisperId(bytes.fromhex(other.id))]


async def test_without_a_receipt_stored_is_sent(autojump_clock: MockClock) -> None:
    async with world(Box()) as one:
        id, receipt = one.send(receipt=False)
        await trio.sleep(1)
        one.told.stored(id, 2, True)
        assert (receipt.status, receipt.is_final, receipt.copies) == ("sent", True, (2, 4))
        one.told.stored(id, 4, True)
        assert receipt.copies == (4, 4)
        assert one.box.recalled == []
        assert await receipt.recall()


async def test_where_the_other_end_sends_no_receipts_stored_is_sent(autojump_clock: MockClock) -> None:
    async with world(Box()) as one:
        one.box.receipts = False
        id, receipt = one.send()
        await trio.sleep(1)
        assert one.box.left == [id]
        one.told.stored(id, 2, True)
        assert (receipt.status, one.box.recalled) == ("sent", [])


async def test_its_ttl_ends_and_what_is_left_is_erased(autojump_clock: MockClock) -> None:
    async with world(Box()) as one:
        id, receipt = one.send(ttl=700.0)
        await trio.sleep(1)
        one.told.stored(id, 4, True)
        await receipt.final()
        assert receipt.status == "expired"
        await trio.sleep(1)
        assert one.box.recalled == [id]


async def test_a_letter_of_an_earlier_run_goes_on_whenever_it_is_told(autojump_clock: MockClock) -> None:
    early, late = whisper(), whisper()
    async with world(Box(earlier=(early.whisper_id, late.whisper_id))) as one:
        one.told.stored(early.whisper_id, 3, True)
        one.sending.restore([Stored(early), Stored(late)])
        receipts = one.sending.pending()
        assert [(each.status, each.copies) for each in receipts] == [("stored", (3, 4)), ("queued", (0, 4))]
        one.told.stored(late.whisper_id, 2, True)
        assert receipts[1].status == "stored"
        await trio.sleep(1000)
        assert one.box.left == []


async def test_a_closed_sender_says_that_it_is_stored(autojump_clock: MockClock) -> None:
    async with world(Box()) as one:
        id, receipt = one.send()
        _, other = one.send()
        await trio.sleep(1)
        one.told.stored(id, 2, True)
        one.sending.close("the contact was closed before a receipt came")
        assert (receipt.status, receipt.why) == (
            "failed",
            "stored, but nobody waits for the receipt any more",
        )
        assert other.why == "the contact was closed before a receipt came"
        assert one.box.recalled == []


async def test_why_it_is_not_stored_is_kept_apart_from_what_is_in_the_way(autojump_clock: MockClock) -> None:
    async with world(Box(NotLeft("no inbox", 100.0))) as one:
        id, receipt = one.send()
        assert receipt.why_not_stored == ""
        await trio.sleep(60)
        assert (receipt.why_not_stored, receipt.why) == ("no inbox", "nobody is there")
        one.told.proving(id, 0.5, 100)
        assert receipt.why_not_stored == ""
        one.told.not_stored(id, NotStored.FULL)
        assert receipt.why_not_stored == str(NotStored.FULL)
        one.told.stored(id, 2, True)
        assert receipt.why_not_stored == ""
