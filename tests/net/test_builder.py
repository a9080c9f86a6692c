"""Circuits of a wanted length, round what fails (SPEC 6)."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.core.circuit.purpose import PathKind, Purpose
from onionshh.core.link.port import LinkPort
from onionshh.core.paths.path import PathImpossible
from onionshh.core.paths.view import View
from onionshh.errors import NetworkUnreachable
from onionshh.geometry import CELL
from onionshh.ids import RelayId
from onionshh.net.builder import CircuitBuilder
from onionshh.net.circuits import CircuitFailed
from onionshh.net.guard_file import LAYER_TWO_FILE, GuardFile
from onionshh.net.store import DataDirectory
from onionshh.reasons import Reason
from onionshh.wire.cell import CREATE, CREATE_MORE, HEADER, PADDING, RELAY_EARLY
from tests.core.networks import view
from tests.net.world import Client, Relay, World
from tests.seeded import seeded


class Builder:
    """A client that chooses its own paths."""

    def __init__(self, world: World, client: Client, folder: Path) -> None:
        self.world = world
        self.client = client
        self.view: View = view(list(world.rows.values()), params=world.params)
        self.guard_file = GuardFile(DataDirectory(folder), Chance(seeded(1)))
        self.guard_file.update(self.view)
        self.builder = CircuitBuilder(
            links=client.links,
            circuits=client.circuits,
            guard_file=self.guard_file,
            clock=client.clock,
            chance=Chance(seeded(2)),
            view=lambda: self.view,
        )

    @property
    def guards(self) -> list[Relay]:
        """The two in use."""
        by_id = {relay.identity: relay for relay in self.world.relays}
        return [by_id[one] for one in self.guard_file.guards.usable(self.view)]

    def others(self) -> list[Relay]:
        return [relay for relay in self.world.relays if relay not in self.guards]


@asynccontextmanager
async def network(relays: int, folder: Path) -> AsyncIterator[Builder]:
    world = World()
    for _ in range(relays):
        world.relay()
    async with world.running(), world.client() as client:
        yield Builder(world, client, folder)


def kind(relays: int, *, pinned: bool = False) -> PathKind:
    return PathKind(relays, 1, pinned)


@pytest.mark.parametrize("relays", [1, 2, 3, 4])
async def test_a_circuit_has_the_length_asked_for_and_starts_at_a_guard(
    autojump_clock: MockClock, tmp_path: Path, relays: int
) -> None:
    async with network(10, tmp_path) as node:
        guards = {relay.identity for relay in node.guards}
        for _ in range(10):
            circuit = await node.builder.build(Purpose.TEST, kind(relays))
            path = [row.identity for row in circuit.path]
            assert len(path) == len(set(path)) == relays
            if relays > 1:
                assert path[0] in guards
        dialled = {to for source, to in node.world.network.dialled if source == "20.1.0.1"}
        if relays > 1:
            assert dialled <= {relay.row.host for relay in node.guards}


async def test_set_up_shows_no_length(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with network(10, tmp_path) as node:
        seen: Counter[int] = Counter()

        def watch(relay: Relay) -> None:
            receive = relay.switch.receive_frame

            def watched(port: LinkPort, frame: bytes, now: float) -> None:
                if port.peer is None:  # the client's link
                    cells = range(0, len(frame), CELL)
                    commands = [HEADER.unpack_from(frame, at)[1] for at in cells]
                    seen.update(command for command in commands if command != PADDING)
                receive(port, frame, now)

            relay.switch.receive_frame = watched  # type: ignore[method-assign]

        for relay in node.world.relays:
            watch(relay)
        shown = []
        for relays in (2, 3, 4):
            await node.builder.build(Purpose.TEST, kind(relays))
            shown.append(dict(seen))
            seen.clear()
        assert shown == [{CREATE: 1, CREATE_MORE: 2, RELAY_EARLY: 9}] * 3


async def test_the_last_relay_may_be_given(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with network(10, tmp_path) as node:
        for relay in node.world.relays:
            circuit = await node.builder.build(Purpose.TEST, kind(3), last=relay.identity)
            assert circuit.path[-1].identity == relay.identity
            assert circuit.path[0].identity != relay.identity


async def test_a_length_that_cannot_be_had_says_how_many_it_needs(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(3, tmp_path) as node:
        with pytest.raises(PathImpossible, match="the path needs 4 relays"):
            await node.builder.build(Purpose.TEST, kind(4))
        assert not node.client.circuits.circuits


async def test_dead_relays_are_gone_round(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with network(12, tmp_path) as node:
        dead = node.others()[:3]
        for relay in dead:
            node.world.kill(relay)
        for _ in range(20):
            circuit = await node.builder.build(Purpose.TEST, kind(4))
            assert not {row.identity for row in circuit.path} & {relay.identity for relay in dead}
        failures = sum(relay.drops.counts[Reason.EXTEND_FAILED] for relay in node.world.relays)
        assert failures <= 6  # each dead one is met once or twice, then avoided
        assert len(node.client.circuits.circuits) == 20  # nothing half-built is left


async def test_a_target_that_is_dead_fails_with_why(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with network(6, tmp_path) as node:
        dead = node.others()[0]
        node.world.kill(dead)
        with pytest.raises(CircuitFailed):
            await node.builder.build(Purpose.TEST, kind(3), last=dead.identity)
        assert len(node.builder.failures) >= 1
        assert node.builder.failures.avoided(trio.current_time(), 30) == {dead.identity}
        assert not node.client.circuits.circuits


async def test_a_guard_is_down_after_two_failed_links_and_regains_its_place(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(10, tmp_path) as node:
        down = node.guards[0]
        host = down.row.host
        node.world.network.cut(host)
        for _ in range(10):
            assert (await node.builder.build(Purpose.TEST, kind(3))).path[0].identity != down.identity
        assert down not in node.guards
        assert len(node.guards) == 2
        attempts = node.world.network.dialled.count(("20.1.0.1", host))
        node.world.network.heal(host)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(node.builder.watch_guards)
            await trio.sleep(40)
            assert node.guards[0] is down
            nursery.cancel_scope.cancel()
        assert attempts == 0  # refused ones are not counted as dialled
        assert node.world.network.dialled.count(("20.1.0.1", host)) == 1


async def test_a_failed_circuit_behind_a_working_link_never_counts_against_the_guard(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(5, tmp_path) as node:
        before = node.guards
        for relay in node.others():
            node.world.kill(relay)
        with pytest.raises(CircuitFailed):
            await node.builder.build(Purpose.TEST, kind(4))
        assert node.guards == before


async def test_while_all_guards_are_down_we_wait_and_draw_no_others(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(10, tmp_path) as node:
        sample = node.guard_file.guards.sample
        network_of = node.world.network
        network_of.cut("20.1.0.1")
        done = trio.Event()
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def build() -> None:
                circuit = await node.builder.build(Purpose.TEST, kind(3))
                assert circuit.path[0].identity in sample
                done.set()

            await trio.sleep(600)
            assert not done.is_set()
            assert node.guard_file.guards.all_down()
            network_of.heal("20.1.0.1")
            with trio.fail_after(130):
                await done.wait()
        assert node.guard_file.guards.sample == sample


async def test_a_stub_is_finished_by_the_relay_wanted(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with network(10, tmp_path) as node:
        for relays in (2, 3, 4):
            stub = await node.builder.stub(kind(relays))
            assert len(stub.path) == relays - 1
            last = next(r.row for r in node.others() if r.identity not in {p.identity for p in stub.path})
            assert node.builder.fits(stub, last)
            assert not node.builder.fits(stub, stub.path[0])
            circuit = await node.builder.finish(stub, last)
            assert circuit is stub
            assert circuit.path[-1] == last
            assert circuit.rounds == 3
        with pytest.raises(ValueError):
            await node.builder.stub(kind(1))


async def test_a_stub_beside_another_goes_through_the_other_guard_in_the_smallest_network_too(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Else its link has no circuit for a while, and ends: its next start says when it is needed again."""
    async with network(4, tmp_path) as node:
        for _ in range(20):
            one = await node.builder.stub(kind(3))
            other = await node.builder.stub(kind(3), [one])
            first = {stub.path[0].identity for stub in (one, other)}
            assert first == {guard.identity for guard in node.guards}
            for stub in (one, other):
                stub.close(Reason.CLOSED)


