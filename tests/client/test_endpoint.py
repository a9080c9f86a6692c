"""An endpoint as a program sees it; with `serve` a handler's fault is its whisper's alone."""

from __future__ import annotations

import logging
from itertools import pairwise

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.endpoint import EndpointStatus
from onionshh.client.identities import Identity
from onionshh.client.whisper import Whisper
from onionshh.errors import Closed
from onionshh.reasons import Reason
from tests.client.world import hosted, small, until

QUIET = dict(interval_seconds=300)


async def test_replies_and_silence(autojump_clock: MockClock) -> None:
    async def handler(whisper: Whisper) -> bytes | None:
        return whisper.body.upper() if whisper.body != b"psst" else None

    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.serve, handler)
            assert await contact.ask(b"hello") == b"HELLO"
            assert (await contact.whisper(b"psst")).status == "delivered"
            await until(lambda: endpoint.status().unfinished == 0)
            assert isinstance(endpoint.status(), EndpointStatus)
            nursery.cancel_scope.cancel()


async def test_a_handler_that_raises_keeps_nobody_else_waiting(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.CRITICAL)
    shown: list[tuple[bytes, int, float]] = []

    async def handler(whisper: Whisper) -> bytes | None:
        shown.append((whisper.body, whisper.shown, trio.current_time()))
        if whisper.body == b"bad" and whisper.shown < 4:
            raise ValueError("what is this")
        return b"ok"

    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: endpoint.serve(handler, at_once=1))
            bad = contact.send(b"bad")
            for _ in range(3):
                assert await contact.ask(b"good") == b"ok"
            with trio.fail_after(60):
                assert await bad.reply() == b"ok"
            times = [when for body, _, when in shown if body == b"bad"]
            assert [count for body, count, _ in shown if body == b"bad"] == [1, 2, 3, 4]
            pauses = [later - sooner for sooner, later in pairwise(times)]
            assert pauses == pytest.approx([1.0, 2.0, 4.0], abs=0.2)
            nursery.cancel_scope.cancel()


async def test_so_many_at_once_and_no_more(autojump_clock: MockClock) -> None:
    now = most = 0

    async def handler(whisper: Whisper) -> bytes | None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await trio.sleep(1)
        now -= 1
        return None

    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        with pytest.raises(ValueError, match="at_once"):
            await endpoint.serve(handler, at_once=0)
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(lambda: endpoint.serve(handler, at_once=3))
            receipts = [contact.send(b"x") for _ in range(10)]
            for receipt in receipts:
                await receipt.final()
            await until(lambda: endpoint.status().unfinished == 0)
            assert most == 3
            nursery.cancel_scope.cancel()


async def test_it_ends_with_the_endpoint(autojump_clock: MockClock) -> None:
    async def handler(whisper: Whisper) -> bytes | None:
        await trio.sleep(10**9)
        return None

    async with small(**QUIET) as net, net.join("visitor") as visitor, trio.open_nursery() as nursery:
        async with hosted(net) as (_, endpoint):
            nursery.start_soon(endpoint.serve, handler)
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"x")).status == "delivered"
        # The block has ended, and with it what served.


async def test_what_fails_too_often_is_set_aside_listed_and_still_answered(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """Also after the endpoint ran again."""
    caplog.set_level(logging.CRITICAL)

    async def handler(whisper: Whisper) -> bytes | None:
        if whisper.body == b"bad":
            raise ValueError("what is this")
        return b"ok"

    async with small(**QUIET) as net, net.join("visitor") as visitor, net.join("host") as node:
        identity = Identity.load_or_create(net.folder / "identity")
        with pytest.raises(ValueError, match="give_up_after"):
            node.host(identity, give_up_after=0)
        async with visitor.contact(identity.address) as contact:
            async with node.host(identity, give_up_after=2) as endpoint, trio.open_nursery() as nursery:
                await endpoint.reachable()
                nursery.start_soon(endpoint.serve, handler)
                bad = contact.send(b"bad", ttl_seconds=3600)
                await until(lambda: endpoint.status().given_up == 1)
                assert await contact.ask(b"good") == b"ok"
                assert node.drops()[Reason.WHISPER_GIVEN_UP] == 1
                nursery.cancel_scope.cancel()
            async with node.host(identity, give_up_after=2) as endpoint, trio.open_nursery() as nursery:
                nursery.start_soon(endpoint.serve, handler)
                assert endpoint.status().given_up == 1
                (whisper,) = await endpoint.given_up()
                assert (whisper.body, whisper.shown) == (b"bad", 2)
                assert await endpoint.given_up() == []
                await whisper.reply(b"sorry")
                assert endpoint.status().given_up == 0
                assert await bad.reply() == b"sorry"
                nursery.cancel_scope.cancel()


async def test_a_program_can_look_at_an_endpoint_and_its_whispers_and_change_nothing(
    autojump_clock: MockClock,
) -> None:
    async with small(**QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=100)
            whisper = await anext(aiter(endpoint))
            for one, names in (
                (endpoint, ("address", "reachability", "waiting")),
                (whisper, ("id", "body", "received_at", "expires_at", "shown")),
                (endpoint.status(), ("reachable", "visitors")),
                (endpoint.reachability, ("reachable", "why")),
            ):
                for name in names:
                    with pytest.raises((AttributeError, TypeError)):
                        setattr(one, name, None)
            with pytest.raises(AttributeError):
                whisper.note = "mine"  # type: ignore[attr-defined]
            assert (whisper.body, whisper.shown) == (b"hello", 1)
            assert len(bytes.fromhex(whisper.id)) == 16
            assert whisper.expires_at - whisper.received_at == pytest.approx(100, abs=5)
            assert repr(whisper) == "<Whisper of 5 bytes>"
            await whisper.done()
            await whisper.done()  # twice is harmless
            with pytest.raises(Closed, match="finished"):
                await whisper.reply(b"late")
            assert (await receipt.final()).status == "delivered"


async def test_before_and_after_its_block_an_endpoint_is_closed(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        endpoint = node.host(net.folder / "identity", introducers=1)
        assert endpoint.address == Identity.load(net.folder / "identity").address
        for entered in (False, True):
            if entered:
                async with endpoint:
                    assert endpoint.waiting == (0, 0)
            for ask in (
                endpoint.status,
                endpoint.reachability_changes,
                endpoint.__aiter__,
                lambda: endpoint.waiting,
                lambda: endpoint.reachability,
            ):
                with pytest.raises(Closed, match="not open"):
                    ask()
