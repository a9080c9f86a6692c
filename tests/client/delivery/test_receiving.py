"""An endpoint's side of delivery. Receipts: alone at once, together while whispers follow each other, never
behind a full inbox, and none where a reply says as much. Whispers: shown, given back, and on disk in time."""

from __future__ import annotations

import sqlite3
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.receiving import TIDY_SECONDS, Receiving
from onionshh.client.hosting.hosting import DATABASE_FILE
from onionshh.core.delivery import inbox
from onionshh.core.delivery.record import (
    EXPIRY_GRACE_SECONDS,
    RECEIPT,
    RECEIPTS_WAIT_SECONDS,
    SEEN_EXTRA_SECONDS,
    WHISPER,
    Record,
)
from tests.client.world import QUIET, bytes_on_disk, hosted, small, until
from tests.inside import circuits_of, parts

BULK = bytes(60_000)


@pytest.fixture
def kinds(monkeypatch: pytest.MonkeyPatch) -> list[list[int]]:
    """The kinds of the records of each sending."""
    sent: list[list[int]] = []
    send, send_at_once = JoinedCircuit.send, JoinedCircuit.send_at_once

    async def watched(self: JoinedCircuit, *records: Record) -> None:
        sent.append([record.kind for record in records])
        await send(self, *records)

    def watched_at_once(self: JoinedCircuit, *records: Record) -> bool:
        left = send_at_once(self, *records)
        if left:
            sent.append([record.kind for record in records])
        return left

    monkeypatch.setattr(JoinedCircuit, "send", watched)
    monkeypatch.setattr(JoinedCircuit, "send_at_once", watched_at_once)
    return sent


def receiving(endpoint: onionshh.Endpoint) -> Receiving:
    return parts(endpoint).peers.receiving


def database_of(net: testing.Network) -> Path:
    """The only endpoint's."""
    (path,) = net.folder.rglob(DATABASE_FILE)
    return path


def together(kinds: list[list[int]]) -> list[int]:
    """How many receipts each sending held that held any."""
    return [count for sent in kinds if (count := sent.count(RECEIPT))]


async def test_a_lone_whisper_is_acknowledged_at_once(
    autojump_clock: MockClock, kinds: list[list[int]]
) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"first")
            receipt = await contact.whisper(b"alone")
            assert receipt.status == "delivered"
            assert receipt.round_trip_seconds is not None
            assert receipt.round_trip_seconds < RECEIPTS_WAIT_SECONDS / 2
            await contact.whisper(BULK)
            assert together(kinds) == [1, 1, 1]


async def answer_all(endpoint: onionshh.Endpoint, body: bytes, after_seconds: float = 0.0) -> None:
    async for whisper in endpoint:
        await trio.sleep(after_seconds)
        await whisper.reply(body)


async def test_a_reply_that_comes_at_once_is_the_receipt(
    autojump_clock: MockClock, kinds: list[list[int]]
) -> None:
    """Two records a question in place of four, one frame each: the receipt of an answer rides along."""
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, endpoint, b"answer")
            await contact.ask(b"first")
            kinds.clear()
            for _ in range(3):
                assert await contact.ask(b"question") == b"answer"
            assert kinds == [[RECEIPT, WHISPER], [WHISPER]] * 3
            await trio.sleep(1)
            assert kinds[6:] == [[RECEIPT]]  # nothing to ride along with: 20 ms later
            nursery.cancel_scope.cancel()
        await trio.sleep(3)
        assert not await replies_on_disk(endpoint)


async def replies_on_disk(endpoint: onionshh.Endpoint) -> int:
    return await parts(endpoint).database.read(
        lambda connection: int(connection.execute("SELECT COUNT(*) FROM replies").fetchone()[0])
    )


async def test_the_last_answer_is_acknowledged_though_the_contact_closes(autojump_clock: MockClock) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, endpoint, b"answer")
            async with visitor.contact(endpoint.address) as contact:
                await contact.ask(b"question")
            assert await replies_on_disk(endpoint) == 1
            await trio.sleep(3)
            assert await replies_on_disk(endpoint) == 0
            nursery.cancel_scope.cancel()


async def test_before_a_long_reply_goes_a_receipt(autojump_clock: MockClock, kinds: list[list[int]]) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, endpoint, BULK)
            await contact.ask(b"first")
            kinds.clear()
            assert await contact.ask(b"question") == BULK
            assert kinds == [[RECEIPT, WHISPER], [RECEIPT, WHISPER]]
            nursery.cancel_scope.cancel()


