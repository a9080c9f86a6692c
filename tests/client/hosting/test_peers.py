"""An endpoint's side of sessions: what it says first waits, survives a restart, and is erased once."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.context import Shared
from onionshh.client.hosting.peers import RUNS_AGAIN
from onionshh.core.delivery.record import new_whisper
from onionshh.core.session.session import Session
from onionshh.core.session.table import SessionTable
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from tests.client.session.watched import watched
from tests.client.test_speaking_first import IDLE_MOST, first, met, world
from tests.client.world import PATIENCE_SECONDS, QUIET, bytes_on_disk, hosted, small, until
from tests.inside import inside, parts
from tests.seeded import seeded

BODY = b"what the endpoint says first, and nobody else"


async def idle() -> None:
    await trio.sleep(IDLE_MOST + 40)


async def test_what_waits_survives_a_restart_and_is_erased(autojump_clock: MockClock) -> None:
    async with small(8, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            async with visitor.contact(endpoint.address, name="friend") as contact:
                peer = await met(endpoint, contact)
            await idle()
            receipt = peer.send(BODY, ttl_seconds=3600)
        assert (receipt.status, receipt.why) == ("failed", RUNS_AGAIN)
        assert BODY in bytes_on_disk(net.folder / "host")
        async with hosted(net) as (_, endpoint):
            assert endpoint.peers() == [peer]
            async with visitor.contact(endpoint.address, name="friend") as contact:
                contact.send(b"I am back")
                assert (await first(contact)).body == BODY
                await first(endpoint)
                await trio.sleep(5)
            assert BODY not in bytes_on_disk(net.folder / "host")


async def test_what_nobody_fetched_is_erased_when_it_expires(autojump_clock: MockClock) -> None:
    async with world() as w:
        await idle()
        w.peer.send(BODY, ttl_seconds=60)
        await trio.sleep(90)
        assert BODY not in bytes_on_disk(w.net.folder / "host")


async def test_a_reply_that_is_called_back_is_told_and_erased_once(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        question = w.contact.send(b"think about it")
        async for whisper in w.endpoint:
            await question.final()
            await idle()
            answer = await whisper.reply(2000 * b"y")  # too large for one cell
            break
        late = await first(w.contact)
        assert late.in_reply_to == question.id
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await answer.final()).status == "delivered"
        assert w.endpoint.status().replies_waiting == 0
        await trio.sleep(5)
        assert 100 * b"y" not in bytes_on_disk(w.net.folder / "host")
        await idle()
        assert w.endpoint.status().replies_waiting == 0


async def test_a_reply_whose_exchange_was_lost_is_called_back(autojump_clock: MockClock) -> None:
    async with world(way_back=True) as w:
        question = w.contact.send(b"q" * 500)
        async for whisper in w.endpoint:
            await question.final()
            for circuit in w.visitor.circuits():
                assert circuit.purpose != "call"
            for lane in parts(w.endpoint).peers.lanes:
                parts(w.endpoint).peers.lanes.lost(lane)
            await whisper.reply(b"y" * 500)
            break
        assert (await first(w.contact)).body == b"y" * 500


async def test_without_receipts_a_whisper_is_sent_and_a_reply_still_comes(autojump_clock: MockClock) -> None:
    async with small(8, **QUIET) as net, net.join("host") as host, net.join("visitor") as visitor:
        async with host.host(net.folder / "identity", introducers=2, receipts=False) as endpoint:
            await endpoint.reachable()
            async with visitor.contact(endpoint.address) as contact:
                receipt = await contact.whisper(b"hello")
                assert (receipt.status, receipt.is_final) == ("sent", True)
                assert contact.session is None
                async for whisper in endpoint:
                    await whisper.reply(b"yes?")
                    break
                with trio.fail_after(PATIENCE_SECONDS):
                    assert await receipt.reply() == b"yes?"
                assert receipt.status == "delivered"
                await until(lambda: contact.session is not None)


async def test_a_short_whisper_and_its_receipt_are_one_circuit_and_one_cell_each(
    autojump_clock: MockClock,
) -> None:
    async with world(way_back=True) as w:
        await idle()
        roles = [watched(relay) for relay in w.net.relays]
        before = {circuit.made_at for circuit in inside(w.visitor).circuits.circuits}
        receipt = await w.contact.whisper(b"short")
        assert receipt.status == "delivered"
        await trio.sleep(2)
        assert sum(role.resumed for role in roles) == 2  # ours, and its receipt by a way back
        assert sum(role.introduced for role in roles) == 0
        assert sum(role.met for role in roles) == 0
        new = [
            c for c in inside(w.visitor).circuits.circuits if c.made_at not in before and c.purpose != "ready"
        ]
        assert new == []  # the one that was used is closed again


async def test_a_kept_peer_goes_last() -> None:
    table = SessionTable(2)
    kept, other, new = (
        Session.started(bytes([number]) * 32, introduced=False, period=1, wall=number) for number in (1, 2, 3)
    )
    kept.marks.kept = True
    table.add(kept)
    table.add(other)
    assert table.add(new) is other


class Holder:
    """So many sessions."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def displace(self) -> None:
        self.count -= 1


def test_the_endpoint_with_most_sessions_makes_room() -> None:
    few, many = Holder(3000), Holder(5192)
    shared = Shared([few, many])
    shared.make_room()
    assert (few.count, many.count) == (3000, 5192)
    few.count += 1
    shared.make_room()
    assert (few.count, many.count) == (3001, 5191)


@pytest.mark.parametrize("way_back", [True, False])
async def test_a_receipt_for_a_letter_goes_by_the_way_back_if_there_is_one(
    way_back: bool, autojump_clock: MockClock
) -> None:
    async with world(way_back=way_back) as w:
        peers = parts(w.endpoint).peers
        session = peers.session_of(bytes.fromhex(w.peer.id))
        assert session is not None
        await until(lambda: bool(session.way_back) is way_back)
        await idle()
        expires = inside(w.host).clock.best() + 4000
        record = new_whisper(BODY, expires=expires, privacy_class=1, random_bytes=seeded(1))
        for _ in range(2):  # another copy of the letter changes nothing
            await peers.mailed(record, session)
        assert peers.post.owed == 1
        await trio.sleep(90)
        assert (peers.post.owed, len(peers.post.leaving)) == (0, int(not way_back))
        assert not list(peers.lanes) or way_back
        whisper = await first(w.endpoint)
        assert (whisper.body, whisper.waited, whisper.peer) == (BODY, True, w.peer)
        assert w.endpoint.waiting == (0, 0)


async def test_a_letter_that_nobody_takes_is_not_taken_for_want_of_room(autojump_clock: MockClock) -> None:
    """A stranger's letter answers to something that was never said. Else it would come again with every
    reading of the inbox, and keep all letters behind it away."""
    async with world() as w:
        peers = parts(w.endpoint).peers
        record = new_whisper(
            BODY,
            expires=inside(w.host).clock.best() + 4000,
            privacy_class=1,
            random_bytes=seeded(1),
            in_reply_to=WhisperId(b"a" * 16),
        )
        await peers.mailed(record, None)
        assert w.host.drops()[Reason.RECORD_UNREAD] == 1
        assert w.endpoint.waiting == (0, 0)
