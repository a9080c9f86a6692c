"""A call that is cancelled, wherever it stood, leaves the node whole: nothing leaks, and the next one works.

Time stands still between two checkpoints, so a call is cut off after each number of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Iterator

import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.pool import STUBS
from tests.client.world import echo, hosted, small, until
from tests.inside import inside, parts

QUIET = dict(interval_seconds=300)


async def cut_off(after: int, call: Callable[[], Awaitable[object]]) -> bool:
    """Cancel `call` after so many checkpoints of another task; False when it was done before that."""
    done = False
    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cut() -> None:
                for _ in range(after):
                    await trio.lowlevel.checkpoint()
                scope.cancel()

            nursery.start_soon(cut)
            await call()
            done = True
            nursery.cancel_scope.cancel()
    return not done


def points(most: int) -> Iterator[int]:
    """Every one of the first, then ever fewer."""
    number = 0
    while number < most:
        yield number
        number += 1 + number // 12


async def nothing_left(node: onionshh.Node) -> None:
    """No circuit of anybody is left, and the pool keeps none but for the node itself."""
    await until(lambda: {one.purpose for one in node.circuits()} <= {"consensus", "ready"}, 60)
    (shelf,) = inside(node).pool._shelves.values()
    assert (shelf.idle_wanted, shelf.stubs_wanted) == (0, STUBS)
    await until(lambda: sum(one.purpose == "ready" for one in node.circuits()) == STUBS, 60)


async def test_whispering_and_asking(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, endpoint)
            was_cut = Counter[bool]()
            for after in points(200):
                async with visitor.contact(endpoint.address, hops=1) as contact:
                    # Also in the midst of making the very first circuit, and with what is ready in the pool.
                    if after % 3:
                        await trio.sleep(2)
                    was_cut[await cut_off(after, lambda c=contact: c.ask(b"hello"))] += 1  # type: ignore[misc]
                    if after % 5 == 0:
                        await cut_off(after, lambda c=contact: c.whisper(b"hello"))  # type: ignore[misc]
            assert was_cut[True] > 10
            async with visitor.contact(endpoint.address) as contact:
                assert await contact.ask(b"after all that") == b"after all that"
            await nothing_left(visitor)
            nursery.cancel_scope.cancel()


async def test_a_cancelled_whisper_is_delivered_all_the_same(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            assert await cut_off(3, lambda: contact.whisper(b"on its way"))
            with trio.fail_after(60):
                whisper = await anext(aiter(endpoint))
            assert whisper.body == b"on its way"


async def test_entering_a_contact(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        for after in range(6):

            async def enter() -> None:
                async with visitor.contact(endpoint.address):
                    await trio.lowlevel.checkpoint()

            await cut_off(after, enter)
        await nothing_left(visitor)


async def test_hosting(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("host") as node, net.join("visitor") as visitor:
        entered = Counter[bool]()
        for after in points(80):

            async def host(after: int = after) -> None:
                async with node.host(net.folder / "identity", introducers=2) as endpoint:
                    entered[True] += 1
                    if after % 2:
                        await endpoint.reachable()
                    await trio.sleep(3600)

            assert await cut_off(after, host)
            entered[False] += 1
        assert 3 < entered[True] < entered[False]  # some were cut while still entering
        await nothing_left(node)
        # The folder's lock and its database are free again.
        async with node.host(net.folder / "identity", introducers=2) as endpoint:
            with trio.fail_after(60):
                await endpoint.reachable()
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"


async def test_joining(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, hosted(net) as (_, endpoint):
        for after in points(60):

            async def join() -> None:
                async with net.join("visitor") as node:
                    async with node.contact(endpoint.address) as contact:
                        await contact.whisper(b"hello")

            await cut_off(after, join)
        async with net.join("visitor") as node, node.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"


async def test_reading_finishing_and_replying(autojump_clock: MockClock) -> None:
    """Every whisper is shown until it is finished, is finished once, and each reply arrives whole."""
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            answers: list[bytes | None] = []

            async def ask(number: int) -> None:
                answers.append(await contact.send(b"%d" % number).reply())

            iteration = aiter(endpoint)
            for number in range(42):
                after = number % 12
                answers.clear()
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(ask, number)
                    kept: list[onionshh.Whisper] = []

                    async def take(kept: list[onionshh.Whisper] = kept) -> None:
                        kept.append(await anext(iteration))

                    while not kept:
                        await cut_off(after, take)
                        after += 1
                    whisper = kept[0]
                    assert whisper.body == b"%d" % number
                    after = number % 7
                    if number % 3 == 0:
                        await trio.sleep(1)
                        while await cut_off(after, lambda w=whisper: w.reply(b"answer " + w.body)):  # type: ignore[misc]
                            after += 1
                            assert not answers
                        await until(lambda: bool(answers), 60)
                        assert answers == [b"answer " + whisper.body]
                    else:
                        if number % 3 == 1:
                            while await cut_off(after, whisper.done):
                                after += 1
                        nursery.cancel_scope.cancel()
            await whisper.done()
            assert len(parts(endpoint).peers.receiving.receiver.inbox) == 0


async def test_asking_for_the_next_finishes_the_last_even_when_cut_off(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            for number in range(8):
                await contact.whisper(b"%d" % number)
            iteration = aiter(endpoint)
            got: list[bytes] = []

            async def take() -> None:
                whisper = await anext(iteration)
                got.append(whisper.body)

            after = 0
            while len(got) < 8:
                await cut_off(after % 9, take)
                after += 1
            assert got == [b"%d" % number for number in range(8)]
            with trio.move_on_after(5):
                await take()
            assert len(parts(endpoint).peers.receiving.receiver.inbox) == 0


async def test_waiting_for_reachability(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        async with node.host(net.folder / "identity", introducers=1) as endpoint:
            for after in range(10):
                await cut_off(after, endpoint.reachable)

            async def watch() -> None:
                async for _ in endpoint.reachability_changes():
                    pass

            assert await cut_off(5, watch)
            with trio.fail_after(60):
                await endpoint.reachable()


async def test_closing_an_endpoint_under_load(autojump_clock: MockClock) -> None:
    """At whatever moment it closes, whispers on their way in hurt nobody: they come to the next one."""
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, net.join("host") as node:
        got: Counter[bytes] = Counter()
        async with trio.open_nursery() as nursery:
            identity = net.folder / "identity"
            async with node.host(identity, introducers=2) as endpoint:
                address = endpoint.address
                await endpoint.reachable()
            async with visitor.contact(address) as contact:
                sent: list[onionshh.Receipt] = []
                for number in range(12):
                    async with node.host(identity, introducers=2) as endpoint:
                        await endpoint.reachable()
                        nursery.start_soon(_count, endpoint, got)
                        sent += [contact.send(b"%d %d" % (number, part)) for part in range(4)]
                        if number % 2:
                            await sent[-1].final()
                        else:
                            await trio.sleep(0.5)
                        sent += [contact.send(b"more %d %d" % (number, part)) for part in range(4)]
                        for _ in range(number * 3):
                            await trio.lowlevel.checkpoint()
                async with node.host(identity, introducers=2) as endpoint:
                    nursery.start_soon(_count, endpoint, got)
                    for one in sent:
                        assert (await one.final()).status == "delivered"
                    await trio.sleep(5)
            nursery.cancel_scope.cancel()
        assert len(got) == 12 * 8
        # Shown again is what was not finished when its endpoint closed: at most one each time.
        assert sum(got.values()) <= 12 * 8 + 13


async def _count(endpoint: onionshh.Endpoint, got: Counter[bytes]) -> None:
    async for whisper in endpoint:
        got[whisper.body] += 1


async def test_closing_in_production_waits_for_the_disk(autojump_clock: MockClock) -> None:
    """With the disk's work in threads, as in production, a close waits for the one that runs."""
    async with testing.network(4, seed=3) as net, net.join() as visitor, net.join() as node:
        for _ in range(3):
            async with node.host(net.folder / "identity", introducers=1) as endpoint:
                await endpoint.reachable()
                async with visitor.contact(endpoint.address) as contact:
                    for _ in range(20):
                        contact.send(bytes(5000))
                    whisper = await anext(aiter(endpoint))
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(whisper.done)
                        await endpoint.__aexit__()
                        nursery.cancel_scope.cancel()