async def test_a_program_that_takes_its_time_holds_up_no_receipt(autojump_clock: MockClock) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, endpoint, b"answer", 5.0)
            for _ in range(2):
                receipt = contact.send(b"question")
                await receipt.final()
                assert receipt.round_trip_seconds is not None
                assert receipt.round_trip_seconds < RECEIPTS_WAIT_SECONDS * 1.5
                assert len(receiving(endpoint).receiver.inbox) == 1
                assert await receipt.reply() == b"answer"
            nursery.cancel_scope.cancel()


async def test_a_program_that_finishes_without_a_word_holds_up_no_receipt(
    autojump_clock: MockClock,
) -> None:
    """Its whisper is acknowledged as soon as it is finished, and what it said was never on disk."""
    secret = b"known to two alone"
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:

            @nursery.start_soon
            async def read() -> None:
                async for _ in endpoint:
                    pass

            for _ in range(3):
                receipt = await contact.whisper(secret)
                assert receipt.round_trip_seconds is not None
                assert receipt.round_trip_seconds < RECEIPTS_WAIT_SECONDS / 2
            await trio.sleep(1)
            assert secret not in bytes_on_disk(database_of(net).parent)
            nursery.cancel_scope.cancel()


async def test_receipts_share_a_frame_while_whispers_follow(
    autojump_clock: MockClock, kinds: list[list[int]]
) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"first")
            kinds.clear()
            receipts = [contact.send(BULK) for _ in range(12)]
            with trio.fail_after(60):
                assert {(await one.final()).status for one in receipts} == {"delivered"}
            counts = together(kinds)
            assert sum(counts) == 12
            assert 1 < max(counts) <= 8
            assert len(counts) <= 6


async def test_what_is_kept_is_acknowledged_before_the_endpoint_waits_for_room(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "WHISPERS_MOST", 3)
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            receipts = [contact.send(BULK, ttl_seconds=3600) for _ in range(6)]
            start = trio.current_time()
            await until(lambda: sum(one.is_final for one in receipts) == 3, 60)
            assert trio.current_time() - start < 30
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def read() -> None:
                    async for whisper in endpoint:
                        await whisper.done()

                with trio.fail_after(600):
                    assert {(await one.final()).status for one in receipts} == {"delivered"}
                nursery.cancel_scope.cancel()


async def test_room_in_the_inbox_is_offered_to_all_who_wait_for_it(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "WHISPERS_MOST", 1)
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with AsyncExitStack() as stack:
            contacts = [await stack.enter_async_context(visitor.contact(endpoint.address)) for _ in range(6)]
            receipts = [contact.send(b"hello", ttl_seconds=3600) for contact in contacts]
            await until(lambda: sum(one.is_final for one in receipts) == 1, 60)
            await trio.sleep(5)
            async with trio.open_nursery() as nursery:

                @nursery.start_soon
                async def read() -> None:
                    async for whisper in endpoint:
                        await whisper.done()

                with trio.fail_after(4):  # before anyone tries another path
                    assert {(await one.final()).status for one in receipts} == {"delivered"}
                nursery.cancel_scope.cancel()


