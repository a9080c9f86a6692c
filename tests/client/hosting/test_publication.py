"""Descriptors lie on the ring at all times: under both periods' keys, again when they must be (SPEC 10)."""

from __future__ import annotations

import shutil
import sqlite3
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.publication import Publication
from onionshh.client.hosting.reachability import Reachability
from onionshh.client.node import Node
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import NoDescriptor, find
from onionshh.core.endpoint.publication import ANOTHER
from onionshh.crypto.identity import decode_address_untrusted
from onionshh.net import link_loop
from onionshh.reasons import Reason
from onionshh.wire.endpoint import NUMBER_MAX, Outer
from tests.client.hostile import Stale, mount, new_ring, ring_of, shown
from tests.client.world import (
    QUIET,
    WALL,
    Stranger,
    WrongClock,
    dropped,
    hosted,
    joined,
    killed,
    on_ring,
    period_now,
    small,
    until,
)
from tests.inside import inside, parts

PERIOD = dict(interval_seconds=30, period_seconds=600, descriptor_grace_seconds=100)
TURN = WALL // 600 * 600 + 600
"""Wall clock at which a period of ten minutes begins."""


def letter_keys(endpoint: Endpoint) -> list[bytes]:
    """The public ones, the latest first."""
    inbox = parts(endpoint).inbox
    return [] if inbox is None else [key.key.public for key in inbox.letter_keys.newest_first(16)]


def publication(endpoint: Endpoint) -> Publication:
    return parts(endpoint).publication


async def test_the_next_periods_descriptor_is_there_before_it_begins(autojump_clock: MockClock) -> None:
    async with small(4, wall=TURN - 590, **PERIOD) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            period = period_now(node)
            assert len(on_ring(net, endpoint, period)) >= 1
            assert not on_ring(net, endpoint, period + 1)
            # In the second half the next one's random value is out: both stand, and the whole ring has them.
            await until(lambda: len(on_ring(net, endpoint, period + 1)) == 4, 400)
            assert net.clock.wall() < TURN
            assert len(on_ring(net, endpoint, period)) == 4
            await until(lambda: period_now(node) == period + 1, 400)
            held = on_ring(net, endpoint, period + 1)
            stranger = Stranger(visitor, endpoint.address)
            await until(lambda: period_now(visitor) == period + 1, 60)
            assert (await stranger.find()).period == period + 1
            assert len(held) == 4
            # Keys are another period's: nothing of one descriptor is in the other.
            keys = [parts(endpoint).key_store.named(one & 0xFF) for one in (period, period + 1)]
            assert keys[0] is not None
            assert keys[1] is not None
            assert keys[0].seal.public != keys[1].seal.public
            assert keys[0].rendezvous.public != keys[1].rendezvous.public


async def test_the_previous_period_is_answered_for_its_grace_and_no_longer(
    autojump_clock: MockClock,
) -> None:
    async with small(4, wall=TURN - 120, **PERIOD) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            stranger = Stranger(visitor, endpoint.address)
            old = await stranger.find()
            entry = old.descriptor.introducers[0]
            await until(lambda: net.clock.wall() >= TURN + 60, 400)
            assert period_now(node) == old.period + 1
            await stranger.send(entry, stranger.introduction(old, entry, body=b"late").message)
            with trio.fail_after(30):
                whisper = await anext(aiter(endpoint))
            assert whisper is not None
            assert whisper.body == b"late"
            await until(lambda: net.clock.wall() >= TURN + 200, 400)
            message = stranger.introduction(old, entry, body=b"too late").message
            await dropped(node, Reason.INTRODUCE_PERIOD, stranger.send, entry, message)


