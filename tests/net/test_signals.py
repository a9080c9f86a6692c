"""One task wakes others: everyone who waits, or one that misses nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
import trio.testing
from trio.testing import MockClock

from onionshh.net.signals import Broadcast, Poke


async def wakes(nursery: trio.Nursery, wait: Callable[[], Awaitable[None]]) -> list[float]:
    """Starts a task that waits once; the list has the time once it goes on."""
    woken: list[float] = []

    async def waiter() -> None:
        await wait()
        woken.append(trio.current_time())

    nursery.start_soon(waiter)
    await trio.testing.wait_all_tasks_blocked()
    return woken


async def test_a_broadcast_wakes_all_who_wait_and_nobody_later(autojump_clock: MockClock) -> None:
    broadcast = Broadcast()
    broadcast.send()  # nobody waits: it is lost
    async with trio.open_nursery() as nursery:
        early = [await wakes(nursery, broadcast.wait) for _ in range(3)]
        assert early == [[], [], []]
        broadcast.send()
        await trio.testing.wait_all_tasks_blocked()
        assert all(early)
        late = await wakes(nursery, broadcast.wait)
        assert late == []
        broadcast.send()


async def test_who_has_a_ticket_may_look_first_and_misses_nothing(autojump_clock: MockClock) -> None:
    broadcast = Broadcast()
    ticket = broadcast.ticket()
    assert broadcast.ticket() is ticket
    await trio.sleep(1)
    assert not ticket.is_set()
    broadcast.send()
    assert ticket.is_set()
    with trio.fail_after(1):
        await ticket.wait()
    assert not broadcast.ticket().is_set()


async def test_a_poke_is_not_missed_and_wakes_once(autojump_clock: MockClock) -> None:
    poke = Poke()
    poke.send()
    poke.send()
    async with trio.open_nursery() as nursery:
        assert await wakes(nursery, poke.wait)
        second = await wakes(nursery, poke.wait)
        assert second == []
        poke.send()
        await trio.testing.wait_all_tasks_blocked()
        assert second


async def test_a_wait_that_is_cancelled_takes_no_poke_along(autojump_clock: MockClock) -> None:
    poke = Poke()
    with trio.move_on_after(1):
        await poke.wait()
    poke.send()
    with trio.fail_after(1):
        await poke.wait()
