"""A contact with a name: what it accepted is on disk, goes on after a crash or restart, in order, each once,
and the program gets its receipts back (SPEC 12). Whole networks in virtual time."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.assemble import assembled
from onionshh.client.contact import Contact
from onionshh.client.correspondence import CLOSED, OPENED_AGAIN, SWEEP_SECONDS
from onionshh.client.delivery.sending import EXPIRED_AWAY
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.core.delivery import sender
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadData, Closed, DataInUse
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import run_inline
from tests.client.world import (
    PATIENCE_SECONDS,
    QUIET,
    Disk,
    bytes_on_disk,
    hosted,
    joined,
    small,
    until,
)
from tests.inside import outbox_of
from tests.seeded import seeded

NOBODY = IdentityKeys.generate(seeded(7)).address


class Reader:
    """An endpoint's program that notes each body, and answers with it in capital letters."""

    def __init__(self, endpoint: Endpoint, *, replies: bool = True) -> None:
        self._endpoint = endpoint
        self._replies = replies
        self.bodies: list[bytes] = []

    async def run(self) -> None:
        async for whisper in self._endpoint:
            self.bodies.append(whisper.body)
            if self._replies:
                await whisper.reply(whisper.body.upper())


@asynccontextmanager
async def world(*, replies: bool = True) -> AsyncIterator[tuple[testing.Network, Node, str, Reader]]:
    """A network, a visitor's node, an endpoint's address, and what the endpoint's program read."""
    async with (
        small(**QUIET) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as node,
        trio.open_nursery() as nursery,
    ):
        reader = Reader(endpoint, replies=replies)
        nursery.start_soon(reader.run)
        yield net, node, endpoint.address, reader
        nursery.cancel_scope.cancel()


def bodies(count: int, first: int = 0) -> list[bytes]:
    return [b"whisper %d" % number for number in range(first, first + count)]


def folder_of(net: testing.Network, name: str = "visitor") -> Path:
    (folder,) = (net.folder / name / "contacts").iterdir()
    return folder


async def final(*receipts: onionshh.Receipt) -> set[str]:
    with trio.fail_after(PATIENCE_SECONDS):
        return {(await receipt.final()).status for receipt in receipts}


async def test_what_waits_goes_on_in_order_and_each_arrives_once(autojump_clock: MockClock) -> None:
    async with world() as (_, node, address, reader):
        async with node.contact(address, name="press") as contact:
            first = [contact.send(body) for body in bodies(5)]
            assert contact.pending() == first
        assert {(one.status, one.why) for one in first} == {("failed", OPENED_AGAIN)}
        async with node.contact(address, name="press") as contact:
            again = contact.pending()
            assert [one.id for one in again] == [one.id for one in first]
            second = [contact.send(body) for body in bodies(5, 5)]
            assert contact.pending() == [*again, *second]
            assert await final(*again, *second) == {"delivered"}
            assert contact.pending() == []
        await until(lambda: len(reader.bodies) >= 10)
        await trio.sleep(30)
        assert reader.bodies == bodies(10)


async def test_receipts_and_replies_are_found_again(autojump_clock: MockClock) -> None:
    async with world() as (_, node, address, _):
        async with node.contact(address, name="press") as contact:
            with trio.fail_after(PATIENCE_SECONDS):
                asked = contact.send(b"question")
                assert await asked.reply() == b"QUESTION"
                told = await contact.whisper(b"told")
            assert contact.receipt(asked.id) is asked
        async with node.contact(address, name="press") as contact:
            again = contact.receipt(asked.id)
            assert again is not None
            assert (again.id, again.status, again.is_final) == (asked.id, "delivered", True)
            assert (again.reply_body, again.paths, again.connect_seconds) == (b"QUESTION", (), None)
            assert again is contact.receipt(asked.id)
            with pytest.raises(ValueError, match="now erased"):
                again.derive_key("x")
            late = contact.receipt(told.id)
            assert late is not None
            with trio.fail_after(PATIENCE_SECONDS):
                assert await late.reply() == b"TOLD"
            assert contact.receipt("00" * 16) is contact.receipt("no id") is None
            with pytest.raises(TypeError):
                contact.receipt(b"x")  # type: ignore[arg-type]
        with pytest.raises(Closed):
            contact.receipt(asked.id)


