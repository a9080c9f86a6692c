"""Second hops belong to the node: whatever it hosts shares one set of them (SPEC 6)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.node import Node
from onionshh.core.circuit.purpose import Purpose
from onionshh.ids import RelayId
from onionshh.net.guard_file import LAYER_TWO_FILE
from onionshh.reasons import Reason
from tests.client.world import small, until
from tests.inside import inside

PINNED = {purpose.value for purpose in Purpose if purpose.pinned}


def second_hops(node: Node) -> set[str]:
    """Of all pinned circuits that are there now."""
    return {circuit.relays[1] for circuit in node.circuits() if circuit.purpose in PINNED}


async def test_two_endpoints_of_a_node_have_one_set_of_second_hops(autojump_clock: MockClock) -> None:
    async with small(12) as net, net.join("host") as node, net.join("visitor") as visitor:
        guard_file = inside(node).guard_file
        seen: set[str] = set()
        async with (
            node.host(net.folder / "one", introducers=3) as one,
            node.host(net.folder / "other", introducers=3) as other,
        ):
            with trio.fail_after(120):
                await one.reachable()
                await other.reachable()
            sample = guard_file.layer_two.sample
            for endpoint in (one, other):
                async with visitor.contact(endpoint.address, session=False) as contact:
                    assert (await contact.whisper(b"hello")).status == "delivered"
                    seen |= second_hops(node)
            await until(lambda: len([c for c in node.circuits() if c.purpose == "introducer"]) == 6, 60)
            seen |= second_hops(node)
            assert len(sample) == 4
            assert seen <= {identity.hex() for identity in sample}
        async with node.host(net.folder / "third") as _:
            assert guard_file.layer_two.sample == sample
        assert inside(visitor).guard_file.layer_two.sample == ()  # it builds no pinned circuit
        assert len(list(net.folder.rglob(LAYER_TWO_FILE))) == 1


@pytest.mark.parametrize("relays", [8, 16])
async def test_a_node_that_only_visits_keeps_its_second_hops_over_restarts(
    autojump_clock: MockClock, relays: int
) -> None:
    async with small(relays) as net:
        samples: list[set[RelayId]] = []
        for _ in range(3):
            async with net.join("visitor") as node:
                builder, view = inside(node).builder, inside(node).view
                seen = set()
                for row in view.relays * (24 // relays):
                    circuit = await builder.build(Purpose.RESUME, last=row.identity)
                    assert len(circuit.path) == 4
                    seen.add(circuit.path[1].identity)
                    circuit.close(Reason.FINISHED)
                samples.append(set(inside(node).guard_file.layer_two.sample))
                assert seen <= samples[-1]
        assert len(samples[0]) == 4
        assert samples == [samples[0]] * 3
