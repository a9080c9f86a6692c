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

from onionshh.core.base.addresses import plain_host
from onionshh.core.base.params import Params
from onionshh.core.trust import EARLY_SECONDS, open_descriptor_untrusted
from onionshh.directory.checks import Checks, Probe
from onionshh.directory.consensus import next_boundary
from onionshh.directory.entry import NO_CHECKS, Entry, Status, record
from onionshh.directory.history import Point
from onionshh.directory.issuer import Issuer
from onionshh.directory.own_clock import OwnClock
from onionshh.directory.refusals import Refusals
from onionshh.directory.registry import Answer, Registry, Verdict
from onionshh.directory.store import AuthorityStore
from onionshh.errors import BadData
from onionshh.ids import RandomBytes
from onionshh.net.clocks import Clock
from onionshh.net.store import RunBlocking, run_in_thread
from onionshh.wire.consensus import CONSENSUS_RELAYS_MOST, Consensus
from onionshh.wire.descriptor import RelayDescriptor

ROUND_LEAD_SECONDS = 300
_NAP_SECONDS = 60


@dataclass(frozen=True, slots=True)
class DirectoryStatistics:
    """What a directory did so far and how it stands now. The defaults: it has no consensus yet."""

    relays_listed: int = 0
    relays_known: int = 0
    """Listed or not."""
    consensus_age_seconds: int | None = None
    healthy: bool = False
    """Whether anyone can rely on it now, as `/health` says."""
    clock_doubted: bool = False
    """Whether most relays say that this directory's clock is wrong."""
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
        self.clock = clock
        self.answers: Counter[int] = Counter()
        """HTTP answers given, by their status."""
        self.registry = Registry(params, over_tor=probe.reaches_onions)
        self.own_clock = OwnClock(clock, by_address=bool(params.relays_per_ip))
        self._checks = Checks(self.registry, probe, self.own_clock)
        self._refusals = Refusals()
        self._issuer = Issuer(store, self.registry, random_bytes=random_bytes, run_blocking=run_blocking)

    # What others ask.

    @property
    def params(self) -> Params:
        """The parameters that it signs."""
        return self.registry.params

    def change(self, params: Params) -> None:
        """Sign these from the next consensus on. The one after that comes by their interval. ValueError, in a
        sentence: some need a restart."""
        if bool(params.relays_per_ip) != bool(self.params.relays_per_ip):
            raise ValueError("relays_per_ip from or to 0 needs a restart.")
        self.registry.params = params

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
        self._remember(descriptor, answer, source)
        self._checks.look_at_newcomers()
        if answer.clocks and self.own_clock.doubt:
            return answer._replace(why=f"{answer.why} ({self.own_clock.doubt})")
        return answer

    def _remember(self, descriptor: RelayDescriptor, answer: Answer, source: str) -> None:
        if answer.verdict is Verdict.ACCEPTED:
            self._refusals.taken(descriptor.identity)
        else:
            source, now = plain_host(source), self.clock.monotonic()
            hosts = {address.host for address in descriptor.addresses}
            self._refusals.refused(descriptor.identity, answer.why, now, source=source, hosts=hosts)

    def status(self, identity: bytes) -> Status:
        """Where a relay stands: listed, reached, checking, failing, ended or unknown, and why."""
        status = self.registry.status(identity, self.own_clock.now(self.registry))
        if identity in self._issuer.listed:
            return Status("listed", status.why if status.word in ("failing", "ended", "reached") else "")
        if status.word != "reached":
            return status
        if len(self._issuer.listed) >= CONSENSUS_RELAYS_MOST:
            return Status("reached", "it answered, but the list is full, and those known longest stay in it")
        return Status("reached", status.why or "it answered and comes with the next consensus")

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
            healthy=not self.why_not_well(),
            clock_doubted=bool(self.clock_doubt),
            answers={str(status): count for status, count in sorted(self.answers.items())},
        )

    def known_of(self, identity: bytes) -> tuple[Entry | None, Status]:
        """What is known of a relay, and where it stands."""
        return self.registry.entry(identity), self.status(identity)

    def told(self, identity: bytes) -> dict[str, object]:
        """Where a relay stands, for the relay itself: under names that do not change, with its last
        descriptor. A relay that said something else learns from this that another program has its keys."""
        entry, status = self.known_of(identity)
        refused = None
        if status.word != "listed":
            refused = self._refusals.why(identity, self.clock.monotonic())
        if entry is not None:
            return record(entry, status, self.clock.wall()) | {"refused": refused}
        names = ("address", "published", "since", *NO_CHECKS, "software")
        return {
            "id": identity.hex(),
            "nickname": None,
            "status": status.word,
            "known": status.word != "unknown",
            "listed": status.word == "listed",
            "why": status.why,
            **dict.fromkeys(names),
            "refused": refused,
        }

    def unlisted(self) -> tuple[Entry, ...]:
        """The relays that are known and not in the last consensus, sorted by nickname."""
        return self.registry.besides(self._issuer.listed)

    @property
    def history(self) -> tuple[Point, ...]:
        """The last day."""
        return self._issuer.history

    @property
    def clock_doubt(self) -> str:
        """Why this directory's own clock is likely wrong, in a sentence; empty when nothing says so."""
        return self.own_clock.doubt

    def why_not_well(self) -> str:
        """Why nobody should rely on this directory now, in a sentence; empty if all is well. What relays say
        of its clock does not count here: three strangers could say it."""
        consensus, interval = self.consensus, self.params.interval_seconds
        if consensus is None:
            return "This directory has no consensus yet."
        late = self.clock.wall() - consensus.fresh_until
        if late > interval:
            return "No new consensus could be made in time."
        if late < -(interval + EARLY_SECONDS):
            return "This directory's clock is wrong: its last consensus lies far in the future."
        return ""

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
        self.registry.unlist_ended(wall)
        return await self._issuer.issue(wall)

    async def _sleep_until(self, wall: int, latest: float) -> None:
        """Sleep until the clock shows `wall`. It sleeps in naps, so that a clock set forward is noticed, and
        never past `latest` (monotonic), so that a clock set back does not stop the directory."""
        while self.clock.steady() < wall and self.clock.monotonic() < latest:
            await trio.sleep_until(min(latest, self.clock.monotonic() + _NAP_SECONDS))