async def test_each_period_is_published_again_on_a_timer(autojump_clock: MockClock) -> None:
    timer = dict(publish_min_seconds=50, publish_max_seconds=80)
    async with small(4, wall=TURN - 250, period_seconds=600, **timer) as net:
        async with hosted(net) as (node, endpoint):
            period = period_now(node)
            seen: dict[int, set[int]] = {period: set(), period + 1: set()}
            for _ in range(23):
                await trio.sleep(10)
                for one, revisions in seen.items():
                    revisions |= set(on_ring(net, endpoint, one).values())
            for revisions in seen.values():
                assert 3 <= len(revisions) <= 7  # about 230 s with a timer of 50 to 80 s
            # Steps are random: neither a count of publications nor the time.
            ordered = sorted(seen[period])
            steps = {b - a for a, b in pairwise(ordered)}
            assert len(steps) == len(ordered) - 1
            assert 1 not in steps


def _set_back(folder: Path) -> int:
    """Make the database an old copy of itself: what it says of revisions is long past."""
    (path,) = folder.rglob("endpoint.db")
    with sqlite3.connect(path) as connection:
        (revision,) = connection.execute("SELECT MAX(revision) FROM period_keys").fetchone()
        connection.execute("UPDATE period_keys SET revision = 0")
    connection.close()
    return int(revision)


async def test_an_old_copy_of_the_disk_goes_on_from_what_the_ring_knows(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join("visitor") as visitor:
        for _ in range(4):
            async with killed(net) as (node, endpoint):
                period = period_now(node)
                await until(lambda e=endpoint, p=period: len(set(on_ring(net, e, p).values())) == 1)  # type: ignore[misc]
        before = _set_back(net.folder / "host")
        async with hosted(net) as (_, endpoint):
            with trio.fail_after(200):
                while min(on_ring(net, endpoint, period).values()) <= before:
                    await trio.sleep(1)
            assert sum(one.relay.drops.counts[Reason.PUBLISH_STALE] for one in net.relays) > 0
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"


async def test_the_descriptor_says_whether_receipts_are_sent(autojump_clock: MockClock) -> None:
    async with small(4, interval_seconds=300) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint), trio.open_nursery() as nursery:
            stranger, own = Stranger(visitor, endpoint.address), parts(endpoint)
            said = (await stranger.find()).descriptor
            assert (said.sends_no_receipts, said.has_inbox, said.classes) == (False, True, 0)
            assert said.proof is None
            silent = Publication(inside(node), own.identity, own.key_store, own.introducers, receipts=False)
            nursery.start_soon(silent.run)
            await until(lambda: len(set(on_ring(net, endpoint, period_now(node)).values())) == 1)
            with trio.fail_after(60):
                while not (await stranger.find()).descriptor.sends_no_receipts:
                    await trio.sleep(1)
            nursery.cancel_scope.cancel()


async def test_what_the_ring_keeps_for_long_is_there_when_its_relays_come_back(
    autojump_clock: MockClock,
) -> None:
    """In the afternoon the next day's descriptor lives for more than half a day, so it is on disk. With an
    inbox each would be."""
    async with small(4, wall=WALL + 4 * 3600, **QUIET) as net:
        async with hosted(net, inbox=False) as (node, endpoint):
            period = period_now(node)
            await until(lambda: len(on_ring(net, endpoint, period + 1)) == len(net.relays))
            await until(lambda: len(on_ring(net, endpoint, period)) == len(net.relays))
            shown_before = on_ring(net, endpoint, period + 1)
            key = parts(endpoint).identity.blind(period + 1, 86_400).public
            today = parts(endpoint).identity.blind(period, 86_400).public
        running = net.relays[1]
        await running.stop()
        again = await net.add_relay(again=running)
        assert again.id == running.id
        document = shown(again, key, period + 1)
        assert document is not None
        assert Outer.decode_untrusted(document).revision == shown_before[again.id]
        assert shown(again, today, period) is None, "that one was for some hours, in memory"


