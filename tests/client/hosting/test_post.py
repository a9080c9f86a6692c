"""What an endpoint leaves for peers that are away: it arrives though the two are never there together, and
nothing of it is lost or done twice through crashes (SPEC 14)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.contact import Contact
from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting import post as post_file
from onionshh.client.hosting.hosting import MIGRATIONS
from onionshh.client.hosting.post import LEAST_SECONDS, TOGETHER_MOST, TOGETHER_SECONDS, Post
from onionshh.client.hosting.whisper_store import WhisperStore
from onionshh.client.mail import waiting
from onionshh.client.receipt import Receipt
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory
from onionshh.core.delivery import inbox
from onionshh.core.delivery.record import Record, new_whisper, receipt_for
from onionshh.core.session.session import Session
from onionshh.errors import BadData, Closed
from onionshh.ids import WhisperId
from onionshh.net import link_loop
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from tests.client.dying import DyingDisk
from tests.client.test_speaking_first import met
from tests.client.world import PATIENCE_SECONDS, QUIET, bytes_on_disk, hosted, small, until
from tests.inside import inside, parts
from tests.seeded import seeded

DAY = 86_400
SESSION = b"r" * 32
random_bytes = seeded(8)


class Peer:
    """One peer of a post without an endpoint. `there`: whether it can be reached now."""

    def __init__(self, context: Context, database: Database) -> None:
        self.there = False
        self.silent: Session | None = None
        self.live: list[Record] = []
        self.calls = 0
        self.keeper = SessionKeeper(context, SessionsInMemory())
        period = context.view.period
        self.session = Session.started(SESSION, introduced=False, period=period, wall=context.clock.best())
        self.keeper.save_soon(self.session)
        self.post = Post(
            context, database, self.keeper, live=self._live, stored=lambda letter, copies, enough: None
        )

    async def _live(self, session: Session, receipts: Sequence[Record]) -> Sequence[Record]:
        if not self.there:
            return receipts
        self.calls += 1
        if session is self.silent:
            await trio.sleep_forever()
        self.live += receipts
        return ()


@asynccontextmanager
async def posting() -> AsyncIterator[tuple[Context, Database, Peer]]:
    async with small(3, interval_seconds=600, **QUIET) as net, net.join("host") as node:
        context = inside(node)
        database = Database(":memory:", MIGRATIONS, run_inline)
        try:
            yield context, database, Peer(context, database)
        finally:
            database.close()


def receipts(context: Context, count: int, seconds: int = 4000) -> list[Record]:
    expires = context.clock.best() + seconds
    whispers = [
        new_whisper(b"x", expires=expires, privacy_class=1, random_bytes=random_bytes) for _ in range(count)
    ]
    return [receipt_for(whisper, random_bytes) for whisper in whispers]


async def test_receipts_wait_for_each_other_and_leave_together(autojump_clock: MockClock) -> None:
    async with posting() as (context, _, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.post.run)
        for _ in range(3):
            await peer.post.owe(peer.session, receipts(context, 2))
            await trio.sleep(10)
        await trio.sleep(TOGETHER_SECONDS - 35)
        assert (peer.post.owed, len(peer.post.leaving)) == (6, 0)
        await trio.sleep(6)
        assert (peer.post.owed, len(peer.post.leaving)) == (0, 1)
        # As many as fit leave at once.
        await peer.post.owe(peer.session, receipts(context, TOGETHER_MOST + 1))
        await trio.sleep(1)
        assert (peer.post.owed, len(peer.post.leaving)) == (1, 2)
        await trio.sleep(TOGETHER_SECONDS)
        assert (peer.post.owed, len(peer.post.leaving)) == (0, 3)
        nursery.cancel_scope.cancel()


async def test_who_can_be_reached_gets_them_live_and_what_has_no_time_is_not_left(
    autojump_clock: MockClock,
) -> None:
    async with posting() as (context, _, peer), trio.open_nursery() as nursery:
        nursery.start_soon(peer.post.run)
        peer.there = True
        owed = receipts(context, 2)
        await peer.post.owe(peer.session, owed)
        await trio.sleep(TOGETHER_SECONDS + 1)
        assert (peer.live, peer.post.owed, len(peer.post.leaving)) == (owed, 0, 0)
        peer.there = False
        await peer.post.owe(peer.session, receipts(context, 2, LEAST_SECONDS))
        await trio.sleep(TOGETHER_SECONDS + 1)
        assert (peer.post.owed, len(peer.post.leaving)) == (0, 0)
        nursery.cancel_scope.cancel()


async def test_a_peer_that_does_not_answer_keeps_no_other_waiting(autojump_clock: MockClock) -> None:
    async with posting() as (context, _, peer), trio.open_nursery() as nursery:
        period, wall = context.view.period, context.clock.best()
        other = Session.started(b"q" * 32, introduced=False, period=period, wall=wall)
        peer.keeper.save_soon(other)
        peer.there, peer.silent = True, peer.session
        nursery.start_soon(peer.post.run)
        await peer.post.owe(peer.session, receipts(context, 2))
        await trio.sleep(1)
        owed = receipts(context, 1)
        await peer.post.owe(other, owed)
        await peer.post.owe(peer.session, receipts(context, TOGETHER_MOST))
        await trio.sleep(TOGETHER_SECONDS + 1)
        assert peer.live == owed
        await trio.sleep(600)
        assert peer.calls == 2
        assert peer.post.owed == 2 + TOGETHER_MOST
        nursery.cancel_scope.cancel()


async def test_what_is_owed_is_there_after_a_restart_and_bounded(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(post_file, "OWED_MOST", 3)
    async with posting() as (context, database, peer):
        await peer.post.owe(peer.session, receipts(context, 2))
        await peer.post.owe(peer.session, receipts(context, 2))
        assert context.drops.by_name() == {Reason.MAIL_RECEIPTS_MOST: 1}
        again = Peer(context, database)
        await again.post.load()
        assert again.post.owed == peer.post.owed == 2
        again.post.forget_peer(again.session)
        assert again.post.owed == 0
        await database.empty_log()
        third = Peer(context, database)
        await third.post.load()
        assert third.post.owed == 0


async def test_a_reply_is_a_receipt_and_no_more_than_six_letters_leave_in_a_minute(
    autojump_clock: MockClock,
) -> None:
    async with posting() as (context, _, peer), trio.open_nursery() as nursery:
        owed = receipts(context, 1)[0]
        await peer.post.owe(peer.session, [owed])
        expires = context.clock.best() + 4000
        left = []
        for number in range(8):
            record = new_whisper(
                b"reply",
                expires=expires,
                privacy_class=1,
                random_bytes=random_bytes,
                in_reply_to=owed.in_reply_to if not number else WhisperId(b"o" * 16),
            )
            await peer.post.leave(peer.session, record)
            left.append(trio.current_time())
            assert peer.post.leaving.is_left(record.whisper_id)
            await peer.post.leave(peer.session, record)  # nothing happens
        assert len(peer.post.leaving) == 8
        assert peer.post.owed == 0
        assert left[5] - left[0] < 1
        assert left[7] - left[5] >= 19
        peer.post.forget_peer(peer.session)
        assert not any(peer.post.leaving.is_left(letter) for letter in (record.whisper_id,))
        nursery.cancel_scope.cancel()


async def test_nothing_is_left_for_a_peer_that_was_forgotten_meanwhile(autojump_clock: MockClock) -> None:
    """A letter waits for its turn. Once its peer is forgotten, nobody would recall it."""
    async with posting() as (context, _, peer), trio.open_nursery() as nursery:
        refused = []

        async def leave() -> None:
            record = new_whisper(
                b"reply",
                expires=context.clock.best() + 4000,
                privacy_class=1,
                random_bytes=random_bytes,
                in_reply_to=WhisperId(b"o" * 16),
            )
            try:
                await peer.post.leave(peer.session, record)
            except NotLeft as error:
                refused.append(error.why)

        for _ in range(8):
            nursery.start_soon(leave)
        await trio.sleep(1)
        assert (len(peer.post.leaving), refused) == (6, [])
        peer.keeper.forget(peer.session)
        peer.post.forget_peer(peer.session)
        await trio.sleep(60)
        assert (len(peer.post.leaving), refused) == (6, [post_file.OVER] * 2)
        nursery.cancel_scope.cancel()


# Whole networks.


async def test_receipt_and_reply_arrive_though_both_are_never_there_together(
    autojump_clock: MockClock,
) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
        async with visitor.contact(address, name="friend") as contact:
            question, news = (contact.send(body, ttl_seconds=DAY) for body in (b"question", b"news"))
            for receipt in (question, news):
                with trio.fail_after(900):
                    await receipt.stored()
        async with hosted(net) as (_, endpoint):
            answered: dict[bytes, Receipt | None] = {}
            with trio.fail_after(1500):
                async for whisper in endpoint:
                    answered[whisper.body] = None
                    if whisper.body == b"question":
                        answered[whisper.body] = await whisper.reply(b"answer")
                    if len(answered) == 2:
                        await whisper.done()
                        break
            reply = answered[b"question"]
            assert reply is not None
            with trio.fail_after(900):
                await reply.stored()
            assert (reply.status, reply.copies[0] >= 2) == ("stored", True)
            await trio.sleep(TOGETHER_SECONDS + 200)  # the receipt of the other
        async with visitor.contact(address, name="friend") as contact:
            again = contact.receipt(question.id)
            assert again is not None
            with trio.fail_after(3 * 3600):
                assert await again.reply() == b"answer"
            assert again.status == "delivered"
            also = contact.receipt(news.id)
            assert also is not None
            with trio.fail_after(3 * 3600):
                assert (await also.final()).status == "delivered"


async def test_what_is_said_first_to_a_peer_that_is_away_waits_for_it(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            async with visitor.contact(endpoint.address, name="friend") as contact:
                peer = await met(endpoint, contact)
            await trio.sleep(100)
            told, erased = (peer.send(body, ttl_seconds=DAY) for body in (b"news", b"no"))
            for receipt in (told, erased):
                with trio.fail_after(900):
                    await receipt.stored()
                assert receipt.status == "stored"
            assert await erased.recall()
        assert told.status == "failed"
        async with visitor.contact(endpoint.address, name="friend") as contact:
            said: list[tuple[bytes, bool]] = []
            with trio.move_on_after(2 * 3600):
                async for whisper in contact:
                    said += [(whisper.body, whisper.waited)]
            assert said == [(b"news", True)]


@pytest.mark.parametrize("why", ["disk", "room"])
async def test_what_is_said_first_stays_at_its_relays_until_the_peer_has_kept_it(
    why: str, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is gone, so what its relays erase too early is lost."""
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 60.0)
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            async with visitor.contact(endpoint.address, name="friend") as contact:
                peer = await met(endpoint, contact)
            await trio.sleep(100)
            with trio.fail_after(900):
                await peer.send(b"news", ttl_seconds=DAY).stored()
        tries = 0

        async def fails(self: WhisperStore, *rows: object, **more: object) -> None:
            nonlocal tries
            tries += 1
            await trio.sleep(0.1)
            raise BadData("the disk is full")

        with monkeypatch.context() as patched:
            patched.setattr(*((WhisperStore, "commit", fails) if why == "disk" else (inbox, "BYTES_MOST", 2)))
            async with visitor.contact(endpoint.address, name="friend") as contact:
                with trio.move_on_after(600):
                    async for _ in contact:  # it may be shown, and is not finished
                        await trio.sleep_forever()
                assert tries or visitor.drops()[Reason.NO_ROOM_FOR_WHISPER] > 1
        async with visitor.contact(endpoint.address, name="friend") as contact:
            with trio.fail_after(2 * 3600):
                assert (await anext(aiter(contact))).body == b"news"


