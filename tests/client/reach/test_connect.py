"""One try at reaching an endpoint: what each fault is called, and that nothing is left of a try (SPEC 11)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.node import Node
from onionshh.client.reach.connect import NoAnswer, NotIntroduced, connect
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.core.base.patience import RENDEZVOUS_SECONDS
from onionshh.core.paths.path import PathImpossible
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry
from tests.client.hostile import HostileIntroducer, mount
from tests.client.world import Stranger, altered, hosted, on_ring, period_now, small, until
from tests.inside import inside

QUIET = dict(interval_seconds=300)


async def reach(
    visitor: Node, found: CheckedDescriptor, entry: IntroducerEntry | None = None, *, hops: int = 1
) -> JoinedCircuit:
    """One try through this introducer, by itself the first."""
    entry = found.descriptor.introducers[0] if entry is None else entry
    joined, _ = await connect(inside(visitor), found, entry, hops=hops, privacy_class=0, record=b"")
    return joined


def at_work(visitor: Node) -> list[str]:
    return [one.purpose for one in visitor.circuits() if one.purpose in ("rendezvous", "introduce")]


@pytest.mark.parametrize("hops", [0, 1, 2, 3])
async def test_a_joined_circuit_has_the_hops_that_were_asked_for(
    hops: int, autojump_clock: MockClock
) -> None:
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        found = await Stranger(visitor, endpoint.address).find()
        joined = await reach(visitor, found, hops=hops)
        (circuit,) = [one for one in visitor.circuits() if one.purpose == "rendezvous"]
        assert len(circuit.path) == hops + 1
        assert at_work(visitor) == ["rendezvous"]  # that to the introducer has done its part
        joined.close(Reason.CLOSED)
        assert at_work(visitor) == []


@pytest.mark.parametrize(
    "answer, gone, why",
    [
        (m.NO_SUCH_KEY, True, "does not know the endpoint any more"),
        (m.BUSY, False, "is busy"),
        (None, False, "does not answer"),
    ],
)
async def test_what_an_introducer_answers(
    answer: int | None, gone: bool, why: str, autojump_clock: MockClock
) -> None:
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        found = await Stranger(visitor, endpoint.address).find()
        for running in net.relays:
            mount(running, HostileIntroducer(running, answer=answer))
        with pytest.raises(NotIntroduced, match=why) as caught:
            await reach(visitor, found)
        assert caught.value.gone == gone
        assert at_work(visitor) == []


async def test_an_endpoint_that_does_not_come_is_waited_for_and_no_longer(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        found = await Stranger(visitor, endpoint.address).find()
        for running in net.relays:  # they say that they pass introductions on, and do not
            mount(running, HostileIntroducer(running))
        started = trio.current_time()
        with pytest.raises(NoAnswer):
            await reach(visitor, found)
        assert trio.current_time() - started == pytest.approx(RENDEZVOUS_SECONDS, abs=2)
        assert at_work(visitor) == []


async def test_an_introducer_that_is_not_in_the_consensus_is_gone(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        found = await Stranger(visitor, endpoint.address).find()
        unknown = replace(found.descriptor.introducers[0], relay_id=b"\x07" * 32)
        with pytest.raises(NotIntroduced, match="left the network") as caught:
            await reach(visitor, found, unknown)
        assert caught.value.gone
        await until(lambda: at_work(visitor) == [], 10)


async def test_a_path_that_cannot_be_had_is_no_fault_of_the_introducer(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join("visitor") as visitor, net.join("host") as node:
        async with node.host(net.folder / "identity", introducers=1) as endpoint:
            await until(lambda: bool(on_ring(net, endpoint, period_now(node))))
            found = await Stranger(visitor, endpoint.address).find()
            with pytest.raises(PathImpossible):
                await reach(visitor, found, hops=3)
            assert at_work(visitor) == []


async def test_a_cancelled_try_leaves_nothing(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        found = await Stranger(visitor, endpoint.address).find()
        for running in net.relays:
            mount(running, HostileIntroducer(running, answer=None))
        with trio.move_on_after(5) as scope:
            await reach(visitor, found)
        assert scope.cancelled_caught
        assert at_work(visitor) == []


async def test_who_pays_has_its_message_sent_and_who_cannot_is_not_introduced(
    autojump_clock: MockClock,
) -> None:
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        found = await Stranger(visitor, endpoint.address).find()
        entry, sealed = found.descriptor.introducers[0], list[bytes]()

        async def pay(message: bytes) -> bytes:
            assert sorted(at_work(visitor)) == ["introduce", "rendezvous"]
            sealed.append(message)
            await trio.sleep(20)
            return altered(message, pow=m.Paid(1, bytes(16), b"seed").encode())

        joined, _ = await connect(inside(visitor), found, entry, hops=1, privacy_class=0, record=b"", pay=pay)
        assert len(sealed) == 1
        joined.close(Reason.CLOSED)

        async def cannot(message: bytes) -> bytes:
            raise NotIntroduced("too dear", gone=False)

        with pytest.raises(NotIntroduced, match="too dear") as caught:
            await connect(inside(visitor), found, entry, hops=1, privacy_class=0, record=b"", pay=cannot)
        assert (caught.value.gone, caught.value.busy) == (False, False)
        assert at_work(visitor) == []
        for running in net.relays:
            mount(running, HostileIntroducer(running, answer=m.BUSY))
        with pytest.raises(NotIntroduced) as caught:
            await reach(visitor, found)
        assert (caught.value.gone, caught.value.busy) == (False, True)
