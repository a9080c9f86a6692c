"""A whisper that was taken on is kept until it is handled, and holds up no other."""

from __future__ import annotations

import errno
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.cli.handling import HANDLED_AT_ONCE, Handle, Handling, NotHandled, Patience, Tally
from onionshh.cli.taking import Taking
from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.whisper import Whisper
from tests.client.world import QUIET, hosted, small, until
from tests.inside import parts

Captured = pytest.CaptureFixture[str]


def taking(handle: Handle, tally: Tally) -> Taking:
    patience = Patience()
    return Taking(Handling(handle, lambda whisper: None, patience, tally), patience, tally)


@asynccontextmanager
async def handled(net: testing.Network, handle: Handle) -> AsyncIterator[tuple[Endpoint, Contact, Tally]]:
    """An endpoint whose whispers this handles, and somebody who knows it."""
    tally = Tally()
    async with hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(taking(handle, tally).run, endpoint)
            async with visitor.contact(endpoint.address) as contact:
                yield endpoint, contact, tally
            nursery.cancel_scope.cancel()


def full(endpoint: Endpoint, *, on: bool) -> None:
    """Make the endpoint's disk as full as it is, or large again."""
    database = parts(endpoint).database
    assert database is not None
    pages = database._connection.execute("PRAGMA page_count").fetchone()[0] if on else 1_000_000
    database._connection.execute(f"PRAGMA max_page_count={pages}")


async def echo(whisper: Whisper) -> bytes:
    return whisper.body


@pytest.mark.parametrize(
    "fault",
    [
        NotHandled("the program was ended by signal 11"),
        OSError(errno.EMFILE, "Too many open files"),
        MemoryError(),
    ],
)
async def test_what_was_not_handled_is_tried_again_ever_later(
    fault: Exception, autojump_clock: MockClock, capsys: Captured
) -> None:
    tries: list[float] = []

    async def handle(whisper: Whisper) -> bytes:
        tries.append(trio.current_time())
        if len(tries) < 13:
            raise fault
        return b"at last"

    async with small(**QUIET) as net, handled(net, handle) as (endpoint, contact, tally):
        receipt = contact.send(b"x", ttl_seconds=3600)
        await until(lambda: len(tries) == 3)
        assert (tally.taken, tally.finished, tally.kept) == (1, 0, 1)
        assert endpoint.waiting == (1, 0)
        with trio.fail_after(3000):
            assert await receipt.reply() == b"at last"
        pauses = [round(after - before, 3) for before, after in pairwise(tries)]
        assert pauses == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]
        assert (tally.finished, tally.kept) == (1, 0)
        assert endpoint.waiting[0] == 0
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "a whisper is kept and tried again: " in said[0]
    assert "every whisper that was kept is handled" in said[1]


async def test_those_that_fail_hold_up_no_other(autojump_clock: MockClock) -> None:
    """More than there are places, each taking a minute to fail, and again."""

    async def handle(whisper: Whisper) -> bytes:
        if whisper.body.startswith(b"bad"):
            await trio.sleep(60)
            raise NotHandled("the program took more than 60 s")
        return whisper.body

    async with small(**QUIET) as net, handled(net, handle) as (_, contact, tally):
        for number in range(4 * HANDLED_AT_ONCE):
            contact.send(b"bad %d" % number, ttl_seconds=86400)
        await until(lambda: tally.kept == 4 * HANDLED_AT_ONCE, 600)
        for _ in range(5):
            with trio.fail_after(5):
                assert await contact.ask(b"good") == b"good"
            await trio.sleep(300)
        assert tally.kept == 4 * HANDLED_AT_ONCE


async def test_what_is_kept_survives_a_restart(autojump_clock: MockClock) -> None:
    async def never(whisper: Whisper) -> bytes:
        raise NotHandled("the program cannot be started")

    async with small() as net:
        async with handled(net, never) as (_, contact, tally):
            assert (await contact.whisper(b"kept")).status == "delivered"
            await until(lambda: tally.kept == 1)
        seen: Counter[bytes] = Counter()

        async def count(whisper: Whisper) -> None:
            seen[whisper.body] += 1

        async with handled(net, count) as (_, _, tally):
            await until(lambda: tally.finished == 1)
            await trio.sleep(600)
        assert seen == {b"kept": 1}


async def test_a_full_disk_ends_nothing_and_nothing_is_handled_twice(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    runs: Counter[bytes] = Counter()

    async def handle(whisper: Whisper) -> bytes:
        runs[whisper.body] += 1
        return whisper.body

    async with small(**QUIET) as net, handled(net, handle) as (endpoint, contact, tally):
        assert await contact.ask(b"before") == b"before"
        full(endpoint, on=True)
        bodies = [b"%d" % number * 20_000 for number in range(3)]
        receipts = [contact.send(body, ttl_seconds=3600) for body in bodies]
        await trio.sleep(120)
        assert [receipt.reply_body for receipt in receipts] == [None] * 3
        full(endpoint, on=False)
        with trio.fail_after(120):
            assert [await receipt.reply() for receipt in receipts] == bodies
        assert runs == dict.fromkeys([b"before", *bodies], 1)
        assert tally.finished == 4
    said = [line for line in capsys.readouterr().err.splitlines() if "whisper" in line]
    assert len(said) == 2
    assert "a whisper cannot be taken or finished" in said[0]
    assert "database or disk is full" in said[0]
    assert "can be taken and finished again" in said[1]


async def test_what_the_system_refuses_is_asked_again_and_what_is_a_fault_is_raised(
    autojump_clock: MockClock,
) -> None:
    faults: list[Exception] = [OSError(errno.ENOSPC, "full"), MemoryError(), OSError(errno.ENOMEM, "none")]

    async def work() -> str:
        if faults:
            raise faults.pop()
        return "done"

    started = trio.current_time()
    assert await Patience()(work) == "done"
    assert trio.current_time() - started == 1 + 2 + 4
    faults.append(KeyError("ours"))
    with pytest.raises(KeyError):
        await Patience()(work)


async def test_handling_ends_with_the_endpoint(autojump_clock: MockClock) -> None:
    async def never(whisper: Whisper) -> bytes:
        raise NotHandled("the program cannot be started")

    async with small() as net, trio.open_nursery() as nursery:
        async with hosted(net) as (_, endpoint), net.join("visitor") as visitor:
            nursery.start_soon(taking(never, Tally()).run, endpoint)
            async with visitor.contact(endpoint.address) as contact:
                await contact.whisper(b"kept")
        with trio.fail_after(1):
            while nursery.child_tasks:
                await trio.sleep(0.1)


async def test_work_that_is_cancelled_is_not_waited_for(autojump_clock: MockClock, capsys: Captured) -> None:
    """One that was given up while the system refused leaves nobody who says that it still does."""
    patience = Patience()

    async def refused() -> None:
        raise OSError(errno.ENOSPC, "full")

    async def taken() -> str:
        return "taken"

    with trio.move_on_after(10):
        await patience(refused)
    assert await patience(taken) == "taken"
    said = capsys.readouterr().err.splitlines()
    assert [line.endswith("can be taken and finished again.") for line in said] == [False, True]
