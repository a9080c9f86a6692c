"""Finding a descriptor: the current period, else the neighbour; what relays serve is believed only as far as
the address itself vouches for it (SPEC 10)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.delivery.sending import NotReached
from onionshh.client.endpoint import Endpoint
from onionshh.client.reach import finder
from onionshh.client.reach.finder import NoDescriptor, find, find_or_cached, periods_to_ask
from onionshh.client.reach.reach import NOBODY, Reach
from onionshh.config import Authority
from onionshh.core.endpoint.descriptor import build_descriptor
from onionshh.core.paths.view import View
from onionshh.crypto.identity import IdentityKeys, SigningKey, decode_address_untrusted
from onionshh.crypto.primitives import KeyPair
from onionshh.crypto.seal import SealKey
from onionshh.errors import NetworkUnreachable, NoDirectory
from onionshh.net.authority_client import DirectoryUnreachable
from onionshh.net.circuits import CircuitFailed
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.reasons import Reason
from onionshh.wire.endpoint import EndpointDescriptor, IntroducerEntry
from tests.client.hostile import LyingRing, lying_rings, shown
from tests.client.reach.test_reach import once
from tests.client.world import blinded, hosted, on_ring, period_now, small, until
from tests.core.networks import START, plain, view
from tests.inside import inside, parts
from tests.rendezvous.test_ring import days
from tests.seeded import seeded

QUIET = dict(interval_seconds=300)


def tamper(
    rings: list[LyingRing],
    net: testing.Network,
    endpoint: Endpoint,
    period: int,
    change: Callable[[bytes], bytes | None],
) -> None:
    """Every relay of the ring shows something else for this endpoint."""
    name = blinded(endpoint, period), period
    for ring, running in zip(rings, net.relays, strict=True):
        ring.lies.clear()
        document = shown(running, *name)
        ring.lies[name] = None if document is None else change(document)


def flipped(at: int) -> Callable[[bytes], bytes]:
    return lambda document: document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :]


async def test_the_neighbour_is_asked_when_the_current_period_has_none(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join() as visitor, hosted(net) as (_, endpoint):
        key = decode_address_untrusted(endpoint.address)
        period = period_now(visitor)
        found = await find(inside(visitor), key)
        assert (found.period, len(found.descriptor.introducers)) == (period, 2)
        assert found.subcredential == parts(endpoint).identity.blind(period, 86400).subcredential
        with pytest.raises(NoDescriptor):
            await find(inside(visitor), IdentityKeys.generate(seeded(50)).A)


@pytest.mark.parametrize("into_the_day, neighbour", [(36_000, -1), (43_199, -1), (43_200, 1), (70_000, 1)])
def test_the_neighbour_is_yesterday_in_the_morning_and_tomorrow_in_the_afternoon(
    into_the_day: int, neighbour: int
) -> None:
    seen = view(plain(3), at=START + into_the_day)
    assert periods_to_ask(seen) == (seen.period, seen.period + neighbour)


async def test_what_a_relay_forged_is_dropped_and_the_next_one_asked(autojump_clock: MockClock) -> None:
    """One flipped bit anywhere: a named drop for each relay that serves it, and no descriptor."""
    async with small(4, **QUIET) as net, net.join() as visitor, hosted(net) as (_, endpoint):
        period = period_now(visitor)
        await until(lambda: len(on_ring(net, endpoint, period)) == 4)
        key = decode_address_untrusted(endpoint.address)
        rings = lying_rings(net)
        for number, at in enumerate((0, 33, 41, 60, 90, 130, 200, 5000, 12_000), start=1):
            tamper(rings, net, endpoint, period, flipped(at))
            with pytest.raises(NoDescriptor):
                await find(inside(visitor), key)
            assert sum(visitor.drops().values()) == 4 * number, at
        # One honest relay is enough.
        rings[2].lies.clear()
        assert (await find(inside(visitor), key)).period == period


async def test_another_endpoints_descriptor_is_not_taken_for_this_ones(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join() as visitor, hosted(net) as (_, one):
        async with hosted(net, "other", identity="identity-other") as (_, other):
            period = period_now(visitor)
            await until(lambda: len(on_ring(net, one, period)) == len(on_ring(net, other, period)) == 4)
            theirs = shown(net.relays[0], blinded(other, period), period)
            tamper(lying_rings(net), net, one, period, lambda document: theirs)
            with pytest.raises(NoDescriptor):
                await find(inside(visitor), decode_address_untrusted(one.address))
            assert visitor.drops() == {Reason.DESCRIPTOR_OF_ANOTHER: 4}


async def test_an_expired_descriptor_is_none(autojump_clock: MockClock) -> None:
    """Relays that keep it for ever, or put it back, gain nothing."""
    async with small(4, interval_seconds=900) as net, net.join() as visitor:
        async with hosted(net, inbox=False) as (_, endpoint):
            period = period_now(visitor)
            await until(lambda: len(on_ring(net, endpoint, period)) == 4)
            name = blinded(endpoint, period), period
            kept = shown(net.relays[0], *name)
        await trio.sleep(3 * 3600 + 60)
        for ring in lying_rings(net):
            ring.lies[name] = kept
        with pytest.raises(NoDescriptor):
            await find(inside(visitor), decode_address_untrusted(endpoint.address))
        assert visitor.drops()[Reason.DOCUMENT_EXPIRED] == 4


# Who is away.

AWAY = IdentityKeys.generate(seeded(77))
"""An endpoint with an inbox that is not there. Its descriptors are made by hand."""


def left_behind(period: int, expiry: int, letters_until: int) -> bytes:
    """What it left on the ring of a period: introducers that last until `expiry`."""
    descriptor = EndpointDescriptor(
        revision=expiry,
        expiry=expiry,
        rendezvous_key=KeyPair.generate(seeded(1)).public,
        seal_key=SealKey.generate(seeded(2)).public,
        introducers=(IntroducerEntry(bytes(32), bytes(32), expiry),),
        P=AWAY.P,
        pq_public=AWAY.pq_public,
        letter_key=SealKey.generate(seeded(3)).public,
        letters_until=letters_until,
    )
    return build_descriptor(
        AWAY,
        descriptor,
        period=period,
        period_seconds=86_400,
        period_key=SigningKey.generate(seeded(4)),
        random_bytes=seeded(5),
    )


def leave(rings: Sequence[LyingRing], period: int, document: bytes) -> None:
    for ring in rings:
        ring.lies[AWAY.blind(period, 86_400).public, period] = document


async def test_a_descriptor_of_one_who_is_away_is_found_and_leads_nowhere(
    autojump_clock: MockClock,
) -> None:
    async with small(4, **QUIET) as net, net.join("visitor") as visitor:
        context, now = inside(visitor), net.clock.wall()
        period = period_now(visitor)
        leave(lying_rings(net), period, left_behind(period, now - 60, now + 86_400))
        found = await find(context, AWAY.A)
        assert found.overdue(context.clock.earliest())
        assert found.descriptor.has_inbox
        await find_or_cached(context, AWAY.A)
        assert len(context.descriptors) == 0, "it may come back at any moment"
        way = Reach(context, AWAY.A, draw_hops=lambda: 1, privacy_class=1)
        for _ in range(2):
            with pytest.raises(NotReached, match=NOBODY) as caught:
                await once(way)
            assert caught.value.failure.nobody
        assert not visitor.drops()


async def test_one_that_is_not_overdue_is_looked_for_and_else_the_latest_is_taken(
    autojump_clock: MockClock,
) -> None:
    """A ring relay that missed uploads shows an old one; so may any, and gains nothing."""
    async with small(4, **QUIET) as net, net.join("visitor") as visitor:
        context, now = inside(visitor), net.clock.wall()
        period, rings = period_now(visitor), lying_rings(net)
        leave(rings, period, left_behind(period, now - 600, now + 86_400))
        leave(rings[:1], period, left_behind(period, now - 60, now + 86_400))
        leave(rings[1:], period - 1, left_behind(period - 1, now - 900, now + 86_400))
        found = await find(context, AWAY.A)
        assert (found.period, found.descriptor.expiry) == (period, now - 60)
        leave(rings[2:3], period - 1, left_behind(period - 1, now + 3600, now + 86_400))
        found = await find(context, AWAY.A)
        assert (found.period, found.descriptor.expiry) == (period - 1, now + 3600)
        leave(rings[3:], period, left_behind(period, now + 1800, now + 86_400))
        found = await find(context, AWAY.A)
        assert (found.period, found.descriptor.expiry) == (period, now + 1800)
        assert not found.overdue(context.clock.earliest())


class Week:
    """A consensus keeper whose consensus has the random values of a week."""

    def __init__(self, keeper: ConsensusKeeper) -> None:
        self._keeper = keeper

    def require(self) -> View:
        return days(self._keeper.require(), -7, 1)


async def test_for_a_letter_the_periods_before_are_asked_too_two_relays_of_each(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(10, **QUIET) as net, net.join("visitor") as visitor:
        context = replace(inside(visitor), keeper=Week(inside(visitor).keeper))  # type: ignore[arg-type]
        period, rings, now = context.view.period, lying_rings(net), net.clock.wall()
        asked: list[tuple[int, bytes]] = []
        real = finder.ask_ring

        async def ask_ring(context, row, blinded, period, purpose):  # type: ignore[no-untyped-def]
            asked.append((period, row.identity))
            return await real(context, row, blinded, period, purpose)

        monkeypatch.setattr(finder, "ask_ring", ask_ring)
        leave(rings, period - 7, left_behind(period - 7, now - 6 * 86_400, now + 3600))
        for older in (0, 5):
            asked.clear()
            with pytest.raises(NoDescriptor):
                await find(context, AWAY.A, older=older)
            assert len(set(asked)) == len(asked) == 2 * 8 + 2 * older
        asked.clear()
        found = await find(context, AWAY.A, older=6)
        assert (found.period, found.overdue(context.clock.earliest())) == (period - 7, True)
        counts = Counter(one for one, _ in asked)
        assert {one: counts[one] for one in range(period - 6, period - 1)} == dict.fromkeys(
            range(period - 6, period - 1), 2
        )
        assert list(counts) == list(range(period, period - 8, -1)), "the latest first"
        # Where there is one, nobody asks further back.
        leave(rings, period - 3, left_behind(period - 3, now - 2 * 86_400, now + 3600))
        asked.clear()
        assert (await find(context, AWAY.A, older=6)).period == period - 3
        assert min(asked)[0] == period - 3


async def test_dead_relays_are_passed_over_and_none_at_all_is_another_error(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(6, **QUIET) as net, net.join() as visitor, hosted(net) as (_, endpoint):
        period = period_now(visitor)
        key = decode_address_untrusted(endpoint.address)
        await until(lambda: len(on_ring(net, endpoint, period)) == 6)
        real = finder.ask_ring
        dead = {row.identity for row in inside(visitor).view.relays[:5]}
        faults = [CircuitFailed(Reason.ANSWER_TIMEOUT), NetworkUnreachable("offline")]
        asked = []

        async def ask_ring(context, row, blinded, period, purpose):  # type: ignore[no-untyped-def]
            asked.append(row.identity)
            if row.identity in dead:
                raise faults[len(asked) % 2]
            return await real(context, row, blinded, period, purpose)

        monkeypatch.setattr(finder, "ask_ring", ask_ring)
        assert (await find(inside(visitor), key)).period == period
        dead |= {row.identity for row in inside(visitor).view.relays}
        asked.clear()
        # That nobody could be asked does not mean that there is nothing.
        with pytest.raises((CircuitFailed, NetworkUnreachable)):
            await find(inside(visitor), key)
        assert set(asked) == dead


async def test_without_a_consensus_it_says_so(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: testing.LocalSource, authority: Authority) -> bytes:
        raise DirectoryUnreachable("connection refused")

    async with small(4, interval_seconds=10, valid_seconds=30) as net, net.join("visitor") as visitor:
        for relay in list(net.relays):
            await relay.stop()
        monkeypatch.setattr(testing.LocalSource, "consensus", silent)
        await until(lambda: inside(visitor).keeper.current is None, 300)
        with pytest.raises(NoDirectory):
            await find(inside(visitor), IdentityKeys.generate(seeded(50)).A)
