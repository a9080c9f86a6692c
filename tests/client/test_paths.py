"""Who connects to whom, and which relay sees what, watched from outside the node (SPEC 6)."""

from __future__ import annotations

import pytest
import trio

import onionshh
from onionshh import testing
from onionshh.ids import RelayId

WALL = 1_790_000_000


async def echo(endpoint: onionshh.Endpoint) -> None:
    async for whisper in endpoint:
        await whisper.reply(whisper.body)


@pytest.mark.parametrize("hops", [1, 2, 3])
async def test_ends_connect_to_their_two_guards_alone(
    hops: int, autojump_clock: trio.testing.MockClock
) -> None:
    async with (
        testing.network(relays=10, wall_start=WALL, seed=hops) as net,
        net.join("host") as host,
        net.join("visitor") as visitor,
        host.host(net.folder / "identity") as endpoint,
        trio.open_nursery() as nursery,
    ):
        await endpoint.reachable()
        nursery.start_soon(echo, endpoint)
        seen: set[tuple[str, ...]] = set()
        for _ in range(6):
            async with visitor.contact(endpoint.address, hops=hops) as contact:
                assert await contact.ask(b"hello") == b"hello"
                await trio.sleep(30)  # the pool fills, the consensus is fetched over circuits
                for circuit in (*visitor.circuits(), *host.circuits()):
                    seen.add(circuit.relays)
                    assert len(set(circuit.relays)) == len(circuit.relays)
                    if len(circuit.relays) > 1:
                        assert circuit.relays[0] != circuit.relays[-1]
        assert len(seen) > 20  # they were many, and unlike
        assert net.memory is not None
        for end in ("host", "visitor"):
            assert len({target for source, target in net.memory.dialled if source == end}) == 2
        nursery.cancel_scope.cancel()


async def test_no_hops_go_straight_to_the_rendezvous_point(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        testing.network(wall_start=WALL, seed=4) as net,
        net.join("host") as host,
        net.join("visitor") as visitor,
        host.host(net.folder / "identity") as endpoint,
        trio.open_nursery() as nursery,
    ):
        await endpoint.reachable()
        nursery.start_soon(echo, endpoint)
        async with visitor.contact(endpoint.address, hops=0) as contact:
            assert await contact.ask(b"hello") == b"hello"
            (meeting,) = [one for one in visitor.circuits() if one.purpose == "rendezvous"]
            assert len(meeting.relays) == 1
            assert meeting.reveals == "the last relay sees our address"
            # The hops of the class concern the meeting alone: who is asked for whom stays two relays away.
            assert {
                len(one.relays) for one in visitor.circuits() if one.purpose in ("ring", "introduce")
            } <= {3}
        # The endpoint's side is always three relays from the point.
        assert {len(one.relays) for one in host.circuits() if one.purpose == "answer"} <= {4}
        nursery.cancel_scope.cancel()


async def test_fewer_hops_than_asked_for_are_never_taken(autojump_clock: trio.testing.MockClock) -> None:
    """Five relays, of which this visitor may use three: too few for three hops, enough for two."""
    async with testing.network(relays=5, wall_start=WALL, seed=5) as net:
        own = {net.relays[0].id, net.relays[1].id}
        async with (
            net.join() as host,
            net.join(own_relays=own) as visitor,
            host.host(net.folder / "identity") as endpoint,
        ):
            await endpoint.reachable()
            async with visitor.contact(endpoint.address, hops=3) as contact:
                receipt = await contact.whisper(b"four relays, please")
                assert receipt.status == "failed"
                assert "needs 4 relays" in receipt.why
                assert not [one for one in visitor.circuits() if one.purpose == "rendezvous"]
            async with visitor.contact(endpoint.address, hops=2) as contact:
                assert (await contact.whisper(b"three will do")).status == "delivered"


async def test_talk_draws_two_or_three_hops(autojump_clock: trio.testing.MockClock) -> None:
    async with (
        testing.network(wall_start=WALL, seed=6) as net,
        net.join() as host,
        net.join() as visitor,
        host.host(net.folder / "identity") as endpoint,
    ):
        await endpoint.reachable()
        drawn: set[int | None] = set()
        for _ in range(40):  # all alike by chance: once in 2^39
            if len(drawn) == 2:
                break
            async with visitor.contact(endpoint.address) as contact:
                drawn.add((await contact.whisper(b"hello")).hops)
        assert drawn == {2, 3}


async def test_relays_of_one_family_never_share_a_path(autojump_clock: trio.testing.MockClock) -> None:
    async with testing.network(relays=4, wall_start=WALL, seed=7) as net:
        one = await net.add_relay()
        other = await net.add_relay(family=(one.id,))
        await one.stop()
        await net.add_relay(again=one, family=(other.id,))
        await trio.sleep(30)
        await net.settled()
        async with net.join() as host, host.host(net.folder / "identity") as endpoint:
            await endpoint.reachable()
            await trio.sleep(200)
            assert host.circuits()
            for circuit in host.circuits():
                assert not {one.id, other.id} <= set(circuit.relays)


async def test_a_relay_that_moved_is_not_called_listed_before_the_list_has_its_new_address(
    autojump_clock: trio.testing.MockClock,
) -> None:
    first_words = []
    for seed in range(7, 13):  # in some of them the next list is there before the relay has asked
        async with testing.network(relays=4, wall_start=WALL, seed=seed) as net:
            before = net.relays[0]
            await before.stop()
            moved = await net.add_relay(again=before)
            old = f"listed at {before.host}:{before.about.port}, its old address"
            with trio.fail_after(2 * net.authority.params.interval_seconds + 60):
                while moved.said[-1:] != ["listed"]:
                    assert all(line.startswith(old) for line in moved.said)
                    await trio.sleep(0.1)
            view = moved.relay.keeper.view
            row = view.relay(RelayId(bytes.fromhex(moved.id))) if view is not None else None
            assert row is not None
            assert (row.host, row.port) == (moved.host, moved.about.port)
            first_words.append(moved.said[0])
    assert any(line.startswith("listed at ") for line in first_words)
