"""A node as a program sees it: numbers of this moment, and refusals in a sentence."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client.node import INTRODUCERS_MOST
from onionshh.reasons import Reason
from tests.client.world import hosted, small, until
from tests.inside import inside

NOBODY = onionshh.Identity.generate(lambda n: bytes(range(n % 256)) or bytes(n)).address


async def test_the_status_is_of_this_moment(autojump_clock: MockClock) -> None:
    async with small(5, interval_seconds=300) as net, net.join("node") as node:
        assert net.memory is not None
        await until(lambda: node.status().guards_up == 2)
        status = node.status()
        assert (status.online, status.relays) == (True, 5)
        assert status.circuits == len(node.circuits())
        assert status.consensus_age_seconds is not None
        await trio.sleep(100)
        later = node.status().consensus_age_seconds
        assert later is not None
        assert later == pytest.approx(status.consensus_age_seconds + 100, abs=1)
        net.memory.cut("node")
        await until(lambda: not node.online)
        assert (node.status().guards_up, node.status().online) == (0, False)
        net.memory.heal("node")
        await until(lambda: node.online)


async def test_circuits_are_listed_oldest_first_with_what_they_show(autojump_clock: MockClock) -> None:
    async with small(5, interval_seconds=300) as net, hosted(net) as (node, _):
        await trio.sleep(30)
        circuits = node.circuits()
        ages = [one.age_seconds for one in circuits]
        assert ages == sorted(ages, reverse=True)
        assert {"introducer", "ready"} <= {one.purpose for one in circuits}
        running = {one.id: one.about.nickname for one in net.relays}
        for one in circuits:
            assert one.path == tuple(running[relay] for relay in one.relays)
            assert ("neither sees both" in one.reveals) == (len(one.path) >= 3)


async def test_drops_are_a_copy(autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join() as node:
        inside(node).drops.count(Reason.MEMORY)
        node.drops()[Reason.MEMORY] = 99
        assert node.drops()[Reason.MEMORY] == node.status().drops[Reason.MEMORY] == 1


@pytest.mark.parametrize("wanted", [0, -1, INTRODUCERS_MOST + 1])
async def test_nothing_is_made_for_wrong_arguments(wanted: int, autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join() as node:
        identity = net.folder / "identity"
        with pytest.raises(ValueError, match="introducers must be a whole number, from 1 to 20"):
            node.host(identity, introducers=wanted)
        with pytest.raises(ValueError, match="give_up_after"):
            node.host(identity, give_up_after=wanted if wanted < 1 else 0)
        assert not identity.exists()
        with pytest.raises(ValueError, match="hops"):
            node.contact(NOBODY, hops=4)
        with pytest.raises(ValueError, match="not available in this version"):
            node.contact(NOBODY, privacy="hush")


async def test_a_node_that_was_left_makes_nothing_any_more(autojump_clock: MockClock) -> None:
    async with small(3) as net:
        async with net.join() as node:
            pass
        for make in (lambda: node.host(net.folder / "identity"), lambda: node.contact(NOBODY)):
            with pytest.raises(onionshh.Closed, match="This node is closed"):
                make()
        assert node.circuits() == []