@pytest.mark.parametrize("hour", [6])
async def test_seven_days_after_an_endpoint_left_its_descriptor_is_found_and_takes_letters(
    hour: int, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`hour` 6: in the afternoon, when the next day's descriptor is there too, and is the one found."""
    slow = {**QUIET, "interval_seconds": 3600, "valid_seconds": 3 * 3600}
    monkeypatch.setattr(link_loop, "TICK_SECONDS", 300.0)  # a week of seconds would take minutes
    async with small(4, wall=WALL + hour * 3600, **slow) as net:
        async with hosted(net) as (node, endpoint):
            address, period = endpoint.address, period_now(node)
            if hour:
                await until(lambda: len(on_ring(net, endpoint, period + 1)) == 4)
            # It had not been about to publish again anyway.
            await trio.sleep(3000)
            keys = letter_keys(endpoint)
        await trio.sleep(7 * 86_400)
        async with net.join("visitor") as visitor:
            key, context = decode_address_untrusted(address), inside(visitor)
            assert period_now(visitor) == period + 7
            found = await find(context, key, older=6)
            assert (found.period, found.overdue(context.clock.earliest())) == (period + bool(hour), True)
            assert found.descriptor.has_inbox
            assert found.descriptor.letter_key == keys[0]
            assert net.clock.wall() < found.descriptor.letters_until
            # A day later the ring has forgotten it.
            await trio.sleep(86_400)
            with pytest.raises(NoDescriptor):
                await find(context, key, older=6)
        # The endpoint still has the key: what was left on the last day waits up to seven more.
        async with net.join("host") as node, node.host(net.folder / "identity") as endpoint:
            assert keys[0] in letter_keys(endpoint)


async def test_without_an_inbox_the_descriptor_says_so_and_goes_with_its_introducers(
    autojump_clock: MockClock,
) -> None:
    async with small(4, **QUIET) as net, net.join("visitor") as visitor, net.join("host") as node:
        async with node.host(net.folder / "identity", introducers=2, inbox=False) as endpoint:
            with trio.fail_after(60):
                await endpoint.reachable()
            said = (await Stranger(visitor, endpoint.address).find()).descriptor
            assert (said.has_inbox, said.letters_until, said.kept_until) == (False, 0, said.expiry)
            assert not letter_keys(endpoint)


async def test_a_relay_that_joins_the_ring_gets_the_descriptor(autojump_clock: MockClock) -> None:
    """With fewer than eight relays each keeps every descriptor: so a new one must get it, and soon."""
    async with small(4) as net, hosted(net) as (node, endpoint):
        period = period_now(node)
        await until(lambda: len(on_ring(net, endpoint, period)) == 4)
        new = await net.add_relay()
        await net.settled()
        await until(lambda: new.id in on_ring(net, endpoint, period), 30)


async def test_of_a_larger_ring_only_those_responsible_keep_it_and_a_dead_one_is_replaced(
    autojump_clock: MockClock,
) -> None:
    async with small(11) as net, hosted(net) as (node, endpoint):
        period = period_now(node)
        await until(lambda: len(on_ring(net, endpoint, period)) == 8)
        first = set(on_ring(net, endpoint, period))
        dead = next(one for one in net.relays if one.id in first)
        await dead.stop()
        await until(lambda: len(on_ring(net, endpoint, period)) == 8, 900)
        assert set(on_ring(net, endpoint, period)) > first - {dead.id}


async def test_a_ring_that_lost_everything_gets_it_again(autojump_clock: MockClock) -> None:
    """Relays keep descriptors in memory: restarted, they have none, and the endpoint's own test finds out."""
    async with small(4) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        await until(lambda: len(on_ring(net, endpoint, period_now(node))) == 4)
        for running in net.relays:
            mount(running, new_ring(running))
        assert not on_ring(net, endpoint, period_now(node))
        with pytest.raises(NoDescriptor):
            await find(inside(visitor), decode_address_untrusted(endpoint.address))
        await until(lambda: len(on_ring(net, endpoint, period_now(node))) == 4, 900)
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"


async def test_a_full_replay_log_means_a_descriptor_with_a_new_key(autojump_clock: MockClock) -> None:
    async with small(4, replay_log_entries=6) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            stranger = Stranger(visitor, endpoint.address)
            seals: list[bytes] = []
            founds: list[CheckedDescriptor] = []
            for number in range(10):
                async with visitor.contact(endpoint.address, hops=0) as contact:
                    receipt = await contact.whisper(b"%d" % number)
                    assert receipt.status == "delivered", (number, receipt.why)
                founds.append(await stranger.find())
                seals.append(founds[-1].descriptor.seal_key)
            assert len(set(seals)) >= 4  # two introductions a key, and each of these whispers is one
            assert len({one.descriptor.revision for one in founds}) >= 4


async def names_its_own(visitor: Node, endpoint: Endpoint) -> bool:
    """Whether the ring shows the introducers that this endpoint has now."""
    found = await Stranger(visitor, endpoint.address).find()
    mine = {entry.auth_key for entry in parts(endpoint).introducers.entries}
    return {entry.auth_key for entry in found.descriptor.introducers} <= mine


async def told(endpoint: Endpoint, said: list[Reachability]) -> None:
    async for change in endpoint.reachability_changes():
        said.append(change)  # noqa: PERF401


async def test_an_identity_that_ran_elsewhere_for_a_while_is_published_again_at_once(
    autojump_clock: MockClock,
) -> None:
    async with small(6, interval_seconds=300) as net, net.join("visitor") as visitor:
        async with hosted(net, "here") as (_, endpoint), trio.open_nursery() as nursery:
            said: list[Reachability] = []
            nursery.start_soon(told, endpoint, said)
            await trio.sleep(60)
            async with hosted(net, "elsewhere") as (_, other):
                await until(lambda: other.reachability.reachable)
                assert await names_its_own(visitor, other)
            # The one here finds out with its next test, and does not wait for its timer of an hour and more.
            await until(lambda: any(one.why == ANOTHER for one in said), 420)
            await until(lambda: endpoint.reachability.reachable, 60)
            assert await names_its_own(visitor, endpoint)
            await trio.sleep(1200)
            assert endpoint.reachability.reachable
            assert len(said) == 3
            nursery.cancel_scope.cancel()


async def test_two_programs_with_one_identity_are_both_told_and_do_not_wear_the_ring_out(
    autojump_clock: MockClock,
) -> None:
    async with small(6, interval_seconds=300, **QUIET) as net:
        async with (
            hosted(net, "one") as (node, first),
            hosted(net, "two") as (_, second),
            trio.open_nursery() as nursery,
        ):
            said: tuple[list[Reachability], list[Reachability]] = ([], [])
            nursery.start_soon(told, first, said[0])
            nursery.start_soon(told, second, said[1])
            await until(lambda: all(any(one.why == ANOTHER for one in each) for each in said), 1200)
            revisions: set[int] = set()
            for _ in range(1200):
                await trio.sleep(3)
                revisions |= set(on_ring(net, first, period_now(node)).values())
            assert 4 < len(revisions) < 40  # an hour: each once in some minutes
            nursery.cancel_scope.cancel()
        async with hosted(net, "one") as (_, first):  # and with one of them gone, all is well
            await trio.sleep(900)
            assert first.reachability.reachable


@pytest.mark.parametrize("old", [False, True])
async def test_a_ring_relay_that_says_stale_for_ever_changes_nothing(
    old: bool, autojump_clock: MockClock
) -> None:
    async with small(5, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        period = period_now(node)
        await until(lambda: len(on_ring(net, endpoint, period)) == 5)
        async with trio.open_nursery() as nursery:
            said: list[Reachability] = []
            nursery.start_soon(told, endpoint, said)
            liar = Stale(net.relays[0], old=old)
            mount(net.relays[0], liar)
            for _ in range(2):
                publication(endpoint).again()
                await trio.sleep(60)
            revisions: set[int] = set()
            for _ in range(100):
                await trio.sleep(30)
                revisions.add(max(on_ring(net, endpoint, period).values()))
            # It is asked to take what it should have, at longer and longer intervals; nobody else is.
            assert liar.uploads < 50
            assert len(revisions) == 1
            assert [one.reachable for one in said] == [True]
            nursery.cancel_scope.cancel()


async def test_a_later_revision_is_noticed_though_all_else_is_our_own(autojump_clock: MockClock) -> None:
    async with small(4, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        period = period_now(node)
        await until(lambda: len(on_ring(net, endpoint, period)) == 4)
        keys = parts(endpoint).key_store.named(period & 0xFF)
        assert keys is not None
        later = keys.revision
        said: list[Reachability] = []
        async with trio.open_nursery() as nursery:
            nursery.start_soon(told, endpoint, said)
            await until(lambda: len(said) == 1)
            keys.revision -= 1  # as if the ring's had come from another program with this disk
            assert await parts(endpoint).self_test.once() == ANOTHER
            await until(lambda: len(said) > 1, 1)
            assert said[1].why == ANOTHER
            await until(lambda: min(on_ring(net, endpoint, period).values()) > later, 30)
            await until(lambda: endpoint.reachability.reachable, 60)
            nursery.cancel_scope.cancel()


async def test_behind_the_last_revision_an_endpoint_goes_on(autojump_clock: MockClock) -> None:
    """Another program with this identity may publish under any revision. There is a last one."""
    async with small(4, interval_seconds=300) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint):
            period = period_now(node)
            await until(lambda: len(on_ring(net, endpoint, period)) == 4)
            store = parts(endpoint).key_store
            keys = store.keys_of(period)
            assert keys is not None
            await store.set_revision(keys, NUMBER_MAX - 1)
            for _ in range(3):
                publication(endpoint).again()
                await trio.sleep(60)
            assert set(on_ring(net, endpoint, period).values()) == {NUMBER_MAX}
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"


async def test_two_copies_of_one_disk_are_told_as_well(autojump_clock: MockClock) -> None:
    """They have the same introducers and keys: nothing but the revision tells."""
    async with small(6, interval_seconds=300) as net:
        async with hosted(net, "one"):
            pass
        shutil.copytree(net.folder / "one", net.folder / "two")
        async with (
            net.join("one") as one,
            net.join("two") as two,
            one.host(net.folder / "identity", introducers=2) as first,
            two.host(net.folder / "identity", introducers=2) as second,
            trio.open_nursery() as nursery,
        ):
            said: tuple[list[Reachability], list[Reachability]] = ([], [])
            nursery.start_soon(told, first, said[0])
            nursery.start_soon(told, second, said[1])
            await until(lambda: all(any(one.why == ANOTHER for one in each) for each in said), 1800)
            nursery.cancel_scope.cancel()


async def test_a_relay_whose_clock_jumps_keeps_what_is_good_and_forgets_what_is_over(
    autojump_clock: MockClock,
) -> None:
    """What a consensus confirmed counts, not what the machine says."""
    async with small(4, **PERIOD) as net, hosted(net, inbox=False) as (node, endpoint):
        good, strange = net.clock, WrongClock(net)
        net.clock = strange
        running = await net.add_relay()
        net.clock = good
        await net.settled()
        period = period_now(node)
        await until(lambda: running.id in on_ring(net, endpoint, period), 120)
        for shift in (20 * 365 * 86400, -20 * 365 * 86400):
            strange.shift = shift
            publication(endpoint).again()
            before = on_ring(net, endpoint, period)[running.id]
            await until(lambda before=before: on_ring(net, endpoint, period).get(running.id, 0) > before, 60)  # type: ignore[misc]
        held = ring_of(running)
        await until(lambda: held.kept == 0, 4000)


async def test_an_endpoint_with_a_strange_clock_writes_dates_that_the_ring_takes(
    autojump_clock: MockClock,
) -> None:
    async with small(4, interval_seconds=900) as net:
        clock = WrongClock(net)
        async with joined(net, "host", clock) as node:
            for shift in (30 * 86400, -30 * 86400):
                clock.shift = shift
                await trio.sleep(20)  # until the jump is believed
                async with node.host(net.folder / f"identity{shift}", introducers=2) as endpoint:
                    await until(lambda e=endpoint: len(on_ring(net, e, period_now(node))) == 4)  # type: ignore[misc]
