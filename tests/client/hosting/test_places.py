"""One silent peer cannot hold all places (client/hosting/places.py)."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.hosting.places import SILENT_SECONDS, NoPlace, Places

AT_WORK, WAITING = 4, 4


class Crowd:
    """Holders who take places and keep them until they are let go."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.places = Places(AT_WORK, WAITING)
        self.working: list[str] = []
        self.refused: list[str] = []
        self._nursery = nursery
        self._go: dict[str, trio.Event] = {}

    async def come(self, *names: str) -> None:
        """Each by its name, whose first letter is the holder."""
        for name in names:
            self._go[name] = trio.Event()
            self._nursery.start_soon(self._one, name)
            await wait_all_tasks_blocked()

    async def leave(self, name: str) -> None:
        self._go[name].set()
        await wait_all_tasks_blocked()

    async def _one(self, name: str) -> None:
        try:
            async with self.places.take(name[0]):
                self.working.append(name)
                try:
                    await self._go[name].wait()
                finally:
                    self.working.remove(name)
        except NoPlace:
            self.refused.append(name)


async def test_a_newcomer_gets_the_oldest_place_of_whoever_holds_most(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(nursery)
        await crowd.come("a1", "a2", "a3", "a4", "a5")
        assert crowd.working == ["a1", "a2", "a3", "a4"]
        await crowd.come("b1")
        assert crowd.working == ["a2", "a3", "a4", "b1"]
        assert crowd.refused == ["a1"]
        await crowd.come("c1", "d1", "e1")  # at the last nobody has two more
        assert crowd.working == ["a4", "b1", "c1", "d1"]
        assert crowd.refused == ["a1", "a2", "a3"]
        await crowd.leave("b1")
        assert crowd.working == ["a4", "c1", "d1", "e1"]  # before a5, which waited longer
        nursery.cancel_scope.cancel()


async def test_who_keeps_a_place_for_long_is_taken_for_silent(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(nursery)
        await crowd.come("a1", "b1", "c1", "d1", "e1")
        assert crowd.working == ["a1", "b1", "c1", "d1"]
        await trio.sleep(SILENT_SECONDS)
        await crowd.come("f1")
        assert crowd.refused == ["a1"]
        assert crowd.working == ["b1", "c1", "d1", "f1"]
        await crowd.come("b2")  # silent itself, it takes nobody's place but waits
        assert (crowd.refused, crowd.working) == (["a1"], ["b1", "c1", "d1", "f1"])
        nursery.cancel_scope.cancel()


async def test_of_those_who_wait_the_greatest_makes_room_and_no_more_wait(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(nursery)
        await crowd.come("a1", "b1", "c1", "d1", "a2", "a3", "a4", "a5")
        await crowd.come("a6")
        assert crowd.refused == ["a6"]
        await crowd.come("b2")
        assert crowd.refused == ["a6", "a5"]
        await crowd.come("c2", "d2")
        assert crowd.refused == ["a6", "a5", "a4", "a3"]
        await crowd.come("a7", "b3")  # all are alike now: whoever comes last goes
        assert crowd.refused[4:] == ["a7", "b3"]
        nursery.cancel_scope.cancel()
    assert crowd.working == []


async def test_a_place_given_up_by_a_cancellation_is_free(autojump_clock: MockClock) -> None:
    async with trio.open_nursery() as nursery:
        crowd = Crowd(nursery)
        await crowd.come("a1", "b1", "c1", "d1")
        await crowd.come("e1", "f1")
        for name in ("a1", "b1", "c1", "d1", "e1", "f1"):
            await crowd.leave(name)
        assert crowd.working == []
        await crowd.come("x1", "x2", "x3", "x4")
        assert len(crowd.working) == AT_WORK
        nursery.cancel_scope.cancel()