async def test_another_name_and_no_name_know_nothing_of_it(autojump_clock: MockClock) -> None:
    async with world(replies=False) as (net, node, address, reader):
        async with node.contact(address, name="one") as contact:
            receipt = contact.send(b"by one")
        for name in ("two", None):
            async with node.contact(address, name=name) as contact:
                assert contact.receipt(receipt.id) is None
                assert contact.pending() == []
                await trio.sleep(60)
        assert reader.bodies == []
        assert len(list((net.folder / "visitor" / "contacts").iterdir())) == 2


async def test_a_contact_without_a_name_leaves_nothing_on_disk(autojump_clock: MockClock) -> None:
    async with world() as (net, node, address, _):
        before = {path for path in (net.folder / "visitor").rglob("*")}
        async with node.contact(address) as contact:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"question", key=b"key") == b"QUESTION"
            contact.send(b"on its way")
        await trio.sleep(5)
        after = {path for path in (net.folder / "visitor").rglob("*")}
        assert {path.name for path in after - before} <= {"guards-layer-two"}
        assert not (net.folder / "visitor" / "contacts").exists()


async def test_what_is_settled_is_erased_from_the_file(autojump_clock: MockClock) -> None:
    async with world() as (net, node, address, _):
        async with node.contact(address, name="press") as contact:
            secret = b"nobody should find this in the file"
            receipt = contact.send(secret)
            assert secret in bytes_on_disk(folder_of(net))
            assert await final(receipt) == {"delivered"}
            await trio.sleep(3)
            assert secret not in bytes_on_disk(folder_of(net))


async def test_a_reply_stays_until_the_ttl_ends_and_one_never_shown_longer(autojump_clock: MockClock) -> None:
    async with world() as (net, node, address, _):
        async with node.contact(address, name="press") as contact:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"shown", ttl_seconds=600) == b"SHOWN"
                unshown = await contact.whisper(b"not shown", ttl_seconds=600)
                await until(lambda: b"NOT SHOWN" in bytes_on_disk(folder_of(net)))
            await trio.sleep(900 + SWEEP_SECONDS)
            held = bytes_on_disk(folder_of(net))
            assert held.count(b"SHOWN") == held.count(b"NOT SHOWN") > 0
        async with node.contact(address, name="press") as contact:
            again = contact.receipt(unshown.id)
            assert again is not None
            assert again.reply_body == b"NOT SHOWN"
            await trio.sleep(SWEEP_SECONDS + 3)
            assert b"NOT SHOWN" not in bytes_on_disk(folder_of(net))


async def test_answers_that_nobody_awaited_are_kept_until_they_are_shown(autojump_clock: MockClock) -> None:
    async with world() as (_, node, address, _):
        async with node.contact(address, name="press") as contact:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"awaited") == b"AWAITED"
                first, second = [await contact.whisper(body) for body in (b"first", b"second")]
            await trio.sleep(5)
        async with node.contact(address, name="press") as contact:
            outbox = outbox_of(contact)
            late = await outbox.late_answers()
            assert {answer.body for answer in late} == {b"FIRST", b"SECOND"}
            assert {answer.in_reply_to.hex() for answer in late} == {first.id, second.id}
            again = contact.receipt(first.id)
            assert again is not None
            assert await again.reply() == b"FIRST"
            (left,) = await outbox.late_answers()
            assert left.body == b"SECOND"
            outbox.shown(left.whisper_id)
            assert await outbox.late_answers() == []


