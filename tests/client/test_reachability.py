"""An endpoint knows whether a stranger would reach it, and nobody can tell that it asked (SPEC 11)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.client.reachability import Reachability
from onionshh.net.circuits import Circuit, CircuitSet
from onionshh.wire import messages as m
from tests.client.world import hosted, small, until


@asynccontextmanager
async def watched(endpoint: Endpoint) -> AsyncIterator[list[Reachability]]:
    """Every change, as it is told."""
    changes: list[Reachability] = []

    async def watch() -> None:
        async for change in endpoint.reachability_changes():
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
            assert first.why in ("it has just started", "it has no introducer")
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
                assert (changes[1].introducers, changes[1].why) == (0, "it has no introducer")
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


async def test_one_failed_test_is_no_loss(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with small(5, interval_seconds=300) as net, hosted(net) as (_, endpoint):
        outcomes = ["it failed", None, "it failed", "it failed for good", None]
        done = []

        async def test() -> str | None:
            await trio.lowlevel.checkpoint()
            done.append(trio.current_time())
            return outcomes[len(done) - 1] if len(done) <= len(outcomes) else None

        async with watched(endpoint) as changes:
            monkeypatch.setattr(endpoint._reachability, "_test", test)
            await until(lambda: len(done) == 3, 2000)
            assert endpoint.reachability.reachable
            await until(lambda: len(done) == 4, 2000)
            await until(lambda: not endpoint.reachability.reachable, 10)
            assert endpoint.reachability.why == "it failed for good"
            await until(lambda: endpoint.reachability.reachable, 10)
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
        who = owners.get(id(self._owner))
        if who is not None and message_type in (m.INTRODUCE1, m.FETCH):
            said[who].append((message_type, len(body), len(self.path)))
        return await real_ask(self, message_type, body, answer_type, timeout_seconds)

    def start(self: CircuitSet, port: object, purpose: str, privacy_class: int) -> Circuit:
        if owners.get(id(self)) == "host":
            started.append(purpose)
        return real_start(self, port, purpose, privacy_class)  # type: ignore[arg-type]

    monkeypatch.setattr(Circuit, "ask", ask)
    monkeypatch.setattr(CircuitSet, "start", start)
    owners: dict[int, str] = {}
    async with (
        small(5, interval_seconds=300) as net,
        net.join("visitor") as visitor,
        net.join("host") as node,
    ):
        owners[id(node._context.circuits)] = "host"
        owners[id(visitor._context.circuits)] = "visitor"
        async with node.host(net.folder / "identity", introducers=2) as endpoint:
            await endpoint.reachable()
            await trio.sleep(1000)
            tests = [one for one in said["host"] if one[0] == m.INTRODUCE1]
            assert len(tests) >= 3
            assert "answer" not in started
            assert not endpoint._hidden.exchanges
            assert node.drops() == {}
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"
        assert set(said["visitor"]) == {(m.FETCH, 40, 3), (m.INTRODUCE1, 2934, 3)}
        assert {one for one in said["host"] if one[0] == m.INTRODUCE1} == {(m.INTRODUCE1, 2934, 3)}
        assert set(said["host"]) == set(said["visitor"])


async def test_who_knows_the_seed_of_a_test_alone_can_tell(autojump_clock: MockClock) -> None:
    """A test that is over leaves nothing: its seed is forgotten whether it came or not."""
    async with small(5, interval_seconds=300) as net, hosted(net) as (_, endpoint):
        assert net.memory is not None
        answering = endpoint._reachability._answering
        for _ in range(3):
            await endpoint._reachability._test()
        assert not answering.expected
        net.memory.cut("host")
        with trio.move_on_after(100):
            await endpoint._reachability._test()
        assert not answering.expected
