"""The mail of one contact: it leaves a whisper once, goes on after a restart, and recalls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from onionshh.client.contact_folder import ContactFolder, contact_folder
from onionshh.client.context import Context
from onionshh.client.mail.contact_mail import ContactMail
from onionshh.client.session.keeper import SessionKeeper, SessionsInMemory
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.delivery.record import Record, new_whisper
from onionshh.core.session.session import Session
from onionshh.crypto.identity import decode_address_untrusted
from tests.client.mail.postal import Heard
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
