"""The byte ceiling of a relay, alone and under a real link."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onionshh.net.clocks import Clock
from onionshh.net.throttle import Throttle
from tests.net.world import World
from tests.relay.pure import ANSWER, ASK


async def test_a_burst_is_free_and_then_bytes_cost_time(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000, Clock())
    await trio.sleep(100)  # rest earns no more than one second
    start = trio.current_time()
    await throttle.spend(1000)
    assert trio.current_time() == start
    await throttle.spend(500)
    assert trio.current_time() - start == 0.5
    for _ in range(10):
        await throttle.spend(1000)
    assert abs(trio.current_time() - start - 10.5) < 1e-6


async def test_readers_share_one_ceiling(autojump_clock: MockClock) -> None:
    throttle = Throttle(1000, Clock())
    start = trio.current_time()

    async def read() -> None:
        for _ in range(10):
            await throttle.spend(100)

    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(read)
    assert 3.8 <= trio.current_time() - start <= 5.0


async def test_a_relay_with_a_ceiling_forwards_no_faster(autojump_clock: MockClock) -> None:
    world = World()
    relay = world.relay()
    relay.links._throttle = Throttle(10_000, relay.clock)
    async with world.running(), world.client() as client:
        circuit = await client.build(relay)
        circuit.accept(ANSWER)
        start = trio.current_time()
        for _ in range(20):
            circuit.send(ASK, bytes(10_000))
        for _ in range(20):
            assert (await circuit.receive()).body == bytes(10_000)
        assert 18.0 <= trio.current_time() - start <= 28.0
