"""Circuits built ahead: as many as wanted, each for one user, given up when nobody wants them (SPEC 6)."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onionshh.client.node import Node
from onionshh.client.pool import IDLE_CIRCUITS, MOST_AGE_SECONDS, STUBS, Pool
from onionshh.core.circuit.purpose import PathKind, Purpose
from onionshh.crypto.identity import IdentityKeys
from onionshh.net.circuits import Circuit
from onionshh.reasons import Reason
from tests.client.world import small, until
from tests.inside import inside
from tests.seeded import seeded

QUIET = dict(interval_seconds=300)
THREE = PathKind(3, 1)
OTHER = PathKind(3, 0)
NOBODY = IdentityKeys.generate(seeded(99)).address
FOUR = PathKind(4, 1)


def ready(node: Node) -> list[int]:
    """Lengths of the circuits that nobody uses yet."""
    return sorted(len(one.path) for one in node.circuits() if one.purpose == "ready")


def shelved(pool: Pool) -> list[Circuit]:
    return [circuit for kind in (THREE, OTHER, FOUR) for circuit in pool.ready(kind)]


async def test_what_somebody_uses_is_kept_ready(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        pool = inside(node).pool
        await trio.sleep(30)
        assert ready(node) == [2, 2]  # the node's own, as long as it is there
        pool.use(OTHER, idle=IDLE_CIRCUITS)
        pool.use(FOUR, stubs=STUBS)
        await until(lambda: ready(node) == [2, 2, 3, 3, 3, 3, 3], 30)
        await trio.sleep(30)
        assert ready(node) == [2, 2, 3, 3, 3, 3, 3]  # a stub of four has three so far

        # Two users of one kind share a shelf, as large as the largest wish that is left.
        pool.use(OTHER, idle=1, stubs=1)
        await until(lambda: ready(node) == [2, 2, 2, 3, 3, 3, 3, 3], 30)
        pool.leave(OTHER, idle=IDLE_CIRCUITS)
        assert ready(node) == [2, 2, 2, 3, 3, 3]
        pool.leave(OTHER, idle=1, stubs=1)
        assert ready(node) == [2, 2, 3, 3]
        pool.leave(FOUR, stubs=STUBS)
        pool.leave(FOUR, stubs=STUBS)  # once too often does no harm
        pool.leave(THREE)  # a wish that nobody has
        await trio.sleep(30)
        assert ready(node) == [2, 2]


async def test_a_node_keeps_the_links_to_its_guards_open_and_padded_from_the_start(
    autojump_clock: MockClock,
) -> None:
    """Else the first cell on a new link would say when the first contact is made."""
    async with small(8, **QUIET) as net, net.join("node") as node:
        assert net.memory is not None
        context = inside(node)
        await until(lambda: len(ready(node)) == 2, 30)
        guards = set(context.guard_file.guards.usable(context.view))
        assert {one.path[0].identity for one in shelved(context.pool)} == guards
        dialled = len(net.memory.dialled)
        links = context.builder.links
        sent = links.statistics().cells_sent
        for _ in range(60):
            await trio.sleep(30)
            assert set(links.peers()) == guards
            assert links.statistics().cells_sent > sent + 4  # one link alone sends three and more
            sent = links.statistics().cells_sent
        async with node.contact(NOBODY):
            await until(lambda: len(ready(node)) > 7, 30)
        assert "node" not in {source for source, _ in net.memory.dialled[dialled:]}
        await trio.sleep(30)
        assert ready(node) == [2, 2]


async def test_a_contact_that_was_never_entered_takes_nothing_from_the_shelf(
    autojump_clock: MockClock,
) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        await until(lambda: len(ready(node)) == 2, 30)
        node.contact(NOBODY).close()
        await trio.sleep(30)
        assert ready(node) == [2, 2]


async def test_a_circuit_is_taken_once(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        pool = inside(node).pool
        pool.use(OTHER, idle=3)
        await until(lambda: len(ready(node)) == 5, 30)
        before = list(pool.ready(OTHER))
        taken = [await pool.take(Purpose.RENDEZVOUS, OTHER) for _ in range(5)]
        assert taken[:3] == before  # the oldest first, without a wait
        assert len(set(map(id, taken))) == 5
        assert all(
            one.purpose is Purpose.RENDEZVOUS and len(one.path) == 3 and not one.failed for one in taken
        )
        await until(lambda: len(ready(node)) == 5, 30)
        assert not set(map(id, shelved(pool))) & set(map(id, taken))
        pool.leave(OTHER, idle=3)
        assert not any(one.failed for one in taken)  # what was taken is not the pool's to close


async def test_a_stub_is_extended_by_the_relay_that_is_wanted(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join() as node:
        context = inside(node)
        pool = context.pool
        pool.use(THREE, stubs=2)
        await until(lambda: len(ready(node)) == 2, 30)
        stubs = shelved(pool)
        through = {row.identity for stub in stubs for row in stub.path}
        wanted = next(row for row in context.view.relays if row.identity not in through)
        circuit = await pool.to(Purpose.INTRODUCE, wanted, THREE)
        assert circuit in stubs
        assert circuit not in shelved(pool)
        assert [len(circuit.path), circuit.path[-1].identity, circuit.purpose] == [
            3,
            wanted.identity,
            Purpose.INTRODUCE,
        ]

        # One that goes through the wanted relay itself does not fit: no relay is on a path twice.
        await until(lambda: len(ready(node)) == 2, 30)
        guard = shelved(pool)[0].path[0]
        direct = await pool.to(Purpose.INTRODUCE, guard, THREE)
        assert direct.path[-1].identity == guard.identity
        assert len({row.identity for row in direct.path}) == 3


async def test_what_is_old_or_dead_is_replaced(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join("node") as node:
        assert net.memory is not None
        pool = inside(node).pool
        pool.use(THREE, idle=1)
        await until(lambda: len(ready(node)) == 3, 30)
        old = shelved(pool)
        await trio.sleep(MOST_AGE_SECONDS + 120)
        assert len(ready(node)) == 3
        assert all(one.failed for one in old)
        assert max(one.age_seconds for one in shelved(pool)) < MOST_AGE_SECONDS

        for one in shelved(pool):
            one.close(Reason.CLOSED)
        circuit = await pool.take(Purpose.RENDEZVOUS, THREE)
        assert not circuit.failed
        net.memory.cut("node")
        await trio.sleep(60)
        assert ready(node) == []
        net.memory.heal("node")
        await until(lambda: len(ready(node)) == 3, 200)


async def test_circuits_to_a_single_relay_are_never_built_ahead(autojump_clock: MockClock) -> None:
    """They would show our address to a relay for nothing."""
    async with small(5, **QUIET) as net, net.join("node") as node:
        assert net.memory is not None
        pool = inside(node).pool
        pool.use(PathKind(1, 0), idle=3)
        await trio.sleep(60)
        assert ready(node) == [2, 2]
        pool.leave(PathKind(1, 0), idle=3)
        circuit = await pool.take(Purpose.RENDEZVOUS, PathKind(1, 0))
        assert len(circuit.path) == 1


async def test_only_the_first_hop_of_ready_circuits_is_dialled_and_it_is_a_guard(
    autojump_clock: MockClock,
) -> None:
    async with small(8, **QUIET) as net, net.join("node") as node:
        assert net.memory is not None
        context = inside(node)
        for kind in (THREE, FOUR, PathKind(2, 1)):
            context.pool.use(kind, idle=3, stubs=2)
        await until(lambda: len(ready(node)) == 15, 60)
        guards = context.guard_file.guards.usable(context.view)
        assert len(guards) == 2
        assert {one.path[0].identity for one in shelved(context.pool)} <= set(guards)
        hosts = {row.host for row in context.view.relays if row.identity in guards}
        assert {host for source, host in net.memory.dialled if source == "node"} <= hosts
