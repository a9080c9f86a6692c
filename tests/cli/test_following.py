"""One whisper is followed: the receipt and the reply are waited for, and what happens meanwhile is said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

from onionshh import Identity
from onionshh.cli.ending import end_on_signals, status_when_ended
from onionshh.cli.following import see_it_through
from onionshh.cli.teller import Teller
from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from tests.client.world import QUIET, hosted, small

Captured = pytest.CaptureFixture[str]
Answer = Callable[[Endpoint], Awaitable[None]]


@asynccontextmanager
async def talking(answer: Answer) -> AsyncIterator[tuple[Node, Contact]]:
    """A visitor's node and contact, and an endpoint that does this with what comes."""
    async with (
        small(**QUIET) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(answer, endpoint)
        async with visitor.contact(endpoint.address) as contact:
            yield visitor, contact
        nursery.cancel_scope.cancel()


def after(seconds: float) -> Answer:
    """Replies, but not at once."""

    async def answer(endpoint: Endpoint) -> None:
        async for whisper in endpoint:
            await trio.sleep(seconds)
            await whisper.reply(b"yes")

    return answer


async def never(endpoint: Endpoint) -> None:
    async for _ in endpoint:
        pass


async def test_a_reply_that_comes_at_once_is_all_that_is_said_of_it(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    async with talking(after(0)) as (node, contact):
        teller = Teller("talk", 30, as_json=False)
        assert await see_it_through(contact.send(b"x"), contact, node, 30, teller) == 0
    out, err = capsys.readouterr()
    assert out == "yes"
    assert err.count("\n") == 1
    assert "delivered over" in err


async def test_who_waits_for_a_reply_is_told_so(autojump_clock: MockClock, capsys: Captured) -> None:
    async with talking(after(5)) as (node, contact):
        teller = Teller("talk", 30, as_json=False)
        assert await see_it_through(contact.send(b"x"), contact, node, 30, teller) == 0
    out, err = capsys.readouterr()
    assert out == "yes"
    assert err.startswith("onionshh: delivered; waiting for a reply, 30 s in all.\n")


async def test_a_reply_is_waited_for_no_longer_than_was_said(
    autojump_clock: MockClock, capsys: Captured
) -> None:
    with end_on_signals():
        async with talking(never) as (node, contact):
            started = trio.current_time()
            teller = Teller("talk", 20, as_json=False)
            assert await see_it_through(contact.send(b"x"), contact, node, 20, teller) == 0
            assert trio.current_time() - started == pytest.approx(20)
        assert status_when_ended() == 0  # a signal while it waited would not have undone the delivery
    assert capsys.readouterr().err.endswith("; no reply came.\n")


async def test_with_no_wait_it_ends_with_the_receipt(autojump_clock: MockClock, capsys: Captured) -> None:
    async with talking(never) as (node, contact):
        with trio.fail_after(30):
            teller = Teller("talk", 0, as_json=False)
            assert await see_it_through(contact.send(b"x"), contact, node, 0, teller) == 0
    assert "no reply" not in capsys.readouterr().err


async def test_what_is_in_the_way_is_said_once(autojump_clock: MockClock, capsys: Captured) -> None:
    async with small(**QUIET) as net, net.join() as node:
        async with node.contact(Identity.generate().address) as contact:
            teller = Teller("talk", 60, as_json=False)
            assert await see_it_through(contact.send(b"x"), contact, node, 60, teller) == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert "no endpoint is published under this address" in said[0]
    assert said[0].endswith("; trying on.")
    assert said[1].startswith("onionshh: not delivered (failed): no endpoint is published")
    assert said[1].endswith("; given up, nothing more is sent.")


async def test_a_signal_has_it_tell_how_it_stands(autojump_clock: MockClock, capsys: Captured) -> None:
    """A signal cancels the command."""
    async with small(**QUIET) as net, net.join() as node:
        async with node.contact(Identity.generate().address) as contact:
            teller = Teller("talk", 60, as_json=False)
            with trio.move_on_after(1):
                await see_it_through(contact.send(b"x"), contact, node, 60, teller)
                raise AssertionError("went on")
            assert teller.is_told
    assert "not delivered (failed): " in capsys.readouterr().err
