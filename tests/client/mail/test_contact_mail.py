"""The mail of one contact: it leaves a whisper once, goes on after a restart, and recalls."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.contact_folder import ContactFolder, contact_folder
from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail import contact_mail
from onionshh.client.mail.contact_mail import ContactMail
from onionshh.client.mail.deposits import SealedItem
from onionshh.client.mail.one_letter import NotStored
from onionshh.client.mail.pair_letter import seal_for_pair
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.delivery.record import Record, new_whisper
from onionshh.core.session.session import Session
from onionshh.crypto.identity import decode_address_untrusted
from onionshh.geometry import SEED
from onionshh.wire import mailbox as w
from tests.client.letterworld import away
from tests.client.mail.postal import Heard, bend
from tests.client.world import QUIET, hosted, small
from tests.inside import inside

DAY = 86_400


async def brings_nothing(session: Session, record: Record) -> None:
    raise AssertionError("nothing waits")


def made(context: Context, key: bytes, folder: ContactFolder | None, told: Heard) -> ContactMail:
    store = SessionsInMemory() if folder is None else folder.sessions
    sessions = VisitorSessions(context, SessionKeeper(context, store, 16))
    return ContactMail(
        context,
        key,
        sessions,
        folder,
        told,
        bring=brings_nothing,
        expects=lambda: False,
        record=lambda whisper: None,
    )


def whisper(context: Context) -> Record:
    return new_whisper(
        b"hello",
        expires=context.clock.best() + DAY,
        privacy_class=1,
        random_bytes=context.chance.bytes,
    )


@asynccontextmanager
async def running(mail: ContactMail) -> AsyncIterator[None]:
    await mail.load()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(mail.run)
        yield
        nursery.cancel_scope.cancel()


async def stored(told: Heard) -> None:
    with trio.fail_after(600):
        while (4, True) not in told.copies:
            await trio.sleep(1)


async def test_a_whisper_is_left_once_and_recalled(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, hosted(net) as (_, endpoint):
        async with net.join("visitor") as node:
            context, told = inside(node), Heard()
            mail = made(context, decode_address_untrusted(endpoint.address), None, told)
            async with running(mail):
                record = whisper(context)
                assert not mail.has(record.whisper_id)
                await mail.leave(record)
                await mail.leave(record)
                assert mail.has(record.whisper_id)
                await stored(told)
                assert await mail.recall(record.whisper_id)
                assert not mail.has(record.whisper_id)
                assert await mail.recall(record.whisper_id), "what is not known is nowhere"


async def test_a_named_contact_goes_on_with_what_it_left(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, hosted(net) as (_, endpoint):
        async with net.join("visitor") as node:
            context, key = inside(node), decode_address_untrusted(endpoint.address)
            record = whisper(context)
            async with contact_folder(context, key, "press") as folder:
                first = made(context, key, folder, Heard())
                async with running(first):
                    await first.leave(record)
            async with contact_folder(context, key, "press") as folder:
                told = Heard()
                second = made(context, key, folder, told)
                await second.load()
                assert second.has(record.whisper_id)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(second.run)
                    await stored(told)
                    nursery.cancel_scope.cancel()
            async with contact_folder(context, key, "press") as folder:
                told = Heard()
                async with running(made(context, key, folder, told)):
                    assert told.copies == [(4, True)]


async def test_a_second_letter_that_could_not_be_left_is_tried_again_and_both_are_recalled(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[float] = []

    def sealed_at_last(*arguments: Any) -> list[SealedItem]:
        tries.append(trio.current_time())
        if len(tries) == 1:
            raise NotLeft("no list of relays")
        return seal_for_pair(*arguments)

    monkeypatch.setattr(contact_mail, "seal_for_pair", sealed_at_last)
    async with away() as post:  # an endpoint that runs would read what is left
        context, told = inside(post.node), Heard()
        relays = bend(post.net).values()
        for relay in relays:
            relay.on_put = lambda put: w.Kept(w.FULL) if put.mailbox.kind == w.INBOX else None
        sessions = VisitorSessions(context, SessionKeeper(context, SessionsInMemory(), 16))
        session = await sessions.begin_by_letter(context.chance.bytes(SEED), context.view.period)
        await sessions.heard(session)
        record = whisper(context)
        mail = ContactMail(
            context,
            decode_address_untrusted(post.address),
            sessions,
            None,
            told,
            bring=brings_nothing,
            expects=lambda: False,
            record=lambda whisper: record,
        )
        async with running(mail):
            await mail.leave(record)
            await until(lambda: bool(told.why), 600)
            assert len(tries) == 1
            await until(lambda: (4, True) in told.copies, 1200)
            assert tries[1] >= tries[0] + contact_mail.AGAIN_SECONDS
            assert told.why == [NotStored.FULL]
            for relay in relays:
                relay.on_put = lambda put: None
            await until(lambda: sum(relay.kept for relay in relays) == 8, 3600)
            assert set(told.copies[-4:]) == {(4, True)}, "of the letter that more relays have"
            assert await mail.recall(record.whisper_id)
            assert sum(relay.kept for relay in relays) == 0


async def until(true: Callable[[], bool], seconds: float) -> None:
    with trio.fail_after(seconds):
        while not true():
            await trio.sleep(1)
