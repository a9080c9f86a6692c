"""The inbox of an endpoint: letters that were left while it was away are whispers like others (SPEC 14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.client.hosting.inbox import Inbox
from onionshh.client.hosting.letter_keys import LETTER_KEY_MIGRATIONS, LetterKey, LetterKeys
from onionshh.client.mail.part_store import PartsInMemory
from onionshh.client.mail.reading import NoRoom
from onionshh.core.delivery import inbox as delivery_inbox
from onionshh.core.delivery.record import Record, new_whisper, receipt_for
from onionshh.core.mailbox.letter import (
    KnownSender,
    Letter,
    NewSender,
    letter_info,
    letter_proof,
    letter_root,
    seal_letter,
    split,
)
from onionshh.core.session.session import Session, SessionId
from onionshh.crypto.identity import IdentityKeys, SigningKey
from onionshh.geometry import MAILBOX_VALUE
from onionshh.net import link_loop
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from onionshh.wire.mailbox import INBOX, Item, Mailbox
from tests.client.world import QUIET, WALL, hosted, small, until
from tests.inside import inside, parts
from tests.seeded import seeded

DAY = 86_400
IDENTITY = IdentityKeys.generate(seeded(3))
random_bytes = seeded(6)


class Taker:
    """Takes what was read, and notes it. `full`: has no room now."""

    def __init__(self) -> None:
        self.taken: list[tuple[Record, Session | None]] = []
        self.sessions: dict[bytes, Session] = {}
        self.full = False

    async def mailed(self, record: Record, session: Session | None) -> None:
        if self.full:
            raise NoRoom
        self.taken.append((record, session))

    def session_of(self, session_id: bytes) -> Session | None:
        return self.sessions.get(session_id)


class Writer:
    """Writes letters by hand, as somebody who keeps to no rule."""

    def __init__(self, context: Context, key: LetterKey) -> None:
        self._context = context
        self.key = key
        self.period = context.view.period
        self.mailbox = Mailbox(INBOX, self._blind(self.period).public, self.period)

    def _blind(self, period: int):  # type: ignore[no-untyped-def]
        return IDENTITY.blind(period, self._context.params.period_seconds)

    def record(self, body: bytes = b"hello") -> Record:
        expires = self._context.clock.best() + 4000
        return new_whisper(body, expires=expires, privacy_class=1, random_bytes=random_bytes)

    def items(self, record: Record, sender: NewSender | Session | KnownSender) -> list[Item]:
        chunks = split(record.encode())
        return [self.item(record, sender, part, len(chunks), chunk) for part, chunk in enumerate(chunks)]

    def item(
        self,
        record: Record,
        sender: NewSender | Session | KnownSender,
        part: int = 0,
        count: int = 1,
        chunk: bytes | None = None,
    ) -> Item:
        item_id = SigningKey.generate(random_bytes).public
        if isinstance(sender, Session):
            mail_key = sender.mail.key_of(self.period)
            assert mail_key is not None
            sender = KnownSender(sender.session_id, letter_proof(mail_key, item_id))
        encoded = record.encode() if chunk is None else chunk
        letter = Letter(sender, record.whisper_id, record.privacy_class, part, count, encoded)
        info = letter_info(self.key.period, self._blind(self.key.period).subcredential, item_id)
        value = seal_letter(self.key.key.public, info, letter)
        return Item(item_id, record.expires, 0, bytes(64), value)


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[tuple[Context, Inbox, Taker, Writer]]:
    """An inbox without an endpoint, with one letter key."""
    async with small(3, interval_seconds=600, **QUIET) as net, net.join("host") as node:
        context, taker = inside(node), Taker()
        database = Database(folder / "endpoint.db", LETTER_KEY_MIGRATIONS, run_inline)
        keys = LetterKeys(database, seeded(1))
        inbox = Inbox(context, IDENTITY, keys, PartsInMemory(context), taker)
        key = await keys.key_until(context.view.period, WALL + DAY)
        try:
            yield context, inbox, taker, Writer(context, key)
        finally:
            database.close()


async def test_the_letters_of_a_new_sender_share_a_session_that_its_seed_gives(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with opened(tmp_path) as (context, inbox, taker, writer):
        sender, first, second = NewSender(b"s" * 32), writer.record(), writer.record(b"again")
        for item in writer.items(first, sender):
            await inbox.take(writer.mailbox, item)
        root = letter_root(b"s" * 32, writer.mailbox.name, writer.period)
        theirs = Session.started(root, introduced=True, period=writer.period, wall=WALL)
        ((record, session),) = taker.taken
        assert record == first
        assert session is not None
        assert (session.session_id, session.introduced) == (theirs.session_id, False)
        assert session.mail.key_of(writer.period) == theirs.mail.key_of(writer.period)
        taker.sessions[session.session_id] = session
        for item in writer.items(second, sender):
            await inbox.take(writer.mailbox, item)
        assert taker.taken[1] == (second, session)
        assert not context.drops.by_name()


async def test_parts_come_in_any_order_and_make_one_whisper(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with opened(tmp_path) as (_, inbox, taker, writer):
        first, second = writer.record(bytes(10_000)), writer.record(bytes(60_000))
        items = [*writer.items(first, NewSender(b"s" * 32)), *writer.items(second, NewSender(b"t" * 32))]
        assert len(items) == 4 + 16
        for item in [*items[::2], *items[:6], *items[1::2]]:  # some come twice
            await inbox.take(writer.mailbox, item)
        assert [record for record, _ in taker.taken] == [first, second]


async def test_a_letter_stays_where_it_is_while_there_is_no_room(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with opened(tmp_path) as (_, inbox, taker, writer):
        record = writer.record(bytes(10_000))
        items = writer.items(record, NewSender(b"s" * 32))
        for item in items[:-1]:
            await inbox.take(writer.mailbox, item)
        taker.full = True
        with pytest.raises(NoRoom):
            await inbox.take(writer.mailbox, items[-1])
        taker.full = False
        await inbox.take(writer.mailbox, items[-1])
        assert [record for record, _ in taker.taken] == [record]


async def test_a_known_sender_is_known_by_its_proof_alone(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with opened(tmp_path) as (context, inbox, taker, writer):
        ours, theirs = (
            Session.started(b"r" * 32, introduced=side, period=writer.period - 3, wall=WALL)
            for side in (False, True)
        )
        taker.sessions[ours.session_id] = ours
        record = writer.record()
        forged = KnownSender(ours.session_id, bytes(16))
        await inbox.take(writer.mailbox, writer.item(record, forged))
        assert (taker.taken, context.drops.by_name()) == ([], {Reason.LETTER_PROOF: 1})
        await inbox.take(writer.mailbox, writer.item(record, theirs))
        assert taker.taken == [(record, ours)]
        # Once the session is over, it is a stranger's letter: it was promised that it arrives.
        del taker.sessions[ours.session_id]
        await inbox.take(writer.mailbox, writer.item(record, forged))
        assert taker.taken[1:] == [(record, None)]
        # A session from after this period has no key for it.
        late = Session.started(b"q" * 32, introduced=False, period=writer.period + 1, wall=WALL)
        taker.sessions[late.session_id] = late
        await inbox.take(writer.mailbox, writer.item(record, KnownSender(late.session_id, bytes(16))))
        assert context.drops.by_name() == {Reason.LETTER_PROOF: 2}


async def test_what_is_no_letter_for_us_is_dropped_and_counted(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with opened(tmp_path) as (context, inbox, taker, writer):
        record, sender = writer.record(), NewSender(b"s" * 32)
        other = LetterKeys(Database(":memory:", LETTER_KEY_MIGRATIONS, run_inline), seeded(9))
        stranger = Writer(context, await other.key_until(writer.period, WALL + DAY))
        good = writer.item(record, sender)
        wrong_id = Item(bytes(32), good.expires, 0, bytes(64), good.value)
        junk = Item(bytes(32), good.expires, 0, bytes(64), bytes(MAILBOX_VALUE))
        for item in (stranger.item(record, sender), wrong_id, junk):
            await inbox.take(writer.mailbox, item)
        assert context.drops.by_name() == {Reason.SEAL_OPEN: 3}
        # What is inside must be the whisper that the letter names, and nothing else.
        receipt = receipt_for(record, random_bytes)
        named = writer.item(record, sender, chunk=writer.record().encode())
        for item in (named, writer.item(receipt, sender)):
            await inbox.take(writer.mailbox, item)
        assert context.drops.by_name()[Reason.LETTER_SHAPE] == 2
        assert not taker.taken
        await inbox.take(writer.mailbox, good)
        assert [record for record, _ in taker.taken] == [record]


async def test_a_letter_for_an_older_key_is_opened_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with opened(tmp_path) as (context, inbox, taker, writer):
        keys = inbox.letter_keys
        old = await keys.key_until(writer.period - 7, WALL + DAY)
        older = Writer(context, old)
        record = older.record()
        await inbox.take(older.mailbox, older.item(record, NewSender(b"s" * 32)))
        assert [record for record, _ in taker.taken] == [record]


# Whole networks.


async def test_a_whisper_that_was_left_is_shown_once_and_answered(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
        async with visitor.contact(address, name="friend") as contact:
            receipt = contact.send(b"are you there?", ttl_seconds=DAY)
            with trio.fail_after(600):
                await receipt.stored()
            async with hosted(net) as (host, endpoint), trio.open_nursery() as nursery:
                shown = []

                @nursery.start_soon
                async def answer() -> None:
                    async for whisper in endpoint:
                        shown.append((whisper.body, whisper.waited, whisper.id))
                        assert whisper.peer is not None
                        await whisper.reply(b"now I am")

                with trio.fail_after(3 * 3600):
                    assert await receipt.reply() == b"now I am"
                assert receipt.status == "delivered"
                await trio.sleep(3000)  # it goes live too, and lies at four relays
                assert shown == [(b"are you there?", True, receipt.id)]
                assert not set(host.drops()) - {Reason.DESTROYED}
                nursery.cancel_scope.cancel()


async def test_of_a_letter_and_a_live_copy_one_is_shown(autojump_clock: MockClock) -> None:
    """The visitor is there when the endpoint returns, and the live copy comes first."""
    async with (
        small(8, interval_seconds=600, **QUIET) as net,
        net.join("visitor") as visitor,
        net.join("host") as node,
    ):
        async with node.host(net.folder / "identity", introducers=2, inbox=True) as endpoint:
            with trio.fail_after(100):
                await endpoint.reachable()
            address = endpoint.address
        async with visitor.contact(address, name="friend") as contact:
            receipt = contact.send(b"hello", ttl_seconds=DAY)
            with trio.fail_after(600):
                await receipt.stored()
            async with node.host(net.folder / "identity", introducers=2, inbox=True) as endpoint:
                with trio.fail_after(3600):
                    await receipt.final()
                assert receipt.status == "delivered"
                await trio.sleep(3000)
                assert endpoint.waiting == (1, 0)


async def test_what_does_not_fit_waits_at_its_relays(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delivery_inbox, "WHISPERS_MOST", 1)
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
        async with visitor.contact(address, name="friend") as contact:
            for body in (b"one", b"two"):
                with trio.fail_after(1200):
                    await contact.send(body, ttl_seconds=DAY).stored()
        async with hosted(net) as (host, endpoint):
            await until(lambda: host.drops().get(Reason.LETTER_WAITS, 0) > 0, 1500)
            assert endpoint.waiting == (1, 0)
            bodies = []
            with trio.fail_after(4000):
                async for whisper in endpoint:
                    bodies.append(whisper.body)
                    if len(bodies) == 2:
                        break
            assert sorted(bodies) == [b"one", b"two"]


async def test_a_peer_that_was_known_is_the_same_by_letter(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            async with visitor.contact(endpoint.address, name="friend") as contact:
                receipt = contact.send(b"hello")
                whisper = await anext(aiter(endpoint))
                peer = whisper.peer
                await whisper.done()
                with trio.fail_after(100):
                    await receipt.final()
        assert peer is not None
        async with visitor.contact(endpoint.address, name="friend") as contact:
            receipt = contact.send(b"are you there?", ttl_seconds=DAY)
            with trio.fail_after(600):
                await receipt.stored()
        async with hosted(net) as (_, endpoint):
            with trio.fail_after(1500):
                whisper = await anext(aiter(endpoint))
            assert (whisper.body, whisper.waited, whisper.peer) == (b"are you there?", True, peer)
            assert parts(endpoint).peers.keeper.find(SessionId(bytes.fromhex(peer.id))) is not None


@pytest.mark.parametrize("periods", [1, 3])
async def test_what_was_left_in_an_earlier_period_is_found_within_minutes(
    periods: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 20.0)
    async with small(8, **{**QUIET, "period_seconds": 3600, "descriptor_grace_seconds": 600}) as net:
        async with net.join("visitor") as visitor:
            async with hosted(net) as (_, endpoint):
                address = endpoint.address
            async with visitor.contact(address, name="friend") as contact:
                receipt = contact.send(b"hello", ttl_seconds=DAY // 2)
                with trio.fail_after(600):
                    await receipt.stored()
                left_in = inside(visitor).view.period
            await trio.sleep(3600 * periods)
            async with hosted(net) as (host, endpoint):
                assert inside(host).view.period == left_in + periods
                with trio.fail_after(700):
                    whisper = await anext(aiter(endpoint))
                assert (whisper.body, whisper.waited) == (b"hello", True)
