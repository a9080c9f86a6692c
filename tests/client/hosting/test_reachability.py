"""An endpoint knows whether a stranger would reach it, and nobody can tell that it asked (SPEC 11)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.reachability import (
    Reachability,
    ReachabilityChanges,
    ReachabilityWatch,
)
from onionshh.client.node import Node
from onionshh.core.base.patience import TEST_SECONDS
from onionshh.core.endpoint.reachability import LOST_AFTER, NO_GUARD, NO_INTRODUCER, SETTLED_SECONDS
from onionshh.net.builder import CircuitBuilder
from onionshh.net.circuits import Circuit, CircuitSet
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.client.hostile import HostileIntroducer, by_id, lying_rings, mount, shown
from tests.client.world import blinded, hosted, on_ring, period_now, small, until
from tests.inside import circuits_of, inside, parts


@asynccontextmanager
async def watched(of: Endpoint | ReachabilityWatch) -> AsyncIterator[list[Reachability]]:
    """Every change, as it is told."""
    changes: list[Reachability] = []
    told = of.reachability_changes() if isinstance(of, Endpoint) else ReachabilityChanges(of)

    async def watch() -> None:
        async for change in told:
            changes.append(change)  # noqa: PERF401

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        yield changes
        nursery.cancel_scope.cancel()


async def test_gained_lost_and_regained_with_why(autojump_clock: MockClock) -> None:
    async with small(5, interval_seconds=300) as net, net.join("host") as node:
        assert net.memory is not None
        async with node.host(net.folder / "identity", introducers=2) as endpoint:
            first = endpoint.reachability
            assert (first.reachable, first.introducers) == (False, 0)
            assert first.why in ("it has just started", "it has no introducer", "no guard answers")
            async with watched(endpoint) as changes:
                started = trio.current_time()
                with trio.fail_after(60):
                    await endpoint.reachable()
                took = trio.current_time() - started
                await until(lambda: len(changes) == 1, 10)
                assert changes[0] == endpoint.reachability
                assert (changes[0].reachable, changes[0].introducers, changes[0].why) == (True, 2, "")
                assert changes[0].seconds == pytest.approx(took, abs=1.5)

                await trio.sleep(100)
                net.memory.cut("host")
                await until(lambda: len(changes) == 2, 700)
                assert not changes[1].reachable
                assert changes[1].introducers == 0
                assert changes[1].why in ("it has no introducer", "no guard answers")
                with trio.move_on_after(20) as waiting:
                    await endpoint.reachable()
                assert waiting.cancelled_caught

                net.memory.heal("host")
                with trio.fail_after(700):
                    await endpoint.reachable()
                await until(lambda: len(changes) == 3, 10)
                assert (changes[2].reachable, changes[2].why) == (True, "")
                assert changes[2].introducers >= 1
            async with watched(endpoint) as late:  # who looks later gets the present state first
                await until(lambda: len(late) == 1, 10)
                assert late[0].reachable


@asynccontextmanager
async def watching(
    node: Node, endpoint: Endpoint, test: Callable[[], Awaitable[str | None]]
) -> AsyncIterator[ReachabilityWatch]:
    """A watch over this endpoint beside its own, whose tests are these."""
    behind = parts(endpoint)
    watch = ReachabilityWatch(inside(node), behind.introducers, behind.publication, test)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.run)
        yield watch
        nursery.cancel_scope.cancel()


class Endless:
    """A test that has no end of its own, the first time after `arrives` others arrived."""

    def __init__(self, arrives: int = 1) -> None:
        self.arrives = arrives
        self.begun: list[float] = []

    async def __call__(self) -> str | None:
        await trio.lowlevel.checkpoint()
        if self.arrives:
            self.arrives -= 1
            return None
        self.begun.append(trio.current_time())
        await trio.sleep_forever()


async def test_one_failed_test_is_no_loss(autojump_clock: MockClock) -> None:
    outcomes = iter([None, "it failed", None, "it failed", "it failed for good"])
    done: list[float] = []

    async def test() -> str | None:
        await trio.lowlevel.checkpoint()
        done.append(trio.current_time())
        return next(outcomes, None)

    async with small(5, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        async with watching(node, endpoint, test) as watch, watched(watch) as changes:
            await until(lambda: len(done) == 4, 2000)
            assert watch.state.reachable
            await until(lambda: not watch.state.reachable, 2000)
            assert watch.state.why == "it failed for good"
            await until(lambda: len(changes) == 3, 10)
        assert [one.reachable for one in changes] == [True, False, True]


async def test_a_test_looks_like_any_introduction_and_opens_no_rendezvous(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The introducer and the ring see of a test what they see of a visitor, message for message."""
    said: dict[str, list[tuple[int, int, int]]] = {"host": [], "visitor": []}
    started: list[str] = []
    real_ask, real_start = Circuit.ask, CircuitSet.start

    async def ask(
        self: Circuit, message_type: int, body: bytes, answer_type: int, timeout_seconds: float
    ) -> bytes:
        for who, circuits in owners.items():
            if message_type in (m.INTRODUCE1, m.FETCH) and any(one is self for one in circuits.circuits):
                said[who].append((message_type, len(body), len(self.path)))
        return await real_ask(self, message_type, body, answer_type, timeout_seconds)

    def start(self: CircuitSet, port: object, purpose: str, privacy_class: int) -> Circuit:
        if self is owners.get("host"):
            started.append(purpose)
        return real_start(self, port, purpose, privacy_class)  # type: ignore[arg-type]

    monkeypatch.setattr(Circuit, "ask", ask)
    monkeypatch.setattr(CircuitSet, "start", start)
    owners: dict[str, CircuitSet] = {}
    async with (
        small(5, interval_seconds=300) as net,
        net.join("visitor") as visitor,
        net.join("host") as node,
    ):
        owners["host"] = inside(node).circuits
        owners["visitor"] = inside(visitor).circuits
        async with node.host(net.folder / "identity", introducers=2) as endpoint:
            await endpoint.reachable()
            await trio.sleep(1000)
            tests = [one for one in said["host"] if one[0] == m.INTRODUCE1]
            assert len(tests) >= 3
            assert "answer" not in started
            assert not circuits_of(parts(endpoint).peers.lanes)
            assert set(node.drops()) <= {
                Reason.LINK_IDLE,
                Reason.LINK_ENDED,
            }  # a guard may be idle, by chance
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"
        assert set(said["visitor"]) == {(m.FETCH, 40, 3), (m.INTRODUCE1, 2934, 3)}
        assert {one for one in said["host"] if one[0] == m.INTRODUCE1} == {(m.INTRODUCE1, 2934, 3)}
        assert set(said["host"]) == set(said["visitor"])