@pytest.mark.parametrize("program", ["absent", "answers", "answers at length", "takes", "slow"])
async def test_whatever_leaves_as_a_receipt_is_on_disk_or_finished(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    """Looked at from outside, as after a kill, at the moment each receipt or reply is handed to its circuit:
    the id is known, so no copy is shown again; and the body is there, unless the program was shown it."""
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        looker = sqlite3.connect(f"file:{database_of(net)}?mode=ro", uri=True)
        shown: set[bytes] = set()
        answered: list[bytes] = []
        ours: set[bytes] = set()

        def look(records: tuple[Record, ...]) -> None:
            for record in records:
                if record.in_reply_to not in ours:
                    continue
                whisper_id = (record.in_reply_to,)
                assert looker.execute("SELECT 1 FROM seen WHERE id = ?", whisper_id).fetchone()
                kept = looker.execute("SELECT 1 FROM inbox WHERE id = ?", whisper_id).fetchone()
                assert kept or record.in_reply_to in shown
                if record.kind == WHISPER:
                    assert looker.execute("SELECT 1 FROM replies WHERE whisper = ?", whisper_id).fetchone()
                answered.append(record.in_reply_to)

        send, send_at_once = JoinedCircuit.send, JoinedCircuit.send_at_once

        async def watched(self: JoinedCircuit, *records: Record) -> None:
            look(records)
            await send(self, *records)

        def watched_at_once(self: JoinedCircuit, *records: Record) -> bool:
            look(records)
            return send_at_once(self, *records)

        monkeypatch.setattr(JoinedCircuit, "send", watched)
        monkeypatch.setattr(JoinedCircuit, "send_at_once", watched_at_once)

        async def serve() -> None:
            async for whisper in endpoint:
                shown.add(bytes.fromhex(whisper.id))
                if program == "slow":
                    await trio.sleep(0.05)
                if program.startswith("answers"):
                    await whisper.reply(b"x" if program == "answers" else BULK)

        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            if program != "absent":
                nursery.start_soon(serve)
            for burst in (1, 1, 5, 12, 1):
                receipts = [contact.send(BULK if burst == 5 else b"hello") for _ in range(burst)]
                ours.update(bytes.fromhex(one.id) for one in receipts)
                with trio.fail_after(60):
                    assert {(await one.final()).status for one in receipts} == {"delivered"}
                await trio.sleep(0.2)
            assert set(answered) == ours
            nursery.cancel_scope.cancel()
        looker.close()


async def test_who_stops_waiting_takes_no_whisper_from_who_waits_on(autojump_clock: MockClock) -> None:
    """Programs are served in the order in which they ask; one that is cancelled meanwhile was never there."""
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        got: dict[str, bytes] = {}

        async def take(name: str) -> None:
            found = await receiving(endpoint).next()
            assert found is not None
            got[name] = found[0].body

        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            with trio.move_on_after(1):
                await take("gone")
            for name in ("first", "second"):
                nursery.start_soon(take, name)
                await trio.sleep(1)
            for body in (b"one", b"two"):
                assert (await contact.whisper(body)).status == "delivered"
        assert got == {"first": b"one", "second": b"two"}


async def test_what_is_let_go_is_shown_again_and_counted(autojump_clock: MockClock) -> None:
    async with small() as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with visitor.contact(endpoint.address) as contact:
            await contact.whisper(b"hello")
        for shown in (1, 2, 3):
            found = await receiving(endpoint).next()
            assert found is not None
            assert (found[0].body, found[1]) == (b"hello", shown)
            with trio.move_on_after(10):
                assert await receiving(endpoint).next() is None, "one whisper is in one program's hands"
            receiving(endpoint).let_go(found[0].whisper_id)
        found = await receiving(endpoint).next()
        assert found is not None
        receipt = await receiving(endpoint).finish(found[0].whisper_id)
        with trio.fail_after(1):
            assert await receipt.reply() is None  # nobody answers an answer
        receiving(endpoint).let_go(found[0].whisper_id)
        with trio.move_on_after(10):
            assert await receiving(endpoint).next() is None, "what is finished is not shown again"
        assert len(receiving(endpoint).receiver.inbox) == 0


async def test_whoever_waits_when_the_endpoint_closes_is_told_so(autojump_clock: MockClock) -> None:
    async with small() as net, trio.open_nursery() as nursery:
        got: list[object] = []
        async with hosted(net) as (_, endpoint):

            @nursery.start_soon
            async def take() -> None:
                got.append(await receiving(endpoint).next())

            await trio.sleep(1)
            assert got == []
        with trio.fail_after(1):
            await until(lambda: bool(got))
        assert got == [None]
        assert await receiving(endpoint).next() is None
        assert not circuits_of(parts(endpoint).peers.lanes)


async def test_ids_of_whispers_that_can_come_no_more_are_forgotten(
    autojump_clock: MockClock,
) -> None:
    async with (
        small(interval_seconds=300, **QUIET) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as visitor,
    ):

        async def seen() -> int:
            return await parts(endpoint).database.read(
                lambda connection: int(connection.execute("SELECT COUNT(*) FROM seen").fetchone()[0])
            )

        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(answer_all, endpoint, b"answer")
            assert await contact.ask(b"question", ttl_seconds=30) == b"answer"
            assert await seen() == 1
            nursery.cancel_scope.cancel()
        await trio.sleep(EXPIRY_GRACE_SECONDS + SEEN_EXTRA_SECONDS + 30 - TIDY_SECONDS)
        assert await seen() == 1, "a copy may still come"
        await trio.sleep(4 * TIDY_SECONDS)
        assert await seen() == 0
