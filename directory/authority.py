"""An authority at work: hears descriptors, checks relays, publishes a consensus every interval (SPEC 8).

The registry decides; this file drives it by the clock. Each interval has one round of checks (checks.py) that
begins well before the boundary, and a consensus (issuer.py) at the boundary with what is known by then. The
whole network goes by the authority's clock, which may still be wrong (own_clock.py).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

import trio

from onionshh.core.base.params import Params
from onionshh.core.trust import open_descriptor_untrusted
from onionshh.directory.checks import Checks, Probe
from onionshh.directory.consensus import next_boundary
from onionshh.directory.issuer import Issuer
from onionshh.directory.own_clock import OwnClock
from onionshh.directory.registry import Answer, Entry, Registry, Status
from onionshh.directory.store import AuthorityStore
from onionshh.errors import BadData
from onionshh.ids import RandomBytes
from onionshh.net.clocks import Clock
from onionshh.net.store import RunBlocking, run_in_thread
from onionshh.wire.consensus import Consensus

ROUND_LEAD_SECONDS = 300
_NAP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class DirectoryStatistics:
    """What a directory did so far and how it stands now. The defaults: it has no consensus yet."""

    relays_listed: int = 0
    relays_known: int = 0
    """Listed or not."""
    consensus_age_seconds: int | None = None
    answers: Mapping[str, int] = field(default_factory=dict)
    """HTTP answers given, by their status."""


class DirectoryAuthority:
    """One authority. `run` it. After it has started, it may be asked anything at any time."""

    def __init__(
        self,
        store: AuthorityStore,
        *,
        params: Params,
        clock: Clock,
        probe: Probe,
        random_bytes: RandomBytes,
        run_blocking: RunBlocking = run_in_thread,
    ) -> None:
        self.network = store.network
        self.params = params
        self.clock = clock
        self.answers: Counter[int] = Counter()
        """HTTP answers given, by their status."""
        self.registry = Registry(params, over_tor=probe.reaches_onions)
        self.own_clock = OwnClock(clock, by_address=bool(params.relays_per_ip))
        self._checks = Checks(self.registry, params, probe, self.own_clock)
        self._issuer = Issuer(
            store, self.registry, params=params, random_bytes=random_bytes, run_blocking=run_blocking
        )

    # What others ask.

    @property
    def document(self) -> bytes:
        """The last consensus as it was signed, b"" before the first."""
        return self._issuer.document

    @property
    def consensus(self) -> Consensus | None:
        """The same, decoded; None before the first."""
        return self._issuer.consensus

    def submit_untrusted(self, data: bytes, source: str) -> Answer:
        """A relay's signed descriptor came from the IP address `source`. ProtocolError if it is not valid."""
        descriptor, wall = open_descriptor_untrusted(data), self.own_clock.now(self.registry)
        self.own_clock.heard(descriptor.identity, source, descriptor.published)
        answer = self.registry.submit(descriptor, source, wall)
        self._checks.look_at_newcomers()
        if answer.clocks and self.own_clock.doubt:
            return answer._replace(why=f"{answer.why} ({self.own_clock.doubt})")
        return answer

    def status(self, identity: bytes) -> Status:
        """Where a relay stands: listed, reached, checking, failing or unknown, and why."""
        status = self.registry.status(identity)
        if identity in self._issuer.listed:
            return Status("listed", status.why if status.word in ("failing", "reached") else "")
        if status.word == "reached":
            return Status("reached", status.why or "it answered and comes with the next consensus")
        return status

    @property
    def known(self) -> int:
        """Relays known, listed or not."""
        return len(self.registry)

    def statistics(self) -> DirectoryStatistics:
        """The numbers of this moment."""
        consensus, wall = self.consensus, self.clock.wall()
        return DirectoryStatistics(
            relays_listed=len(self._issuer.listed),
            relays_known=self.known,
            consensus_age_seconds=None if consensus is None else max(0, wall - consensus.valid_after),
            answers={str(status): count for status, count in sorted(self.answers.items())},
        )

    def told(self, identity: bytes) -> dict[str, object]:
        """Where a relay stands, for the relay itself: under names that do not change, with its last
        descriptor. A relay that said something else learns from this that another program has its keys."""
        status, newest = self.status(identity), self.registry.newest(identity)
        return {
            "id": identity.hex(),
            "status": status.word,
            "known": status.word != "unknown",
            "listed": status.word == "listed",
            "why": status.why,
            "address": newest.address if newest is not None else None,
            "published": newest.published if newest is not None else None,
        }

    def unlisted(self) -> tuple[Entry, ...]:
        """The relays that are known and not listed."""
        return self.registry.unlisted()

    @property
    def clock_doubt(self) -> str:
        """Why this directory's own clock is likely wrong, in a sentence; empty when nothing says so."""
        return self.own_clock.doubt

    # The work.

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Check and publish until cancelled; started when the first consensus is out.

        Raises BadData when the first consensus cannot be written to disk.
        """
        if not await self.publish():
            raise BadData(
                "The directory cannot write to its data folder; see that the disk has room and is writable."
            )
        task_status.started()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._checks.check_newcomers)
            while True:
                interval, now = self.params.interval_seconds, self.clock.steady()
                boundary = next_boundary(now, interval)
                latest = self.clock.monotonic() + (boundary - now)
                lead = min(interval // 2, ROUND_LEAD_SECONDS)
                await self._sleep_until(boundary - lead, latest - lead)
                nursery.start_soon(self._checks.check_everyone)
                await self._sleep_until(boundary, latest)
                await self.publish()

    async def publish(self) -> bool:
        """Build, write, sign and show a consensus of now. False when the disk refuses: then nothing that
        depends on it is shown, and the last consensus stands."""
        wall = self.own_clock.now(self.registry)
        self.own_clock.look()
        return await self._issuer.issue(wall)

    async def _sleep_until(self, wall: int, latest: float) -> None:
        """Sleep until the clock shows `wall`. It sleeps in naps, so that a clock set forward is noticed, and
        never past `latest` (monotonic), so that a clock set back does not stop the directory."""
        while self.clock.steady() < wall and self.clock.monotonic() < latest:
            await trio.sleep_until(min(latest, self.clock.monotonic() + _NAP_SECONDS))
