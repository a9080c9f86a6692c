"""The byte ceiling of a relay, alone and under a real link."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onionshh.net.throttle import Throttle
from simulations.world import ANSWER, ASK
from tests.net.world import Valve, World


def test_a_burst_is_free_and_then_bytes_cost_time() -> None:
    throttle = Throttle(1000)
    assert throttle.spend(1000, 100.0) == 0.0  # rest earns no more than one second
    assert throttle.spend(500, 100.0) == 0.5
    assert throttle.spend(1000, 100.5) == 1.0
    assert throttle.spend(0, 101.0) == 0.5
    assert throttle.spend(1000, 200.0) == 0.0


def test_readers_share_one_ceiling() -> None:
    throttle = Throttle(1000)
    pauses = [throttle.spend(100, 0.0) for _ in range(50)]
    assert abs(pauses[-1] - 5.0) < 1e-6


async def test_a_relay_with_a_ceiling_forwards_no_faster(autojump_clock: MockClock) -> None:
    world = World(throttle=Throttle(10_000))
    relay = world.relay()
    async with world.running(), world.client() as client:
        circuit = await client.build(relay)
        circuit.accept(ANSWER)
        start = trio.current_time()
        for _ in range(20):
            circuit.send(ASK, bytes(10_000))
        for _ in range(20):
            assert (await circuit.receive()).body == bytes(10_000)
        assert 18.0 <= trio.current_time() - start <= 28.0


async def test_a_link_lives_through_a_pause_longer_than_its_deadlines(autojump_clock: MockClock) -> None:
    """While we do not read, silence and half a frame are no fault of the peer's."""
    valve = Valve(1_000)
    world = World(throttle=valve)
    relay = world.relay()
    async with world.running(), world.client() as client:
        circuit = await client.build(relay)
        circuit.accept(ANSWER)
        valve.open = False
        start = trio.current_time()
        for _ in range(20):
            circuit.send(ASK, bytes(10_000))
        for _ in range(20):
            assert (await circuit.receive()).body == bytes(10_000)
        assert trio.current_time() - start > 150
        assert relay.links.open_links == 1