async def test_the_line_breaks_during_a_test_and_that_is_said(autojump_clock: MockClock) -> None:
    async with small(5, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        memory = net.memory
        assert memory is not None
        broke: list[float] = []

        async def test() -> str | None:
            if not broke:
                broke.append(trio.current_time())
                memory.cut("host")
            return await parts(endpoint).self_test.once()

        async with watched(endpoint) as told:
            await until(lambda: len(told) == 1)
            await trio.sleep(100)
            async with watching(node, endpoint, test) as watch:
                await until(lambda: len(told) == 2, 30)
                await until(lambda: watch.state.why in (NO_INTRODUCER, NO_GUARD), 5)
                assert trio.current_time() < broke[0] + 5
                assert told[1].why in (NO_INTRODUCER, NO_GUARD)
                assert not told[1].reachable
                assert not watch.state.reachable
                memory.heal("host")
                with trio.fail_after(300):
                    await endpoint.reachable()
                    await watch.reachable()


async def test_the_last_link_to_a_guard_goes_during_a_test(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Introducers may still seem to stand: their circuits hang on links that are not noticed yet."""
    test = Endless()
    async with small(5, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        async with watching(node, endpoint, test) as watch:
            await until(lambda: bool(test.begun), 500)
            assert watch.state.reachable
            await trio.sleep(5)
            monkeypatch.setattr(CircuitBuilder, "online", False)
            await until(lambda: not watch.state.reachable, 3)
            assert watch.state.why == NO_GUARD
            assert watch.state.introducers == 2


async def test_the_last_introducer_goes_during_a_test(autojump_clock: MockClock) -> None:
    test = Endless()
    async with small(5, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        async with watching(node, endpoint, test) as watch:
            await until(lambda: len(test.begun) == 1, 500)
            for circuit in [one for one in inside(node).circuits.circuits if one.purpose == "introducer"]:
                circuit.close(Reason.CLOSED)
            await trio.sleep(0.1)
            assert watch.state.why == NO_INTRODUCER
            await until(lambda: len(test.begun) == 2, 5)  # it is tested again as soon as there is one


async def test_a_test_that_has_no_end_of_its_own_has_one(autojump_clock: MockClock) -> None:
    test = Endless()
    async with small(5, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        async with watching(node, endpoint, test) as watch:
            await until(lambda: len(test.begun) == 1, 500)
            await until(lambda: not watch.state.reachable, LOST_AFTER * TEST_SECONDS + 10)
            assert "within 60 s" in watch.state.why
            assert len(test.begun) == LOST_AFTER


async def test_what_the_state_says_is_true_when_it_is_read(autojump_clock: MockClock) -> None:
    async with small(5, interval_seconds=300) as net, net.join("host") as node:
        assert net.memory is not None
        async with node.host(net.folder / "identity", introducers=3) as endpoint:
            assert endpoint.reachability.tested_at == 0
            await endpoint.reachable()
            took = endpoint.reachability.seconds
            await until(lambda: endpoint.reachability.introducers == 3)
            entries = parts(endpoint).introducers.entries
            for _ in range(5):
                await trio.sleep(200)
                state = endpoint.reachability
                assert net.clock.wall() - 1.3 * SETTLED_SECONDS - TEST_SECONDS < state.tested_at
                assert state.tested_at <= net.clock.wall()
                assert (state.seconds, state.introducers) == (took, 3)
            dead = entries[0].relay_id.hex()
            await next(one for one in net.relays if one.id == dead).stop()
            assert await _soon_two(endpoint)
            net.memory.cut("host")
            await until(lambda: not endpoint.reachability.reachable)
            lost = trio.current_time()
            for _ in range(3):
                await trio.sleep(100)
                assert endpoint.reachability.seconds == pytest.approx(trio.current_time() - lost, abs=3)
                assert endpoint.reachability.introducers == 0


async def _soon_two(endpoint: Endpoint) -> bool:
    """Whether the state says two as soon as one of three is gone."""
    await until(lambda: len(parts(endpoint).introducers.entries) == 2, 60)
    return endpoint.reachability.introducers == 2


@pytest.mark.parametrize("answer", [m.NO_SUCH_KEY, m.BUSY, m.OK, None])
async def test_an_introducer_that_does_not_bring_a_test_is_replaced(
    answer: int | None, autojump_clock: MockClock
) -> None:
    """One that refuses, one that swallows, one that does not answer at all."""
    async with small(6, interval_seconds=900) as net, hosted(net, introducers=1) as (node, endpoint):
        introducers = parts(endpoint).introducers
        await until(lambda: introducers.complete)
        bad = by_id(net, introducers.entries[0].relay_id.hex())
        mount(bad, HostileIntroducer(bad, answer=answer))
        for circuit in [one for one in inside(node).circuits.circuits if one.purpose == "introducer"]:
            if circuit.path[-1].identity.hex() == bad.id:
                circuit.close(Reason.CLOSED)  # it is established anew, with the hostile one
        await until(lambda: Reason.INTRODUCER_FAILED in node.drops(), 500)
        # Not the same one again for some hours.
        for _ in range(3):
            await trio.sleep(1200)
            assert bad.id not in {one.relay_id.hex() for one in introducers.entries}
        assert endpoint.reachability.reachable
        assert introducers.complete


async def test_a_descriptor_of_keys_that_are_gone_is_replaced_and_no_introducer_blamed(
    autojump_clock: MockClock,
) -> None:
    async with small(4, replay_log_entries=6, interval_seconds=300) as net, hosted(net) as (node, endpoint):
        period = period_now(node)
        await until(lambda: len(on_ring(net, endpoint, period)) == 4)
        rings, name = lying_rings(net), (blinded(endpoint, period), period)
        before = [shown(running, *name) for running in net.relays]
        revision = max(on_ring(net, endpoint, period).values())
        for _ in range(5):  # each test of oneself fills the log by two entries
            await parts(endpoint).self_test.once()
            await trio.sleep(5)
        later = on_ring(net, endpoint, period)
        assert min(later.values()) > revision
        for ring, document in zip(rings, before, strict=True):
            ring.lies[name] = document
        why = await parts(endpoint).self_test.once()
        assert why == "the ring shows a descriptor of other keys than ours; ours is published again"
        await until(lambda: min(on_ring(net, endpoint, period).values()) > max(later.values()), 30)
        assert await parts(endpoint).self_test.once() is None
        assert Reason.INTRODUCER_FAILED not in node.drops()


async def test_who_knows_the_seed_of_a_test_alone_can_tell(autojump_clock: MockClock) -> None:
    """A test that is over leaves nothing: its seed is forgotten whether it came or not."""
    async with small(5, interval_seconds=300) as net, hosted(net) as (_, endpoint):
        assert net.memory is not None
        answering = parts(endpoint).introduction_service
        for _ in range(3):
            await parts(endpoint).self_test.once()
        assert not answering.expected
        net.memory.cut("host")
        with trio.move_on_after(100):
            await parts(endpoint).self_test.once()
        assert not answering.expected
