"""One test of oneself: what it says of each fault, and what it does about it (SPEC 11)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.hosting.self_test import BUSY_MOST, SelfTest
from onionshh.config import Authority
from onionshh.errors import NoDirectory
from onionshh.net.authority_client import DirectoryUnreachable
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from tests.client.hostile import HostileIntroducer, by_id, lying_rings, mount, new_ring
from tests.client.world import blinded, hosted, on_ring, period_now, small, until
from tests.inside import circuits_of, inside, parts

QUIET = dict(interval_seconds=300)


async def test_it_arrives_and_opens_no_rendezvous(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, hosted(net) as (node, endpoint):
        behind = parts(endpoint)
        assert await behind.self_test.once() is None
        assert behind.introduction_service.expected == 0
        assert not circuits_of(behind.peers.lanes)
        assert "test" not in {one.purpose for one in node.circuits()}


async def test_too_few_relays_for_the_way_to_a_visitor(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        async with node.host(net.folder / "identity", introducers=1) as endpoint:
            why = await parts(endpoint).self_test.once()
            assert why == "a path takes 4 relays, and the network has 3"


async def test_a_ring_that_forgot_is_published_to_again(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, hosted(net) as (node, endpoint):
        await until(lambda: len(on_ring(net, endpoint, period_now(node))) == 5)
        for running in net.relays:
            mount(running, new_ring(running))
        assert await parts(endpoint).self_test.once() == "its descriptor is not on the ring"
        await until(lambda: len(on_ring(net, endpoint, period_now(node))) == 5, 30)
        assert await parts(endpoint).self_test.once() is None


async def test_a_ring_that_shows_junk_is_as_one_that_forgot(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, hosted(net) as (node, endpoint):
        name = blinded(endpoint, period_now(node)), period_now(node)
        for ring in lying_rings(net):
            ring.lies[name] = bytes(12_536)
        assert await parts(endpoint).self_test.once() == "its descriptor is not on the ring"
        assert await _soon_none(parts(endpoint).self_test)


@pytest.mark.parametrize(
    "answer, why, replaced",
    [
        (m.BUSY, "an introducer refuses introductions", True),
        (m.NO_SUCH_KEY, "an introducer refuses introductions", True),
        (m.OK, "an introduction did not arrive", True),
        (None, "the network does not carry a test to it (answer-timeout)", False),
    ],
)
async def test_an_introducer_that_does_not_bring_it(
    answer: int | None, why: str, replaced: bool, autojump_clock: MockClock
) -> None:
    """One that does not answer at all may be somewhere behind a broken circuit: the first time it stays."""
    async with small(6, **QUIET) as net, hosted(net, introducers=1) as (node, endpoint):
        behind = parts(endpoint)
        await until(lambda: behind.introducers.complete)
        await trio.sleep(30)
        bad = by_id(net, behind.introducers.entries[0].relay_id.hex())
        mount(bad, HostileIntroducer(bad, answer=answer))
        assert await behind.self_test.once() == why
        assert node.drops().get(Reason.INTRODUCER_FAILED, 0) == replaced
        assert behind.introduction_service.expected == 0
        if answer is None:
            assert await behind.self_test.once() == why
            assert node.drops()[Reason.INTRODUCER_FAILED] == 1


async def test_under_load_an_introducer_that_is_always_busy_is_found_out(autojump_clock: MockClock) -> None:
    """It says itself that there is load. What we pay does not rise beyond a few doublings."""
    async with small(6, **QUIET) as net, hosted(net, introducers=1) as (node, endpoint):
        behind = parts(endpoint)
        await until(lambda: behind.introducers.complete)
        await trio.sleep(30)
        (holding,) = behind.introducers._held.values()
        behind.introducers._loaded(holding, m.IntroLoad(1, 0))
        await trio.sleep(60)
        bad = by_id(net, behind.introducers.entries[0].relay_id.hex())
        mount(bad, HostileIntroducer(bad, answer=m.BUSY))
        said = [await behind.self_test.once() for _ in range(BUSY_MOST + 1)]
        assert said[:-1] == ["so many strangers come that an introducer is busy"] * BUSY_MOST
        assert said[-1] == "an introducer lets nobody in who has paid"
        assert node.drops()[Reason.INTRODUCER_FAILED] == 1


async def test_without_a_directory_it_says_what_is_wrong(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: testing.LocalSource, authority: Authority) -> bytes:
        raise DirectoryUnreachable("connection refused")

    async with small(5, interval_seconds=10, valid_seconds=30) as net, hosted(net) as (node, endpoint):
        for relay in list(net.relays):
            await relay.stop()
        monkeypatch.setattr(testing.LocalSource, "consensus", silent)
        await until(lambda: inside(node).keeper.current is None, 300)
        with pytest.raises(NoDirectory) as said:
            inside(node).keeper.require()
        assert await parts(endpoint).self_test.once() == str(said.value)


async def _soon_none(test: SelfTest) -> bool:
    """Whether it arrives within a minute."""
    with trio.fail_after(60):
        while await test.once() is not None:
            await trio.sleep(2)
    return True