async def test_an_old_or_dead_stub_fits_nobody(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with network(10, tmp_path) as node:
        old, dead = await node.builder.stub(kind(2)), await node.builder.stub(kind(2))
        last = node.others()[-1].row
        assert node.builder.fits(dead, last)
        dead.close()
        assert not node.builder.fits(dead, last)
        await trio.sleep(599)
        assert node.builder.fits(old, last)
        await trio.sleep(2)
        assert not node.builder.fits(old, last)


async def test_pinned_circuits_take_their_second_hop_from_the_layer_two_guards(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(12, tmp_path) as node:
        circuits = [await node.builder.build(Purpose.TEST, kind(4, pinned=True)) for _ in range(12)]
        seconds = Counter(circuit.path[1].identity for circuit in circuits)
        assert set(seconds) <= set(node.guard_file.layer_two.sample)
        assert len(seconds) > 1


async def test_ways_back_into_a_session_keep_four_second_hops_over_a_restart(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """At a node that hosts nothing: the first one draws them."""
    seen: list[Counter[RelayId]] = []
    for _ in range(2):
        async with network(14, tmp_path) as node:
            assert len(node.guard_file.layer_two.sample) == (4 if seen else 0)
            last = node.others()[0].identity
            circuits = [await node.builder.build(Purpose.RESUME, last=last) for _ in range(25)]
            assert {len(circuit.path) for circuit in circuits} == {4}
            seen.append(Counter(circuit.path[1].identity for circuit in circuits))
            assert set(seen[-1]) == set(node.guard_file.layer_two.sample) - {last}
    assert set(seen[0]) == set(seen[1])


async def test_what_is_drawn_anew_each_time_draws_no_layer_two_guards(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(12, tmp_path) as node:
        for purpose in (Purpose.RING, Purpose.INTRODUCE, Purpose.CALL, Purpose.CONSENSUS):
            await node.builder.build(purpose)
        assert node.guard_file.layer_two.sample == ()
        assert not (tmp_path / LAYER_TWO_FILE).exists()


async def test_a_stub_of_a_pinned_circuit_has_its_second_hop(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(12, tmp_path) as node:
        for relays in (3, 4):
            one = await node.builder.stub(kind(relays, pinned=True))
            other = await node.builder.stub(kind(relays, pinned=True), [one])
            assert {one.path[1].identity, other.path[1].identity} <= set(node.guard_file.layer_two.sample)
            assert one.path[0] != other.path[0]


async def test_flooding_all_second_hops_has_no_others_drawn(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(14, tmp_path) as node:
        node.guard_file.second_hops(node.view)
        pinned = node.guard_file.layer_two.sample
        for relay in [relay for relay in node.world.relays if relay.identity in pinned]:
            node.world.kill(relay)
        for _ in range(3):
            with pytest.raises(CircuitFailed) as caught:
                await node.builder.build(Purpose.RESUME)
            assert caught.value.relay in pinned
        assert len(node.builder.failures) == 4


async def test_without_room_for_second_hops_no_pinned_circuit_is_built(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(12, tmp_path) as node:
        (tmp_path / LAYER_TWO_FILE).mkdir()
        with pytest.raises(NetworkUnreachable, match=LAYER_TWO_FILE):
            await node.builder.build(Purpose.RESUME)
        assert len((await node.builder.build(Purpose.CALL)).path) == 4
        (tmp_path / LAYER_TWO_FILE).rmdir()
        assert len((await node.builder.build(Purpose.RESUME)).path) == 4


async def test_a_pinned_circuit_can_be_had_in_a_network_of_as_many_relays_as_it_takes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with network(4, tmp_path) as node:
        for relay in node.world.relays:
            assert len((await node.builder.build(Purpose.RESUME, last=relay.identity)).path) == 4


async def test_a_cancelled_build_leaves_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with network(6, tmp_path) as node:
        await node.builder.build(Purpose.TEST, kind(3))
        for relay in node.world.relays:
            relay.switch.serve_handshake = lambda now: False  # type: ignore[method-assign]
        with trio.move_on_after(3):
            await node.builder.build(Purpose.TEST, kind(3))
        assert len(node.client.circuits.circuits) == 1
