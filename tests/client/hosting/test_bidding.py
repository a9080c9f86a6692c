"""A ring full of junk: an honest endpoint works for its place and gets it, and says so (SPEC 10)."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
from trio.testing import MockClock

from onionshh import geometry as g
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.bidding import Bidding
from onionshh.core.endpoint.effort import EFFORT_LEAST, EFFORT_MOST, NO_PROOF, Search, publish_task
from onionshh.crypto.identity import SigningKey
from onionshh.errors import NoDirectory
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.testing import Network
from onionshh.wire import messages as m
from onionshh.wire.endpoint import Outer, period_key_signed
from tests.client.hostile import lying_rings, origins, ring_of
from tests.client.world import hosted, on_ring, period_now, small, until
from tests.inside import inside, parts
from tests.rendezvous.circuits import Circuit
from tests.seeded import seeded

PLACES = 12


def descriptor(number: int, period: int, expiry: int, nonce: bytes = NO_PROOF) -> bytes:
    """A descriptor of no endpoint, as good as any to a ring relay."""
    key, period_key = SigningKey.generate(seeded(number)), SigningKey.generate(seeded(number + 1))
    outer = Outer(
        blinded=key.public,
        period=period,
        revision=1,
        salt=nonce + bytes(8),
        period_key=period_key.public,
        expiry=expiry,
        certificate=key.sign(period_key_signed(period, period_key.public, expiry)),
        sealed=bytes(g.DESCRIPTOR_SEALED),
    )
    return outer.encode()[: -g.SIGNATURE] + period_key.sign(outer.signed)


def flood(net: Network, effort: int = 0, names: int = 3 * PLACES) -> None:
    """Bring junk to every ring relay over every neighbour it has."""
    view = net.relays[0].relay.keeper.view
    assert view is not None
    shared_random = view.shared_random(view.period)
    assert shared_random is not None
    for number in range(1000, 1000 + names):
        blinded = SigningKey.generate(seeded(number)).public
        search = Search(publish_task(shared_random, blinded, view.period), seeded(number))
        search.look(10**6, effort)
        body = descriptor(number, view.period, net.clock.wall() + 3600, search.nonce)
        for running in net.relays:
            neighbours = [one for one in origins(net) if one != running.relay.keys.relay_id]
            origin = neighbours[number % len(neighbours)]
            ring_of(running).handle(
                Circuit(number, origin), m.PUBLISH, body, net.clock.monotonic(), net.clock.earliest()
            )


def bidding_of(endpoint: Endpoint) -> Bidding:
    return parts(endpoint).publication.bidding


async def whys(endpoint: Endpoint, until_true: Callable[[], bool]) -> set[str]:
    """Everything that is said of why it is not reachable, until something is true."""
    said: set[str] = set()

    def look() -> bool:
        said.add(endpoint.reachability.why)
        return until_true()

    await until(look, 900)
    return said


async def test_without_need_there_is_no_work(autojump_clock: MockClock) -> None:
    async with small(5) as net, hosted(net) as (node, endpoint):
        period = period_now(node)
        await until(lambda: len(on_ring(net, endpoint, period)) == 5)
        assert bidding_of(endpoint).effort(period) == 0
        bidding = bidding_of(endpoint)
        bidding.higher(period, b"not ours")
        assert not bidding.working


async def test_a_newcomer_outbids_a_flood_over_every_neighbour(autojump_clock: MockClock) -> None:
    async with small(5, descriptor_bytes=PLACES * g.DESCRIPTOR) as net, net.join("host") as node:
        flood(net, effort=256, names=2 * PLACES)
        assert all(ring_of(running).kept == PLACES for running in net.relays)
        async with node.host(net.folder / "identity", introducers=2) as endpoint:
            period = period_now(node)
            said = await whys(endpoint, lambda: len(on_ring(net, endpoint, period)) == 5)
            assert any("the ring is full, and it works for a place" in one for one in said), said
            await until(lambda: endpoint.reachability.reachable)
            assert EFFORT_LEAST <= bidding_of(endpoint).effort(period) < EFFORT_MOST
            before = bidding_of(endpoint).effort(period)
            flood(net, effort=0, names=300)
            assert len(on_ring(net, endpoint, period)) == 5
            await trio.sleep(3600)
            assert endpoint.reachability.reachable
            assert bidding_of(endpoint).effort(period) == before, "nothing more was asked of it"


async def test_who_is_displaced_finds_out_and_comes_back_for_a_higher_price(
    autojump_clock: MockClock,
) -> None:
    async with small(5, descriptor_bytes=PLACES * g.DESCRIPTOR) as net, hosted(net) as (node, endpoint):
        period = period_now(node)
        await until(lambda: len(on_ring(net, endpoint, period)) == 5)
        await trio.sleep(30)
        flood(net, effort=64, names=4 * PLACES)
        assert not on_ring(net, endpoint, period)
        await until(lambda: len(on_ring(net, endpoint, period)) == 5, 900)
        assert bidding_of(endpoint).effort(period) >= EFFORT_LEAST
        await until(lambda: endpoint.reachability.reachable, 60)


async def test_circuits_of_the_network_count_for_the_relay_they_came_over(
    autojump_clock: MockClock,
) -> None:
    async with small(5) as net:
        rings = lying_rings(net)
        async with hosted(net) as (node, endpoint):
            await until(lambda: len(on_ring(net, endpoint, period_now(node))) == 5)
        for running, ring in zip(net.relays, rings, strict=True):
            assert ring.origins
            assert ring.origins <= set(origins(net)) - {running.relay.keys.relay_id}


async def test_a_consensus_that_ends_meanwhile_ends_nothing(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """That its descriptor was lost is found out by a test during which the consensus may end."""
    async with small(5) as net, hosted(net) as (node, endpoint):
        await until(lambda: endpoint.status().reachable, 60)
        publication = parts(endpoint).publication
        with monkeypatch.context() as patch:
            patch.setattr(ConsensusKeeper, "current", None)
            with pytest.raises(NoDirectory):
                inside(node).keeper.require()
            publication.lost()
        await trio.sleep(60)
        assert endpoint.status().reachable