async def test_an_answer_is_asked_for_in_a_later_run(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, hosted(net) as (_, endpoint), net.join("visitor") as node:
        async with node.contact(endpoint.address, name="press") as contact:
            receipt = contact.send(b"question", ttl_seconds=3600)
            assert await final(receipt) == {"delivered"}
        async with node.contact(endpoint.address, name="press") as contact, trio.open_nursery() as nursery:
            again = contact.receipt(receipt.id)
            assert again is not None
            waits = again.reply
            got: list[bytes | None] = []

            @nursery.start_soon
            async def wait() -> None:
                got.append(await waits())

            await trio.sleep(20)
            async for whisper in endpoint:
                assert whisper.body == b"question"
                await whisper.reply(b"answer")
                break
            await until(lambda: bool(got), 600)
            assert got == [b"answer"]


async def test_what_expires_meanwhile_is_told_and_not_sent(autojump_clock: MockClock) -> None:
    async with world() as (_, node, address, reader):
        async with node.contact(address, name="press") as contact:
            short, long = contact.send(b"short", ttl_seconds=60), contact.send(b"long", ttl_seconds=3600)
        await trio.sleep(120)
        async with node.contact(address, name="press") as contact:
            receipts = [contact.receipt(one.id) for one in (short, long)]
            assert None not in receipts
            gone, there = [one for one in receipts if one is not None]
            assert (gone.status, gone.why, await gone.reply()) == ("expired", EXPIRED_AWAY, None)
            assert contact.pending() == [there]
            assert await final(there) == {"delivered"}
        await until(lambda: bool(reader.bodies))
        assert reader.bodies == [b"long"]
        async with node.contact(address, name="press") as contact:
            gone_again = contact.receipt(short.id)
            assert gone_again is not None
            assert (gone_again.status, gone_again.why) == ("expired", EXPIRED_AWAY)


@pytest.mark.parametrize("name", ["press", None])
async def test_the_same_key_is_the_same_whisper(name: str | None, autojump_clock: MockClock) -> None:
    async with world() as (_, node, address, reader):
        async with node.contact(address, name=name) as contact:
            one = contact.send(b"a lamp", key=b"17")
            assert contact.send(b"a lamp", key=b"17") is one
            assert await contact.put(b"a lamp", key=b"17") is one
            assert contact.send(b"a lamp", key=b"18") is not one
            assert contact.send(b"a lamp") is not one
            with pytest.raises(ValueError, match="another body"):
                contact.send(b"two lamps", key=b"17")
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.whisper(b"a lamp", key=b"17") is one
                assert await contact.ask(b"a lamp", key=b"17") == b"A LAMP"
                assert await contact.ask(b"a lamp", key=b"17") == b"A LAMP"
            for wrong in (b"", bytes(65), "text", 7):
                with pytest.raises(ValueError, match="key must be 1 to 64 bytes"):
                    contact.send(b"x", key=wrong)  # type: ignore[arg-type]
            await until(lambda: len(reader.bodies) == 3)
        if name is None:
            return
        async with node.contact(address, name=name) as contact:
            again = contact.send(b"a lamp", key=b"17")
            assert (again.id, again.status) == (one.id, "delivered")
            with pytest.raises(ValueError, match="another body"):
                contact.send(b"two lamps", key=b"17")
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"a lamp", key=b"17") == b"A LAMP"
            await trio.sleep(10)
            assert len(reader.bodies) == 3


async def test_without_a_receipt_what_left_is_final(autojump_clock: MockClock) -> None:
    async with world() as (_, node, address, reader):
        async with node.contact(address, name="press") as contact:
            quiet = [contact.send(body, receipt=False) for body in bodies(3)]
            assert await final(*quiet) == {"sent"}
            await until(lambda: len(reader.bodies) == 3)
        async with node.contact(address, name="press") as contact:
            assert contact.pending() == []
            again = contact.receipt(quiet[0].id)
            assert again is not None
            assert (again.status, again.is_final) in (("sent", True), ("delivered", True))
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"and a question", receipt=False) == b"AND A QUESTION"
        assert reader.bodies == [*bodies(3), b"and a question"]


