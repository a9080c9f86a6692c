"""The passes over what links brought and what is due: one flush each, ticks, the ceiling on reading."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.geometry import BODY
from onionshh.net.link_loop import TICK_SECONDS, Ticker
from onionshh.reasons import Reason
from onionshh.wire.cell import PADDING, pack_cell
from simulations.world import ANSWER, ASK
from tests.net.test_links import network
from tests.net.world import Valve, dial_as_peer


def test_a_tick_comes_again_a_second_after_it_came_and_after_a_fault_too() -> None:
    came: list[float] = []

    def on_tick(now: float) -> None:
        came.append(now)
        if len(came) == 2:
            raise ZeroDivisionError

    ticker = Ticker(on_tick, 10.0)
    assert ticker.timers.next() == 10.0 + TICK_SECONDS
    ticker.tick(11.0)
    with pytest.raises(ZeroDivisionError):
        ticker.tick(12.5)
    assert came == [11.0, 12.5]
    assert ticker.timers.next() == 12.5 + TICK_SECONDS


async def test_what_several_circuits_want_of_one_neighbour_leaves_in_one_frame(
    autojump_clock: MockClock,
) -> None:
    async with network(2) as (_, (relay, further), client):
        circuits = [await client.build(relay, further) for _ in range(10)]
        for circuit in circuits:
            circuit.accept(ANSWER)
        sent = relay.links.frames_sent
        for circuit in circuits:
            circuit.send(ASK, b"at once")
        for circuit in circuits:
            await circuit.receive()
        assert relay.links.frames_sent == sent + 2  # one on to the neighbour, one back with the answers


async def test_a_link_that_spent_too_much_is_not_read_for_so_long(autojump_clock: MockClock) -> None:
    valve = Valve(1000)
    async with network(1, throttle=valve) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        valve.open = False
        frame = peer.machine.seal(pack_cell(0, PADDING, bytes(BODY)) * 20)
        peer.push(frame)  # ten seconds' worth
        await trio.sleep(1)
        peer.push(peer.machine.seal(pack_cell(0, 99, bytes(BODY))))  # what ends the link, once it is read
        await trio.sleep(7)
        assert relay.drops.counts[Reason.LINK_COMMAND] == 0
        await trio.sleep(3)
        assert relay.drops.counts[Reason.LINK_COMMAND] == 1


async def test_the_ceiling_may_change_and_go(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        relay.links.limit(1000)
        peer.push(peer.machine.seal(pack_cell(0, PADDING, bytes(BODY)) * 20))
        await trio.sleep(0.1)
        relay.links.limit(0)
        peer.push(peer.machine.seal(pack_cell(0, 99, bytes(BODY))))
        await trio.sleep(5)
        assert relay.drops.counts[Reason.LINK_COMMAND] == 0  # held back by what was spent before
        await trio.sleep(30)
        assert relay.drops.counts[Reason.LINK_COMMAND] == 1


async def test_without_a_ceiling_all_is_read_at_once(autojump_clock: MockClock) -> None:
    async with network(1) as (world, (relay,), _):
        peer = await dial_as_peer(world.network.dialer("40.0.0.1"), relay)
        peer.push(peer.machine.seal(pack_cell(0, PADDING, bytes(BODY)) * 20))
        peer.push(peer.machine.seal(pack_cell(0, 99, bytes(BODY))))
        await trio.testing.wait_all_tasks_blocked()
        assert relay.drops.counts[Reason.LINK_COMMAND] == 1
