"""The way to one endpoint, try after try: which introducer next, and when a descriptor is fetched anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.delivery.sending import NotReached, Opening
from onionshh.client.node import Node
from onionshh.client.reach import toll
from onionshh.client.reach.finder import find
from onionshh.client.reach.reach import NOBODY, TOO_DEAR, Reach, nobody_counts
from onionshh.core.delivery.record import new_whisper
from onionshh.core.delivery.sender import NO_ANSWER
from onionshh.crypto.identity import IdentityKeys, decode_address_untrusted
from onionshh.ids import WhisperId
from onionshh.reasons import Reason
from onionshh.testing import Network, RunningRelay
from onionshh.wire import messages as m
from onionshh.wire.endpoint import ProofWanted
from tests.client.hostile import HostileIntroducer, introducer_of, mount
from tests.client.world import WALL, hosted, on_ring, period_now, small, until
from tests.inside import inside, parts
from tests.seeded import seeded

Work = Callable[[WhisperId, float, int], None]
QUIET = dict(interval_seconds=300)


class Busy(HostileIntroducer):
    """Says the same to every visitor, counts them, and keeps the efforts that they claim to prove."""

    def __init__(self, running: RunningRelay, answer: int | None) -> None:
        super().__init__(running, answer=answer)
        self.asked = 0
        self.efforts: list[int] = []

    def handle(self, circuit, message_type, body, now, wall):  # type: ignore[no-untyped-def]
        if message_type == m.INTRODUCE1:
            self.asked += 1
            paid = m.Paid.decode_untrusted(m.Introduce.decode_untrusted(body).pow)
            self.efforts.append(0 if paid is None else paid.effort)
        return super().handle(circuit, message_type, body, now, wall)


def reach(visitor: Node, address: str, hops: int = 1, worked: Work | None = None) -> Reach:
    return Reach(
        inside(visitor),
        decode_address_untrusted(address),
        draw_hops=lambda: hops,
        privacy_class=0,
        worked=worked or nobody_counts,
    )


def all_say(net: Network, answer: int | None) -> list[Busy]:
    roles = [Busy(running, answer) for running in net.relays]
    for running, role in zip(net.relays, roles, strict=True):
        mount(running, role)
    return roles


async def once(way: Reach) -> Opening:
    """One try, with a whisper that rides along."""
    record = new_whisper(b"hello", expires=WALL + 600, privacy_class=0, random_bytes=seeded(9))
    return await way.once(record, more=False)


async def failure(way: Reach) -> str:
    with pytest.raises(NotReached) as caught:
        await once(way)
    return caught.value.failure.why


async def test_each_introducer_is_tried_before_any_a_second_time(autojump_clock: MockClock) -> None:
    async with small(8, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net, introducers=3) as (_, endpoint):
            await until(lambda: parts(endpoint).introducers.complete)
            way = reach(visitor, endpoint.address)
            first = await once(way)
            assert first.joined is not None
            roles = all_say(net, m.BUSY)
            for tries in (1, 2):
                for _ in range(3):
                    assert await failure(way) == "an introducer is busy"
                assert sorted(one.asked for one in roles) == [0] * 5 + [tries] * 3


async def test_without_a_descriptor_nobody_is_there(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor:
        way = reach(visitor, IdentityKeys.generate(seeded(5)).address)
        with pytest.raises(NotReached, match=NOBODY) as caught:
            await once(way)
        assert caught.value.failure.nobody
        assert not caught.value.failure.hopeless


async def test_a_path_that_no_relays_make_is_hopeless(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join("visitor") as visitor, net.join("host") as node:
        async with node.host(net.folder / "identity", introducers=1) as endpoint:
            await until(lambda: bool(on_ring(net, endpoint, period_now(node))))
            way = reach(visitor, endpoint.address, hops=3)
            with pytest.raises(NotReached, match="the path needs 4 relays") as caught:
                await once(way)
            assert caught.value.failure.hopeless


@pytest.mark.parametrize(
    "answer, why, forgets",
    [
        (m.NO_SUCH_KEY, "an introducer does not know the endpoint any more", True),
        (m.OK, NO_ANSWER, True),
        (m.BUSY, "an introducer is busy", False),
    ],
)
async def test_what_tells_of_newer_keys_makes_it_fetch_the_descriptor_anew(
    answer: int, why: str, forgets: bool, autojump_clock: MockClock
) -> None:
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        way = reach(visitor, endpoint.address)
        joined = (await once(way)).joined
        assert joined is not None
        joined.close(Reason.CLOSED)
        cache = inside(visitor).descriptors
        assert len(cache) == 1
        all_say(net, answer)
        assert await failure(way) == why
        assert len(cache) == (0 if forgets else 1)


async def test_under_load_each_refusal_makes_the_next_try_prove_twice_as_much(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(8, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net, introducers=3) as (_, endpoint):
            await until(lambda: parts(endpoint).introducers.complete)
            key, cache = decode_address_untrusted(endpoint.address), inside(visitor).descriptors
            found = await find(inside(visitor), key)
            wanted = ProofWanted(b"s" * 32, 4, WALL + 7200)
            loaded = replace(found, descriptor=replace(found.descriptor, proof=wanted))
            worked: list[tuple[WhisperId, int]] = []
            way = reach(visitor, endpoint.address, worked=lambda one, _, tries: worked.append((one, tries)))
            honest = {running.id: introducer_of(running) for running in net.relays}
            roles = all_say(net, m.BUSY)
            for _ in range(5):
                cache.keep(key, loaded)
                assert await failure(way) == "an introducer is busy"
            assert sorted(effort for role in roles for effort in role.efforts) == [4, 8, 16, 32, 64]
            assert len({one for one, _ in worked}) == 1
            assert sum(tries for _, tries in worked) > 5
            monkeypatch.setattr(toll, "WORK_SECONDS", 0.0)
            cache.keep(key, loaded)
            assert await failure(way) == TOO_DEAR
            monkeypatch.undo()
            for running in net.relays:
                mount(running, honest[running.id])
            await trio.sleep(toll.DEAR_SECONDS)
            cache.keep(key, loaded)
            assert (await once(way)).joined is not None
            roles = all_say(net, m.BUSY)
            await failure(way)
            assert [effort for role in roles for effort in role.efforts] == [4], "let in, it begins anew"
