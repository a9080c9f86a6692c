"""The network for tests: real relays and a real authority, gone without a trace when the block ends."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.crypto.identity import IdentityKeys
from tests.inside import inside
from tests.seeded import seed_tasks, seeded

WALL = 1_790_000_000


def test_a_seed_fixes_every_byte() -> None:
    one, same, other = testing.seeded(1), testing.seeded(1), testing.seeded(2)
    drawn = [one(n) for n in (32, 1, 0, 500)]
    assert drawn == [same(n) for n in (32, 1, 0, 500)]
    assert [len(part) for part in drawn] == [32, 1, 0, 500]
    assert other(32) != drawn[0]
    assert one(32) != drawn[0]  # never the same twice


async def test_every_relay_is_listed_and_knows_the_others_when_the_block_begins(
    autojump_clock: MockClock,
) -> None:
    async with testing.network(relays=5, wall_start=WALL, seed=1) as net:
        assert len(net.relays) == 5
        ids = {one.id for one in net.relays}
        assert len(ids) == len({one.host for one in net.relays}) == 5
        for one in net.relays:
            view = one.relay.keeper.view
            assert view is not None
            assert {row.identity.hex() for row in view.relays} == ids
        consensus = net.authority.consensus
        assert consensus is not None
        assert {row.identity.hex() for row in consensus.relays} == ids
        folder = net.folder
        assert (folder / "network.toml").exists()
    assert not folder.exists()


async def test_the_wall_clock_follows_trios(autojump_clock: MockClock) -> None:
    params, started = {"interval_seconds": 300}, trio.current_time()
    async with testing.network(relays=3, params=params, wall_start=WALL, seed=1) as net:
        assert net.clock.wall() == WALL + int(trio.current_time() - started)
        before = net.clock.wall()
        await trio.sleep(3600)
        assert net.clock.wall() - before == 3600
        consensus = net.authority.consensus
        assert consensus is not None
        assert net.clock.wall() - consensus.valid_after <= 300  # and the network lived through that hour


def test_a_network_lives_the_same_life_in_every_run() -> None:
    """Or a test might fail once in a hundred runs, and nobody could look at that one again."""

    async def life() -> list[object]:
        async with testing.network(relays=6, wall_start=WALL, seed=1) as net, net.join() as node:
            async with node.contact(IdentityKeys.generate(seeded(9)).address):
                await trio.sleep(200)
            shown = sorted((one.purpose, one.path, one.age_seconds) for one in node.circuits())
            assert net.memory is not None
            return [shown, net.memory.dialled, trio.current_time()]

    lives = []
    for seed in ("a", "b", "a"):
        seed_tasks(seed)
        lives.append(trio.run(life, clock=MockClock(autojump_threshold=0)))
    assert lives[0] == lives[2]
    assert lives[0] != lives[1]


async def test_the_seed_governs_who_the_relays_are(autojump_clock: MockClock) -> None:
    first: dict[int, str] = {}
    for seed in (1, 2, 1):
        async with testing.network(relays=3, wall_start=WALL, seed=seed) as net:
            assert first.setdefault(seed, net.relays[0].id) == net.relays[0].id
    assert first[1] != first[2]


async def test_parameters_are_those_of_the_network(autojump_clock: MockClock) -> None:
    async with testing.network(
        relays=3, params={"interval_seconds": 7, "cookies": 9}, wall_start=WALL
    ) as net:
        async with net.join() as node:
            params = inside(node).params
            assert (params.interval_seconds, params.cookies, params.subnet_rule) == (7, 9, 0)
    with pytest.raises(ValueError, match="There is no parameter 'colour'"):
        async with testing.network(relays=3, params={"colour": 1}):
            raise AssertionError("began")


async def test_relays_come_and_go(autojump_clock: MockClock) -> None:
    async with testing.network(relays=4, wall_start=WALL, seed=1) as net:
        family = tuple(one.id for one in net.relays[:1])
        new = await net.add_relay(family=family)
        assert net.relays[-1] is new
        await net.settled()
        async with net.join() as node, node.contact(_address()) as contact:
            contact.send(b"somebody must carry this")
            await trio.sleep(5)
            guard = node.circuits()[0].relays[0]
            (doomed,) = [one for one in net.relays if one.id == guard]
            await doomed.stop()
            assert doomed not in net.relays
            await trio.sleep(1)
            assert guard not in {relay for one in node.circuits() for relay in one.relays[:1]}
            await trio.sleep(30)  # two failed checks, and it is listed no more
            await net.settled()
            assert guard not in {row.identity.hex() for row in inside(node).view.relays}
            assert len(inside(node).view.relays) == 4


def _address() -> str:
    return IdentityKeys.generate(testing.seeded(7)).address


def _files(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.iterdir()
        if path.is_file()
    }


async def test_a_name_is_a_folder(autojump_clock: MockClock) -> None:
    """The same name is the same node again, guards and all; no name is a new one."""
    async with testing.network(relays=8, wall_start=WALL, seed=1) as net:
        samples = []
        for name in ("alice", "bob", "alice"):
            async with net.join(name) as node:
                samples.append(inside(node).guard_file.guards.sample)
                assert "guards" in _files(net.folder / name)
        assert samples[0] == samples[2] != samples[1]
        async with net.join() as one, net.join() as two:
            assert inside(one).folder.named("x") != inside(two).folder.named("x")


async def test_a_node_that_is_left_lets_go_of_everything(autojump_clock: MockClock) -> None:
    async with testing.network(relays=4, wall_start=WALL, seed=1) as net:
        assert net.memory is not None
        async with net.join("node") as node, node.contact(_address()) as contact:
            await contact.whisper(b"hello", ttl_seconds=3)
        await trio.sleep(1)
        assert not inside(node).nursery.child_tasks
        assert node.circuits() == []
        assert "node" not in {end for ends in net.memory._streams.values() for end in ends}
