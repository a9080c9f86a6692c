"""What waits for a visitor: read after pauses, brought whole, erased at the relays once it is kept."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.client.mail import waiting as file
from onionshh.client.mail.deposits import DepositsInMemory, SealedItem
from onionshh.client.mail.pair_reading import PREVIOUS_EVERY
from onionshh.client.mail.part_store import PartsInMemory
from onionshh.client.mail.reading import MailboxReader, Read
from onionshh.client.mail.waiting import PAUSE_MOST_SECONDS, WaitingMail
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.delivery.record import Record, new_whisper
from onionshh.core.mailbox.pair import (
    FROM_ENDPOINT,
    PairPart,
    pack_records,
    pair_key,
    pair_mailbox,
    seal_pair,
    split,
)
from onionshh.core.session.session import Session
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData
from onionshh.geometry import KEY, SEED
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from onionshh.wire.mailbox import Item
from tests.client.mail.postal import Heard, leaving
from tests.client.world import QUIET, small
from tests.inside import inside

DAY = 86_400


class Copies(Heard):
    """Of several letters."""

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """Each has tries of its own."""


class World:
    """A visitor with one session. `brought`: what was brought to it; `fails`: how often that fails first."""

    def __init__(self, context: Context, session: Session, sessions: VisitorSessions) -> None:
        self.context = context
        self.session = session
        self.sessions = sessions
        self.brought: list[tuple[Session, bytes]] = []
        self.fails = 0
        self.expects = True
        self.mail = WaitingMail(context, sessions, self._bring, lambda: self.expects, PartsInMemory(context))

    async def _bring(self, session: Session, record: Record) -> None:
        await trio.lowlevel.checkpoint()
        if self.fails:
            self.fails -= 1
            raise BadData("the disk is full")
        self.brought.append((session, record.body))

    @property
    def bodies(self) -> list[bytes]:
        return [body for _, body in self.brought]

    def record(self, body: bytes = b"reply") -> Record:
        expires = self.context.clock.best() + DAY
        chance = self.context.chance
        return new_whisper(body, expires=expires, privacy_class=1, random_bytes=chance.bytes)

    def sealed(self, *packed: bytes) -> list[SealedItem]:
        """As the endpoint seals it: each of these is what all parts of one letter have together."""
        context, period = self.context, self.context.view.period
        mail_key = self.session.mail.key_of(period)
        if mail_key is None:
            raise AssertionError("there is no key")
        mailbox = pair_mailbox(mail_key, FROM_ENDPOINT, period)
        items = []
        for data in packed:
            letter, chunks = WhisperId(context.chance.bytes(16)), split(data)
            for part, chunk in enumerate(chunks):
                seed = context.chance.bytes(KEY)
                plain = PairPart(letter, part, len(chunks), chunk)
                value = seal_pair(mail_key, mailbox, SigningKey(seed).public, plain, context.chance.bytes)
                items.append(SealedItem(mailbox, seed, context.clock.best() + DAY, value))
        return items

    async def left(self, items: list[SealedItem]) -> None:
        """These lie at four relays each."""
        heard = Copies()
        async with leaving(self.context, DepositsInMemory(), heard) as made:
            for number, item in enumerate(items):
                await made.leave(WhisperId(number.to_bytes(16)), [item], item.expires)
            with trio.fail_after(600):
                while heard.copies.count((4, True)) < len(items):
                    await trio.sleep(1)

    async def lies_there(self) -> int:
        """How many items a reader finds that erases nothing: it stops at the first."""
        found: list[Item] = []

        async def take(item: Item) -> None:
            found.append(item)
            raise BadData("only looked at")

        period = self.context.view.period
        mail_key = self.session.mail.key_of(period)
        if mail_key is None:
            raise AssertionError("there is no key")
        mailbox = pair_mailbox(mail_key, FROM_ENDPOINT, period)
        with suppress(BadData):
            await MailboxReader(self.context, mailbox, pair_key(mail_key, FROM_ENDPOINT).sign, take).read()
        return len(found)


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as node:
        context = inside(node)
        sessions = VisitorSessions(context, SessionKeeper(context, SessionsInMemory(), 16))
        session = await sessions.begin_by_letter(context.chance.bytes(SEED), context.view.period)
        yield World(context, session, sessions)


async def test_what_the_endpoint_left_is_brought_once_and_erased(autojump_clock: MockClock) -> None:
    async with world() as one:
        records = [one.record(b"%d" % number) for number in range(3)]
        await one.left(one.sealed(pack_records(record.encode() for record in records)))
        await one.mail.read()
        assert one.brought == [(one.session, b"0"), (one.session, b"1"), (one.session, b"2")]
        await one.mail.read()
        assert len(one.brought) == 3
        assert await one.lies_there() == 0


async def test_what_comes_in_several_parts_is_brought_when_all_are_there(autojump_clock: MockClock) -> None:
    async with world() as one:
        body = bytes(range(250)) * 60
        items = one.sealed(pack_records([one.record(body).encode()]))
        assert len(items) > 1
        await one.left(items[1:])
        await one.mail.read()
        assert one.brought == []
        await one.left(items[:1])
        await one.mail.read()
        assert one.bodies == [body]


async def test_what_cannot_be_kept_is_read_again_later(autojump_clock: MockClock) -> None:
    async with world() as one:
        await one.left(one.sealed(pack_records([one.record().encode()])))
        one.fails = 1
        with pytest.raises(BadData):
            await one.mail.read()
        assert await one.lies_there() == 1
        await one.mail.read()
        assert one.bodies == [b"reply"]
        assert await one.lies_there() == 0


async def test_a_disk_that_fails_does_not_end_the_reading(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with world() as one, trio.open_nursery() as nursery:
        await one.left(one.sealed(pack_records([one.record().encode()])))
        one.fails = 2
        nursery.start_soon(one.mail.run)
        with trio.fail_after(4 * PAUSE_MOST_SECONDS):
            while not one.brought:
                await trio.sleep(60)
        nursery.cancel_scope.cancel()
    assert caplog.text.count("what lies in a mailbox could not be kept") == 2


async def test_what_is_of_no_use_is_counted_and_erased(autojump_clock: MockClock) -> None:
    async with world() as one:
        good = one.sealed(pack_records([one.record().encode()]))
        (short,) = one.sealed(b"\0\0\0\1x")
        (mixed,) = one.sealed(pack_records([one.record(b"y").encode()]))
        other = SealedItem(mixed.mailbox, b"s" * KEY, mixed.expires, mixed.value)  # of another id
        await one.left([short, other, *good])
        await one.mail.read()
        assert one.bodies == [b"reply"]
        assert one.context.drops.counts[Reason.PAIR_SHAPE] >= 1
        assert await one.lies_there() == 0


async def test_nothing_is_read_at_once_nor_when_nothing_is_expected(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[float] = []

    async def counted(self: MailboxReader, *, missing: bool = False) -> None:
        await trio.lowlevel.checkpoint()
        reads.append(trio.current_time())

    monkeypatch.setattr(MailboxReader, "read", counted)
    async with world() as one, trio.open_nursery() as nursery:
        began = trio.current_time()
        one.expects = False
        nursery.start_soon(one.mail.run)
        await trio.sleep(3600)
        assert reads == []
        one.expects = True
        await trio.sleep(2 * 3600)
        nursery.cancel_scope.cancel()
    assert 3 <= len(reads) <= 30
    assert min(reads) > began + 3600
    assert file.PAUSE_LEAST_SECONDS > 0


async def test_the_period_before_is_read_soon_after_a_period_began_and_older_ones_once_at_the_start(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def counted(self: MailboxReader, *, missing: bool = False) -> Read:
        await trio.lowlevel.checkpoint()
        asked.append(self.mailbox.period)
        return Read(0, 6, 6)

    monkeypatch.setattr(MailboxReader, "read", counted)
    async with world() as one:
        period = one.context.view.period
        old = await one.sessions.begin_by_letter(one.context.chance.bytes(SEED), period - 3)
        for _ in range(PREVIOUS_EVERY - 1):
            await one.mail.read()
        assert set(asked) == {period}
        await one.mail.read()
        assert set(asked) == {period - 1, period}
        asked.clear()
        async with trio.open_nursery() as nursery:
            one.expects = False
            nursery.start_soon(one.mail.run)
            await trio.sleep(file.OLDER_SECONDS + 1)
            nursery.cancel_scope.cancel()
        assert sorted(asked) == [period - 3, period - 2, period - 1]
        assert old.mail.period == period - 3


async def test_older_mailboxes_are_read_again_when_something_stood_in_the_way(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []

    async def full_at_first(self: MailboxReader, *, missing: bool = False) -> Read:
        await trio.lowlevel.checkpoint()
        asked.append(self.mailbox.period)
        if len(asked) == 1:
            raise BadData("the disk is full")
        return Read(0, 6, 6)

    monkeypatch.setattr(MailboxReader, "read", full_at_first)
    async with world() as one:
        period = one.context.view.period
        await one.sessions.begin_by_letter(one.context.chance.bytes(SEED), period - 2)
        one.expects = False
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.mail.run)
            await trio.sleep(3 * file.OLDER_SECONDS + 600)
            nursery.cancel_scope.cancel()
        assert sorted(set(asked)) == [period - 2, period - 1]
        assert len(asked) == 3
