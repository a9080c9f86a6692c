"""Relays die while whispers are on their way: all arrive, each once, with no help (SPEC 6, 13)."""

from __future__ import annotations

import errno
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.hosting.hosting import DATABASE_FILE
from onionshh.net import store
from onionshh.relay.keys import RelayKeys
from onionshh.relay.serve import KEY_CHECK_SECONDS
from onionshh.rendezvous.ring import Ring
from tests.client.world import hosted, small, until
from tests.inside import inside, parts

WALL = 1_790_000_000


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_four_of_twelve_relays_die_under_two_hundred_whispers(
    seed: int, autojump_clock: trio.testing.MockClock
) -> None:
    got: Counter[bytes] = Counter()

    async def read(endpoint: onionshh.Endpoint) -> None:
        async for whisper in endpoint:
            got[whisper.body[:4]] += 1

    async with (
        testing.network(relays=12, wall_start=WALL, seed=seed) as net,
        net.join() as host,
        net.join() as visitor,
        host.host(net.folder / "identity") as endpoint,
        trio.open_nursery() as nursery,
        visitor.contact(endpoint.address, hops=3) as contact,
    ):
        await endpoint.reachable()
        nursery.start_soon(read, endpoint)
        receipts = []
        for number in range(200):
            receipts.append(contact.send(number.to_bytes(4, "big") + bytes(252)))
            await trio.sleep(0.05)
            if number == 60:
                await _kill_four(net, host, visitor)
        for receipt in receipts:
            await receipt.final()
        assert Counter(receipt.status for receipt in receipts) == {"delivered": 200}
        assert {receipt.hops for receipt in receipts} == {3}
        assert len(got) == 200
        assert set(got.values()) == {1}
        await endpoint.reachable()
        with trio.fail_after(300):
            # The dead introducers are replaced by others that live.
            alive = {one.id for one in net.relays}
            while True:
                standing = {one.relays[-1] for one in host.circuits() if one.purpose == "introducer"}
                if len(standing) == 6 and standing <= alive:
                    break
                await trio.sleep(5)
        nursery.cancel_scope.cancel()


async def _kill_four(net: testing.Network, host: onionshh.Node, visitor: onionshh.Node) -> None:
    """The rendezvous point in use, the visitor's guard on the way to it, an introducer, and one more."""
    meeting = min(
        (one for one in visitor.circuits() if one.purpose == "rendezvous"), key=lambda one: one.age_seconds
    )
    doomed = [meeting.relays[-1], meeting.relays[0]]
    introducers = [one.relays[-1] for one in host.circuits() if one.purpose == "introducer"]
    doomed.append(next(one for one in introducers if one not in doomed))
    doomed.append(next(one.id for one in net.relays if one.id not in doomed))
    for relay in [one for one in net.relays if one.id in doomed]:
        await relay.stop()
    assert len(net.relays) == 8


async def test_a_whisper_waits_out_a_cut_network(autojump_clock: trio.testing.MockClock) -> None:
    """Offline is no failure: guards are kept, none is drawn anew, and what waits goes out afterwards."""
    async with (
        testing.network(wall_start=WALL, seed=4) as net,
        net.join() as host,
        net.join("visitor") as visitor,
        host.host(net.folder / "identity") as endpoint,
        visitor.contact(endpoint.address) as contact,
    ):
        await endpoint.reachable()
        assert net.memory is not None
        assert (await contact.whisper(b"before")).status == "delivered"
        guards = inside(visitor).guard_file.guards.sample
        net.memory.cut("visitor")
        receipt = contact.send(b"while offline")
        await trio.sleep(120)
        assert not receipt.is_final
        net.memory.heal("visitor")
        assert (await receipt.final()).status == "delivered"
        assert inside(visitor).guard_file.guards.sample == guards


async def test_ring_relays_that_die_do_not_hide_the_endpoint(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        testing.network(relays=14, wall_start=WALL, seed=5) as net,
        net.join() as host,
        host.host(net.folder / "identity") as endpoint,
    ):
        await endpoint.reachable()
        await trio.sleep(30)  # uploads that failed at first have been made good
        everywhere = sum(map(_descriptors, net.relays))
        assert everywhere == 16  # two replicas on four relays, for this period and the next
        for relay in sorted(net.relays, key=_descriptors)[-4:]:
            await relay.stop()
        async with net.join() as visitor, visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"
        with trio.fail_after(300):
            while sum(map(_descriptors, net.relays)) < everywhere:
                await trio.sleep(5)  # the next consensuses name others, and these get it


def _descriptors(running: testing.RunningRelay) -> int:
    """How many endpoint descriptors a relay's ring keeps."""
    return sum(role.kept for role in running.roles if isinstance(role, Ring))


async def test_a_disk_that_is_full_for_a_while_ends_no_node(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A consensus comes, an introducer goes: neither can be written down."""
    async with small(7, interval_seconds=60) as net, hosted(net) as (node, endpoint):
        await parts(endpoint).database.read(lambda connection: connection.execute("PRAGMA busy_timeout=0"))
        (path,) = net.folder.rglob(DATABASE_FILE)
        block = sqlite3.connect(path, timeout=0)
        block.execute("BEGIN IMMEDIATE")

        def full(path: Path, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(store, "atomic_write", full)
            held = inside(node).view.consensus.valid_after
            introducer = next(one.relays[-1] for one in node.circuits() if one.purpose == "introducer")
            for relay in [one for one in net.relays if one.id == introducer]:
                await relay.stop()
            await trio.sleep(300)
        assert inside(node).view.consensus.valid_after > held
        block.rollback()
        block.close()
        await until(lambda: endpoint.reachability.reachable, 300)


async def test_a_network_whose_relays_all_moved_is_found_again_before_its_consensus_expires(
    autojump_clock: MockClock,
) -> None:
    async with small(5, interval_seconds=60) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint), visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"before")).status == "delivered"
            before = list(net.relays)
            await trio.sleep(75 - net.clock.wall() % 60)  # no list is made while they move
            for relay in before:
                await relay.stop()
            for relay in before:
                await net.add_relay(again=relay)
            assert {one.about.port for one in before}.isdisjoint(one.about.port for one in net.relays)
            moved = trio.current_time()
            receipt = await contact.whisper(b"after", ttl_seconds=600)
            assert receipt.status == "delivered", receipt.why
            # The next list comes within 60 s. Then a step of the session may be in vain for 20 s.
            assert trio.current_time() - moved < 100


async def test_a_relay_that_cannot_keep_a_new_onion_key_goes_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: RelayKeys, wall: int, life_seconds: int) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device")

    async with small(4) as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        monkeypatch.setattr(RelayKeys, "rotate", full)
        await trio.sleep(2 * KEY_CHECK_SECONDS)
        assert "a new onion key could not be kept" in caplog.text
        assert len(net.relays) == 4
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"
