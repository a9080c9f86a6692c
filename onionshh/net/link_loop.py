"""The work of a node's links: one pass handles everything that arrived over all of them.

A pass reads each ready link, does the work that follows, and then flushes every link that got cells. If our
own code fails during this, only the link whose bytes caused it ends.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Sequence

import trio

from onionshh.core.base.timers import Timers
from onionshh.core.link.outbox import Memory
from onionshh.net.clocks import Clock
from onionshh.net.link_driver import LinkDriver
from onionshh.net.open_links import OpenLinks
from onionshh.net.throttle import Throttle
from onionshh.net.timers import Timed
from onionshh.net.transport import Watched

TICK_SECONDS = 1.0


class LinkLoop:
    """The two things that wake a node's links: bytes (`work`) and time (`act`).

    `after_read` returns whether it wants to be called again soon. `on_tick` is called about once per second.
    """

    def __init__(
        self,
        *,
        links: OpenLinks,
        clock: Clock,
        memory: Memory,
        after_read: Callable[[], bool],
        on_tick: Callable[[float], None],
        throttle: Throttle | None,
    ) -> None:
        self._links = links
        self._clock = clock
        self._memory = memory
        self._after_read = after_read
        self._on_tick = on_tick
        self._nursery: trio.Nursery | None = None
        self._throttle = throttle

    def start(self, nursery: trio.Nursery) -> None:
        """Run from now on, until the nursery is cancelled."""
        self._nursery = nursery
        self._links.timers.add(Ticker(self._on_tick, self._clock.monotonic()))
        nursery.start_soon(self._links.timers.run, self.act)
        nursery.start_soon(self._links.reader.run, self.work)

    def throttle_by(self, throttle: Throttle | None) -> None:
        """From now on this limits what is read. A link that is held back now goes on at its time."""
        self._throttle = throttle

    def work(self, ready: Sequence[Watched]) -> bool:
        """Read what arrived over these links, then send what is now waiting on any link."""
        now = self._clock.monotonic()
        for driver in ready:
            if isinstance(driver, LinkDriver):
                try:
                    count = driver.ready(now)
                except Exception:
                    self._links.fault(driver, now)
                    continue
                if self._throttle is not None and count:
                    self._slow_down(driver, self._throttle.spend(count, now))
        try:
            more = self._after_read()
        except Exception:
            self._links.fault(None, now)
            more = False
        if self._links.touched:
            self._links.flush(now)
        return more

    def act(self, due: Sequence[Timed], now: float) -> None:
        """Let each due machine act, then send what is now waiting."""
        self._memory.now = now
        for machine in due:
            try:
                machine.tick(now)
            except Exception:
                self._links.fault(machine if isinstance(machine, LinkDriver) else None, now)
        self.work(())

    def _slow_down(self, driver: LinkDriver, seconds: float) -> None:
        if seconds and self._nursery is not None:
            driver.pause()
            self._nursery.start_soon(self._resume_later, driver, seconds)

    async def _resume_later(self, driver: LinkDriver, seconds: float) -> None:
        await trio.sleep(seconds)
        driver.resume(self._clock.monotonic())


class _Every(enum.IntEnum):
    TICK = 0


class Ticker:
    """A machine with one deadline, the next second. It then calls `tick`."""

    def __init__(self, tick: Callable[[float], None], now: float) -> None:
        self._tick = tick
        self.timers: Timers[_Every] = Timers(_Every)
        self.timers.set(_Every.TICK, now + TICK_SECONDS)

    def tick(self, now: float) -> None:
        """Call `tick`, and be due again in a second even if the call fails."""
        self.timers.set(_Every.TICK, now + TICK_SECONDS)
        self._tick(now)
