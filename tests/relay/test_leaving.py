"""A whole relay that leaves: it publishes nothing more, takes no link, and has left when it is empty."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.net.links import LinkFailed
from onionshh.relay.draining import SILENT_SECONDS
from onionshh.relay.leaving import LOOK_SECONDS, Leaving
from onionshh.relay.serve import Relay
from tests.inside import inside
from tests.relay.test_serve import WALL, Operator

DRAIN_SECONDS = 60.0


@asynccontextmanager
async def operated() -> AsyncIterator[tuple[testing.Network, Relay, Operator]]:
    """One more relay, once it is listed."""
    async with (
        testing.network(3, wall_start=WALL, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        mine = Operator(net)
        await nursery.start(lambda task_status: mine.relay.run(task_status=task_status))
        with trio.fail_after(3600):
            while "listed" not in mine.said:
                await trio.sleep(1)
        yield net, mine.relay, mine
        nursery.cancel_scope.cancel()


async def test_an_empty_relay_leaves_at_once_and_takes_no_more_links(autojump_clock: MockClock) -> None:
    async with operated() as (net, relay, _):
        assert isinstance(relay.leaving, Leaving)
        began = trio.current_time()
        assert await relay.leaving.drain(DRAIN_SECONDS) == 0
        assert trio.current_time() - began <= LOOK_SECONDS
        assert relay.why_not_well().startswith("This relay leaves: ")
        async with net.join() as node:
            view = inside(node).keeper.view
            row = None if view is None else view.relay(relay.keys.relay_id)
            assert row is not None
            with pytest.raises(LinkFailed):
                await inside(node).builder.links.to(row)


async def test_it_publishes_nothing_more(autojump_clock: MockClock) -> None:
    async with operated() as (_, relay, _mine):
        await relay.leaving.drain(DRAIN_SECONDS)
        await trio.sleep(1)
        published = relay.publisher.published
        relay.publisher.now.send()
        await trio.sleep(600)
        assert relay.publisher.published == published


async def test_silent_circuits_do_not_hold_it_up(autojump_clock: MockClock) -> None:
    """Those of introducers and pools: nobody uses them, and a whisper finds its way all the same."""
    async with (
        testing.network(6, wall_start=WALL, seed=1) as net,
        net.join() as host,
        net.join() as visitor,
        host.host(net.folder / "identity") as endpoint,
        visitor.contact(endpoint.address) as contact,
        trio.open_nursery() as nursery,
    ):
        await endpoint.reachable()
        nursery.start_soon(endpoint.serve, _echo)
        assert await contact.ask(b"before") == b"before"
        leaving = max(net.relays, key=lambda one: len(one.relay.switch.circuits)).relay
        assert leaving.switch.circuits
        began = trio.current_time()
        nursery.start_soon(leaving.leaving.drain, DRAIN_SECONDS)
        assert await contact.ask(b"meanwhile") == b"meanwhile"
        while leaving.switch.circuits:
            await trio.sleep(LOOK_SECONDS)
        assert trio.current_time() - began < 3 * SILENT_SECONDS
        assert await contact.ask(b"after") == b"after"
        nursery.cancel_scope.cancel()


async def _echo(whisper: onionshh.Whisper) -> bytes:
    return whisper.body


async def test_the_time_is_bounded_for_busy_ones_too(autojump_clock: MockClock) -> None:
    async with (
        testing.network(6, wall_start=WALL, seed=1) as net,
        net.join() as host,
        net.join() as visitor,
        host.host(net.folder / "identity") as endpoint,
        visitor.contact(endpoint.address) as contact,
        trio.open_nursery() as nursery,
    ):
        await endpoint.reachable()
        nursery.start_soon(endpoint.serve, _echo)
        nursery.start_soon(_ask_on, contact)
        await trio.sleep(10)
        meeting = next(one for one in visitor.circuits() if one.purpose == "rendezvous").relays[0]
        leaving = next(one for one in net.relays if one.id == meeting).relay
        began = trio.current_time()
        assert await leaving.leaving.drain(DRAIN_SECONDS) > 0
        assert trio.current_time() - began == pytest.approx(DRAIN_SECONDS, abs=1)
        nursery.cancel_scope.cancel()


async def _ask_on(contact: onionshh.Contact) -> None:
    while True:
        await contact.ask(b"again")
        await trio.sleep(1)
