"""Letters for an inbox: sealed to the key on the ring, with the session of whoever writes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from math import ceil

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.endpoint import Endpoint
from onionshh.client.mail import letters as file
from onionshh.client.mail.deposits import SealedItem
from onionshh.client.mail.letters import LOOK_AGAIN_SECONDS, NO_INBOX, NOBODY, TRY_AGAIN_SECONDS, Letters
from onionshh.client.mail.seed_store import SeedsInMemory
from onionshh.client.reach import finder
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.delivery.record import Record, new_whisper
from onionshh.core.mailbox.letter import (
    KnownSender,
    Letter,
    NewSender,
    letter_info,
    letter_root,
    open_letter_untrusted,
)
from onionshh.core.session.session import Session
from onionshh.crypto.identity import SigningKey, blind_public, decode_address_untrusted, subcredential
from onionshh.errors import NetworkUnreachable
from onionshh.geometry import LETTER_CHUNK
from onionshh.wire.mailbox import INBOX, Mailbox
from tests.client.world import QUIET, hosted, small
from tests.inside import inside, parts
from tests.seeded import seeded

DAY = 86_400


class World:
    def __init__(self, context: Context, endpoint: Endpoint) -> None:
        self.context = context
        self.endpoint = endpoint
        self.sessions = VisitorSessions(context, SessionKeeper(context, SessionsInMemory(), 16))
        self.key = decode_address_untrusted(endpoint.address)
        self.seeds = SeedsInMemory()
        self.letters = Letters(context, self.key, self.sessions, self.seeds)

    def whisper(self, size: int = 5, ttl: int = 3 * DAY) -> Record:
        return new_whisper(
            b"x" * size,
            expires=self.context.clock.best() + ttl,
            privacy_class=1,
            random_bytes=self.context.chance.bytes,
        )

    def opened(self, item: SealedItem) -> Letter:
        """As the endpoint opens it."""
        hosting = parts(self.endpoint)
        if hosting.inbox is None:
            raise AssertionError("there is no inbox")
        period = self.context.view.period
        blinded = blind_public(self.key, period, self.context.params.period_seconds)
        info = letter_info(period, subcredential(self.key, blinded), item.item_id)
        (key,) = (one for one in hosting.inbox.letter_keys.newest_first(9) if one.period == period)
        return open_letter_untrusted(key.key, info, item.value)


@asynccontextmanager
async def world(inbox: bool = True) -> AsyncIterator[World]:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join("visitor") as node:
        if inbox:
            async with hosted(net) as (_, endpoint):
                yield World(inside(node), endpoint)
        else:
            async with net.join("host") as host, host.host(net.folder / "id", inbox=False) as endpoint:
                await endpoint.reachable()
                yield World(inside(node), endpoint)


async def test_a_letter_of_a_stranger_begins_a_session(autojump_clock: MockClock) -> None:
    async with world() as one:
        record = one.whisper()
        (item,) = await one.letters.seal(record)
        period = one.context.view.period
        blinded = blind_public(one.key, period, one.context.params.period_seconds)
        assert item.mailbox == Mailbox(INBOX, blinded, period)
        assert item.item_id == SigningKey(item.seed).public
        assert item.expires == one.context.clock.best() + 3 * DAY
        letter = one.opened(item)
        assert (letter.letter_id, letter.privacy_class) == (record.whisper_id, 1)
        assert (letter.part, letter.parts, letter.chunk) == (0, 1, record.encode())
        assert isinstance(letter.sender, NewSender)
        root = letter_root(letter.sender.seed, blinded, period)
        (session,) = one.sessions.with_mail
        theirs = Session.started(root, introduced=False, period=period, wall=0)
        assert session.session_id == theirs.session_id
        assert session.mail.key == theirs.mail.key
        assert not session.marks.confirmed
        assert one.sessions.usable is None


async def test_all_letters_of_a_period_have_one_seed_and_ids_of_their_own(autojump_clock: MockClock) -> None:
    async with world() as one:
        (first,) = await one.letters.seal(one.whisper())
        more = await one.letters.seal(one.whisper(16_000))
        assert len({item.item_id for item in (first, *more)}) == 5
        opened = [one.opened(item) for item in (first, *more)]
        assert len({letter.sender.seed for letter in opened if isinstance(letter.sender, NewSender)}) == 1
        assert len(one.sessions.with_mail) == 1


async def test_the_seed_goes_with_its_session(autojump_clock: MockClock) -> None:
    async with world() as one:
        await one.letters.seal(one.whisper())
        await one.letters.load()
        found = await one.seeds.load()
        assert found is not None
        assert repr(found.seed) not in repr(found)
        (session,) = one.sessions.with_mail
        one.sessions.keeper.forget(session)
        await one.letters.load()
        assert await one.seeds.load() is None


@pytest.mark.parametrize(("size", "count"), [(0, 1), (4096, 1), (4097, 4), (16_384, 4), (65_535, 16)])
async def test_every_size_comes_in_its_number_of_parts(
    size: int, count: int, autojump_clock: MockClock
) -> None:
    async with world() as one:
        record = one.whisper(size)
        items = await one.letters.seal(record)
        opened = [one.opened(item) for item in items]
        assert [(letter.part, letter.parts) for letter in opened] == [(n, count) for n in range(count)]
        assert b"".join(letter.chunk for letter in opened) == record.encode()
        assert ceil(len(record.encode()) / LETTER_CHUNK) <= count


async def test_who_has_a_session_goes_on_with_it_and_proves_it_for_each_part(
    autojump_clock: MockClock,
) -> None:
    async with world() as one:
        period = one.context.view.period
        session = one.sessions.begun(seeded(9)(32), period)
        await one.sessions.heard(session)
        items = await one.letters.seal(one.whisper(16_000))
        mail_key = session.mail.key_of(period)
        assert mail_key is not None
        for item in items:
            sender = one.opened(item).sender
            assert isinstance(sender, KnownSender)
            assert sender.session_id == session.session_id
            assert sender.holds(mail_key, item.item_id)
            assert not sender.holds(mail_key, items[0].item_id) or item is items[0]
        assert one.sessions.with_mail == [session]


async def test_an_endpoint_without_an_inbox_says_so(autojump_clock: MockClock) -> None:
    async with world(inbox=False) as one:
        with pytest.raises(NotLeft) as caught:
            await one.letters.seal(one.whisper())
        assert (caught.value.why, caught.value.again_seconds) == (NO_INBOX, LOOK_AGAIN_SECONDS)
        assert one.sessions.with_mail == []


async def test_nobody_is_published_or_the_network_is_away(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as one:
        stranger = Letters(one.context, SigningKey(bytes(32)).public, one.sessions, SeedsInMemory())
        with pytest.raises(NotLeft) as caught:
            await stranger.seal(one.whisper())
        assert (caught.value.why, caught.value.again_seconds) == (NOBODY, LOOK_AGAIN_SECONDS)

        async def unreachable(*_: object, **__: object) -> None:
            raise NetworkUnreachable("no guard answers")

        monkeypatch.setattr(file, "find", unreachable)
        with pytest.raises(NotLeft, match="no guard answers") as caught:
            await one.letters.seal(one.whisper())
        assert caught.value.again_seconds == TRY_AGAIN_SECONDS


async def test_the_descriptor_is_not_fetched_for_each_letter(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as one:
        fetched = []

        async def counted(context: Context, key: bytes, *, older: int = 0) -> object:
            fetched.append(older)
            return await finder.find(context, key, older=older)

        monkeypatch.setattr(file, "find", counted)
        for _ in range(3):
            await one.letters.seal(one.whisper())
        await trio.sleep(file.FOUND_SECONDS)
        await one.letters.seal(one.whisper())
        assert fetched == [file.OLDER_PERIODS] * 2


async def test_whispers_of_one_moment_have_one_descriptor_and_one_session(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as one:
        searches = 0

        async def counted(context: Context, key: bytes, *, older: int = 0) -> object:
            nonlocal searches
            searches += 1
            return await finder.find(context, key, older=older)

        monkeypatch.setattr(file, "find", counted)
        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(one.letters.seal, one.whisper())
        assert searches == 1
        assert len(one.sessions.with_mail) == 1
        stranger = Letters(one.context, SigningKey(bytes(32)).public, one.sessions, SeedsInMemory())
        told = []

        async def seal() -> None:
            with pytest.raises(NotLeft) as caught:
                await stranger.seal(one.whisper())
            told.append(caught.value.why)

        async with trio.open_nursery() as nursery:
            for _ in range(5):
                nursery.start_soon(seal)
        assert (searches, told) == (2, [NOBODY] * 5)
        await trio.sleep(file.NOT_FOUND_SECONDS)
        await seal()
        assert searches == 3