async def test_a_name_is_in_use_once(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join("one") as node, joined(net, "one", net.clock) as other:
        async with node.contact(NOBODY, name="press"):
            for second in (node, other):
                with pytest.raises(DataInUse, match="of this name to this address is open already"):
                    await second.contact(NOBODY, name="press").__aenter__()
            async with node.contact(NOBODY, name="Press"), node.contact(NOBODY):
                pass
        for _ in range(3):  # once the block has ended, the name is free
            async with other.contact(NOBODY, name="press"):
                pass


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", "a\0b", b"bytes", 5, "\ud800"])
async def test_a_name_is_printable_text(name: Any, autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join() as node:
        with pytest.raises(ValueError, match="name must be text of 1 to 64 printable characters"):
            node.contact(NOBODY, name=name)
        node.contact(NOBODY, name="x" * 64)
        node.contact(NOBODY, name="Größe 名")


async def test_in_memory_a_name_ends_with_its_block(autojump_clock: MockClock) -> None:
    async with (
        small() as net,
        hosted(net) as (_, endpoint),
        assembled(
            net.file,
            folder=InMemory(),
            source=net.source("memory"),
            dialer=net.dialer("memory"),
            clock=net.clock,
            random_bytes=testing.seeded(3),
            run_blocking=run_inline,
        ) as context,
        trio.open_nursery() as nursery,
    ):
        node = Node(context)
        nursery.start_soon(Reader(endpoint).run)
        async with node.contact(endpoint.address, name="press") as contact:
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"question", key=b"key") == b"QUESTION"
            with pytest.raises(DataInUse):
                await node.contact(endpoint.address, name="press").__aenter__()
            waits = contact.send(b"waits")
        assert (waits.status, waits.why) == ("failed", CLOSED)
        async with node.contact(endpoint.address, name="press") as contact:
            assert contact.pending() == []
        nursery.cancel_scope.cancel()


async def test_an_outbox_needs_no_session(autojump_clock: MockClock) -> None:
    async with world() as (_, node, address, reader):
        async with node.contact(address, name="press", session=False) as contact:
            contact.send(b"hello")
        async with node.contact(address, name="press", session=False) as contact:
            assert await final(*contact.pending()) == {"delivered"}
            assert contact.session is None
        await until(lambda: bool(reader.bodies))


def told(contact: Contact) -> list[onionshh.SessionInfo]:
    """What the contact says of its session, if it has one."""
    return [] if contact.session is None else [contact.session]


async def test_a_session_goes_on_in_the_next_run(autojump_clock: MockClock) -> None:
    async with world() as (net, node, address, _):
        async with node.contact(address, name="press") as contact:
            assert not told(contact)
            with trio.fail_after(PATIENCE_SECONDS):
                await contact.whisper(b"hello")
            (first,) = told(contact)
            assert abs(first.started_at - net.clock.wall()) < 60
            assert (first.exchanges, first.resumed, first.refreshed_at) == (1, 0, first.started_at)
        async with node.contact(address, name="press") as contact:
            assert told(contact) == [first]
            with trio.fail_after(PATIENCE_SECONDS):
                assert (await contact.whisper(b"again")).resumed
            (second,) = told(contact)
            assert (second.exchanges, second.resumed) == (2, 1)


async def test_an_outbox_holds_no_more_than_any_contact(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "WAITING_MOST", 3)
    async with small(4) as net, net.join() as node:
        for _ in range(2):
            async with node.contact(NOBODY, name="press") as contact:
                for number in range(len(contact.pending()), 3):
                    contact.send(b"%d" % number)
                with pytest.raises(onionshh.Full):
                    contact.send(b"one too many")
                assert len(contact.pending()) == 3


# A disk that fails.


class Failing(sqlite3.Connection):
    """Counts the commits of contacts' files. When `commits` more are made it dies: nothing is written any
    more, and `died` is called."""

    commits: float = float("inf")
    died: Callable[[], None] = staticmethod(lambda: None)
    dead = False

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        cls = Failing
        if cls.dead:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        cursor = super().execute(sql, parameters)
        if sql == "COMMIT":
            cls.commits -= 1
            if cls.commits <= 0:
                cls.dead = True
                cls.died()
        return cursor


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> type[Failing]:
    connect = sqlite3.connect

    def connected(path: str, **options: Any) -> sqlite3.Connection:
        if str(path).endswith("contact.db"):
            options["factory"] = Failing
        connection: sqlite3.Connection = connect(path, **options)
        return connection

    monkeypatch.setattr(sqlite3, "connect", connected)
    monkeypatch.setattr(Failing, "commits", float("inf"))
    monkeypatch.setattr(Failing, "dead", False)
    monkeypatch.setattr(Failing, "died", staticmethod(lambda: None))
    return Failing


async def test_a_full_disk_is_told_and_nothing_is_accepted(
    autojump_clock: MockClock, failing: type[Failing]
) -> None:
    async with world() as (_, node, address, reader):
        async with node.contact(address, name="press") as contact:
            first = contact.send(b"first")
            failing.dead = True
            for wait in (contact.whisper, contact.put, contact.ask):
                with pytest.raises(BadData, match="disk is full; make room"):
                    await wait(b"not accepted", key=b"key")
            with pytest.raises(BadData, match="disk is full; make room"):
                contact.send(b"not accepted")
            assert contact.pending() == [first]
            failing.dead = False
            second = contact.send(b"second", key=b"key")
            assert await final(first, second) == {"delivered"}
        await until(lambda: len(reader.bodies) == 2)
        await trio.sleep(10)
        assert reader.bodies == [b"first", b"second"]


async def test_a_slow_disk_and_a_send_in_the_midst_of_its_work(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with small(**QUIET) as net, hosted(net) as (_, endpoint), joined(net, "v", net.clock, disk) as node:
        reader = Reader(endpoint)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.run)
            async with node.contact(endpoint.address, name="press") as contact:
                receipts = [contact.send(b"0")]
                assert await final(*receipts) == {"delivered"}
                disk.hold()  # the answer is kept by and by
                await trio.sleep(1)
                receipts += [contact.send(body) for body in (b"1", b"2")]
                disk.release()
                assert await final(*receipts) == {"delivered"}
                with trio.fail_after(PATIENCE_SECONDS):
                    assert [await one.reply() for one in receipts] == [b"0", b"1", b"2"]
            nursery.cancel_scope.cancel()
        assert reader.bodies == [b"0", b"1", b"2"]


async def run_until_dead(
    node: Node, address: str, name: str, commits: int, failing: type[Failing]
) -> tuple[list[tuple[str, bytes]], bool]:
    """A program that sends and asks, and is killed after so many commits. What it sent, and whether it was
    killed."""
    accepted: list[tuple[str, bytes]] = []
    with trio.CancelScope() as life:
        failing.commits, failing.dead, failing.died = commits, False, life.cancel
        try:
            async with node.contact(address, name=name) as contact:
                receipts = []
                for number in range(3):
                    if not failing.dead:
                        receipts.append(contact.send(f"{name} {number}".encode(), ttl_seconds=3600))
                        accepted.append((receipts[-1].id, f"{name} {number}".encode()))
                        await trio.lowlevel.checkpoint()
                for receipt in receipts:
                    await receipt.reply()
                await trio.sleep(2)
        except BadData:
            pass
    killed = failing.dead
    failing.commits, failing.dead = float("inf"), False
    return accepted, killed


async def test_it_may_die_after_any_of_its_syncs(autojump_clock: MockClock, failing: type[Failing]) -> None:
    """Each whisper that was accepted arrives once and in order, and its reply is had in the next run."""
    async with world() as (_, node, address, reader):
        for commits in range(1, 100):
            name = f"n{commits}"
            accepted, killed = await run_until_dead(node, address, name, commits, failing)
            async with node.contact(address, name=name) as contact:
                for whisper_id, body in accepted:
                    receipt = contact.receipt(whisper_id)
                    assert receipt is not None, (commits, body)
                    with trio.fail_after(600):
                        assert await receipt.reply() == body.upper()
                    assert receipt.status == "delivered"
                assert contact.pending() == []
            mine = [body for body in reader.bodies if body.startswith(f"{name} ".encode())]
            assert mine == [body for _, body in accepted], commits
            if not killed:
                break
        assert 6 < commits < 99


async def test_the_node_may_end_first(autojump_clock: MockClock) -> None:
    async with small(**QUIET) as net, hosted(net) as (_, endpoint):
        async with net.join("visitor") as node:
            contact: Contact = node.contact(endpoint.address, name="press")
            await contact.__aenter__()
            receipt = contact.send(b"hello")
        assert (receipt.status, receipt.why) == ("failed", OPENED_AGAIN)
        async with net.join("visitor") as node, node.contact(endpoint.address, name="press") as contact:
            assert [one.id for one in contact.pending()] == [receipt.id]
            assert await final(*contact.pending()) == {"delivered"}


@pytest.mark.parametrize("turns", range(6))
async def test_closed_while_it_is_being_entered_it_is_closed(turns: int, autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join() as node:
        contact = node.contact(NOBODY, name="press")
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def close() -> None:
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                contact.close()

            with suppress(Closed):
                async with contact:
                    await trio.sleep(1)
                    contact.send(b"hello")
        with pytest.raises(Closed):
            contact.send(b"hello")
        async with node.contact(NOBODY, name="press") as contact:
            assert contact.pending() == []
