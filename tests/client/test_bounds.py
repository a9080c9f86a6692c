"""What a node holds is bounded, and what it cannot have for a while does not end it (SPEC 6, 13, 17)."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.hosting import whisper_store as inbox_file
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS
from onionshh.config import Authority
from onionshh.core.delivery import inbox as unfinished
from onionshh.core.delivery import receiver
from onionshh.core.delivery.record import new_whisper
from onionshh.ids import WhisperId
from onionshh.net.authority_client import DirectoryUnreachable
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from tests.client.delivery.test_joined import of_visitor
from tests.client.hosting.test_whisper_store import Whispers
from tests.client.world import WALL, hosted, small
from tests.inside import circuits_of, inside, parts
from tests.seeded import seeded


async def test_an_expired_consensus_offline_ends_nothing(autojump_clock: trio.testing.MockClock) -> None:
    """A laptop that sleeps past its consensus comes back by itself."""

    class Cut(testing.LocalSource):
        async def consensus(self, authority: Authority) -> bytes:
            if offline:
                raise DirectoryUnreachable("offline")
            return await super().consensus(authority)

    offline = False
    async with small(seed=3, interval_seconds=5, valid_seconds=60) as net:
        net.source = lambda host: Cut(net.authority, host)  # type: ignore[method-assign]
        assert net.memory is not None
        async with hosted(net, "laptop") as (_, endpoint):
            offline = True
            net.memory.cut("laptop")
            await trio.sleep(600)
            assert not endpoint.reachability.reachable
            offline = False
            net.memory.heal("laptop")
            with trio.fail_after(120):
                await endpoint.reachable()


async def test_own_relays_are_on_no_path(autojump_clock: trio.testing.MockClock) -> None:
    async with testing.network(relays=7, wall_start=WALL, seed=2) as net:
        own = {net.relays[0].id, net.relays[3].id}
        async with (
            net.join("host", own_relays=own) as node,
            node.host(net.folder / "identity") as endpoint,
            net.join("visitor", own_relays=own) as visitor,
            visitor.contact(endpoint.address, hops=3) as contact,
        ):
            await endpoint.reachable()
            for _ in range(3):
                assert (await contact.whisper(b"hello")).status == "delivered"
                await trio.sleep(60)
            paths = [one.relays for one in (*node.circuits(), *visitor.circuits())]
            assert len(paths) > 10
            assert not own & {relay for path in paths for relay in path if path[-1] != relay}
            introducers = {one.relays[-1] for one in node.circuits() if one.purpose == "introducer"}
            assert len(introducers) == 5
            assert not introducers & own


async def test_a_client_past_its_memory_ends_the_circuit_that_fills_it(
    autojump_clock: trio.testing.MockClock,
) -> None:
    async with small(relays=8) as net, hosted(net) as (_, endpoint), net.join() as visitor:
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"
            memory = inside(visitor).circuits.memory
            before = memory.used_bytes
            exchange = of_visitor(contact)
            assert exchange is not None
            memory.most_bytes = before - 1
            contact.send(b"one more")
            await trio.sleep(1)
            assert exchange.circuit.failed == Reason.MEMORY
            assert visitor.drops()[Reason.MEMORY] >= 1
            memory.most_bytes = 1 << 28


async def test_ids_and_replies_are_capped(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfinished, "SEEN_MOST", 3)
    monkeypatch.setattr(inbox_file, "REPLIES_MOST", 2)
    random_bytes = seeded(1)
    inbox = Whispers(Database(":memory:", WHISPER_MIGRATIONS, run_inline))
    await inbox.load(0)
    ids: list[WhisperId] = []
    for number in range(3):
        record = new_whisper(b"x", expires=100 + number, privacy_class=1, random_bytes=random_bytes)
        assert await inbox.accept(record, 1.0) == "new"
        reply = new_whisper(b"y", expires=100 + number, privacy_class=1, random_bytes=random_bytes)
        await inbox.finish(record.whisper_id, reply)
        ids.append(record.whisper_id)
    late = new_whisper(b"x", expires=100, privacy_class=1, random_bytes=random_bytes)
    assert await inbox.accept(late, 1.0) == "full"
    # The reply that expires first went, the two others stayed.
    assert [await inbox.reply_to(one) is not None for one in ids] == [False, True, True]
    await inbox.tidy(100_000)
    assert await inbox.accept(late, 1.0) == "new"


async def test_joined_circuits_are_few_though_the_inbox_is_full(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is closed for it may still be waiting for room: it is not counted, and does not wait on."""
    monkeypatch.setattr(receiver, "LANES_MOST", 2)
    monkeypatch.setattr(unfinished, "WHISPERS_MOST", 1)
    async with small(5, interval_seconds=300) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint), AsyncExitStack() as stack:
            for _ in range(8):
                contact = await stack.enter_async_context(visitor.contact(endpoint.address))
                contact.send(b"hello")
                await trio.sleep(1)
                joined_circuits = circuits_of(parts(endpoint).peers.lanes)
                assert len(joined_circuits) <= 2
                assert all(one.open for one in joined_circuits)
            tasks = parts(endpoint).peers.lanes.nursery
            assert tasks is not None
            assert sum("_read" in one.name for one in tasks.child_tasks) <= 2
            # Who is thrown out comes again, and ever later; else eight would join a thousand times a second.
            assert node.drops()[Reason.EXCHANGES_MOST] < 100