async def test_who_is_forgotten_gets_nothing_that_was_left(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            async with visitor.contact(endpoint.address, name="friend") as contact:
                peer = await met(endpoint, contact)
            await trio.sleep(100)
            with trio.fail_after(900):
                await peer.send(b"what nobody may read", ttl_seconds=DAY).stored()
            await peer.forget()
            post = parts(endpoint).peers.post
            await until(lambda: len(post.leaving) == 0, 300)
            await trio.sleep(2)
            assert b"what nobody may read" not in bytes_on_disk(net.folder / "host")
        async with visitor.contact(endpoint.address, name="friend") as contact:
            with trio.move_on_after(3600):
                async for _ in contact:
                    raise AssertionError("it was recalled")


# Crashes.

DEATHS = (1, 2, 3, 5, 8, 13)
"""A healthy run syncs about 16 times until both whispers are handled and the reply is left, and some 12 times
more until the receipt of the other is at its relays."""


class Handled:
    """What a program that answers every whisper has finished."""

    def __init__(self) -> None:
        self.bodies: Counter[bytes] = Counter()

    async def serve(self, endpoint: Endpoint) -> None:
        async for whisper in endpoint:
            try:
                await (whisper.reply(b"re " + whisper.body) if b"ask" in whisper.body else whisper.done())
            except (BadData, Closed):
                await trio.sleep(1)
                whisper.let_go()
                continue
            self.bodies[whisper.body] += 1


async def test_an_endpoint_may_die_after_any_sync_while_it_reads_and_answers(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Visitor and endpoint are never there together, until the end."""
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 20.0)
    disk, handled, sent = DyingDisk(monkeypatch, "endpoint.db"), Handled(), list[str]()
    folder = "host"
    async with (
        small(8, interval_seconds=600, **QUIET) as net,
        net.join("visitor") as visitor,
        net.join(folder) as host,
    ):
        async with host.host(net.folder / "identity", introducers=2) as endpoint:
            with trio.fail_after(PATIENCE_SECONDS):
                await endpoint.reachable()
            address = endpoint.address
        for number in DEATHS:
            async with visitor.contact(address, name="n") as contact:
                sent += await left(contact, b"ask %d" % number, b"say %d" % number)
            async with host.host(net.folder / "identity", introducers=2) as endpoint:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(handled.serve, endpoint)
                    disk.dies_after(number, net.folder / folder / "endpoints")
                    with trio.move_on_after(1500):
                        while not disk.dead:
                            await trio.sleep(1)
                    await trio.sleep(100 * (number % 2))  # it goes on with a full disk, or ends
                    nursery.cancel_scope.cancel()
            if disk.dead:
                disk.restore()
        async with host.host(net.folder / "identity", introducers=2) as endpoint:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(handled.serve, endpoint)
                await trio.sleep(1500)
                async with visitor.contact(address, name="n") as contact:
                    for key in sent:
                        receipt = contact.receipt(key)
                        assert receipt is not None
                        with trio.fail_after(4 * 3600):
                            assert (await receipt.final()).status == "delivered"
                nursery.cancel_scope.cancel()
        assert len(handled.bodies) == len(sent)
        assert set(handled.bodies.values()) == {1}


async def left(contact: Contact, *bodies: bytes) -> list[str]:
    """Leave these whispers at relays. Returns their ids."""
    receipts = [contact.send(body, ttl_seconds=2 * DAY) for body in bodies]
    for receipt in receipts:
        with trio.fail_after(900):
            await receipt.stored()
    return [receipt.id for receipt in receipts]
