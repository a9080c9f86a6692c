"""An authority at work: hears descriptors, checks relays, publishes a consensus every interval (SPEC 8).

The registry decides, this drives it: clock, probes, disk. Each interval has one round of checks that begins
well before the boundary, and a consensus at the boundary with whatever is known by then; a round that takes
longer goes on and counts for the next. Nobody connects to anything here: `probe` does.

Its clock is what the whole network goes by, and may be wrong all the same. A jump that does not last is not
followed (`Clock.steady`). A consensus that turns out to be from the future, which nobody with a right clock
took, is not gone on from. And what relays say of the time is told to the operator (witnesses.py).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

import trio

from onionshh.core.base.params import Params
from onionshh.core.base.words import amount, utc
from onionshh.core.trust import EARLY_SECONDS, open_descriptor_untrusted
from onionshh.directory.consensus import build, kept_random, next_boundary, next_random
from onionshh.directory.registry import Answer, Entry, Registry, Status
from onionshh.directory.signing import sign_consensus
from onionshh.directory.store import AuthorityStore, State
from onionshh.directory.witnesses import Witnesses
from onionshh.errors import BadData
from onionshh.ids import RandomBytes
from onionshh.net.clocks import Clock
from onionshh.net.conditions import Condition
from onionshh.net.store import RunBlocking, run_in_thread
from onionshh.wire.consensus import Consensus
from onionshh.wire.descriptor import RelayDescriptor

log = logging.getLogger("onionshh.directory")

Probe = Callable[[RelayDescriptor], Awaitable[str | None]]
"""Makes a link handshake to a relay: None if it answered, else the reason in words."""

PROBES_AT_ONCE = 64
ROUND_LEAD_SECONDS = 300
_NAP_SECONDS = 60
_GRACE_SECONDS = 1
_SURE_SECONDS = 600
"""So long after it has changed a clock is taken for right, and what it contradicts is given up for good: a
machine that keeps no time while it is off may show another year until it has asked somebody."""


@dataclass(frozen=True, slots=True)
class DirectoryStatistics:
    """What a directory did so far and how it stands now; this is one that has no consensus yet."""

    relays_listed: int = 0
    relays_known: int = 0
    """Listed or not."""
    consensus_age_seconds: int | None = None
    answers: Mapping[str, int] = field(default_factory=dict)
    """HTTP answers given, by their status."""


class Authority:
    """One authority. `run` it; ask it anything at any time after it has started."""

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
        self.document = b""
        self.consensus: Consensus | None = None
        self.answers: Counter[int] = Counter()
        """HTTP answers given, by their status."""
        self._store = store
        self._probe = probe
        self._random_bytes = random_bytes
        self._run_blocking = run_blocking
        self._registry = Registry(params)
        self._witnesses = Witnesses(by_address=bool(params.relays_per_ip))
        self._doubt = Condition(log.warning)
        self._disk = Condition(log.error)
        self._cut_off = Condition(log.warning)
        self._listed: frozenset[bytes] = frozenset()
        self._wake = trio.Event()
        self._probes = trio.CapacityLimiter(PROBES_AT_ONCE)
        self._round_going = False
        state = store.load_state()
        self._registry.restore(state.entries)
        self._shared_random = state.shared_random
        last = store.load_consensus()
        self._valid_after = max(state.valid_after, last.valid_after if last is not None else 0)

    # What others ask.

    def submit_untrusted(self, data: bytes, source: str) -> Answer:
        """A relay's signed descriptor that came from the IP address `source`. ProtocolError if it is none."""
        descriptor, wall = open_descriptor_untrusted(data), self._now()
        now = self.clock.monotonic()
        self._witnesses.heard(descriptor.identity, source, descriptor.published, now)
        self._look_at_clock()
        answer = self._registry.submit(descriptor, source, wall)
        self._wake.set()
        if answer.clocks and self._doubt.now:
            return answer._replace(why=f"{answer.why} ({self._doubt.now})")
        return answer

    def status(self, identity: bytes) -> Status:
        """Where a relay stands: listed, reached, checking, failing or unknown, and why."""
        status = self._registry.status(identity)
        if identity in self._listed:
            return Status("listed", status.why if status.word == "failing" else "")
        if status.word == "reached":
            return Status("reached", "it answered and comes with the next consensus")
        return status

    @property
    def known(self) -> int:
        """Relays known, listed or not."""
        return len(self._registry)

    def statistics(self) -> DirectoryStatistics:
        """Numbers of this moment."""
        consensus = self.consensus
        return DirectoryStatistics(
            relays_listed=len(self._listed),
            relays_known=self.known,
            consensus_age_seconds=None if consensus is None else self.clock.wall() - consensus.valid_after,
            answers={str(status): count for status, count in sorted(self.answers.items())},
        )

    def told(self, identity: bytes) -> dict[str, object]:
        """The same for the relay itself, under names that stay, with what it said last: a relay that said
        something else learns so that another program has its keys."""
        status, newest = self.status(identity), self._registry.newest(identity)
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
        return self._registry.unlisted()

    @property
    def clock_doubt(self) -> str:
        """Why this directory's own clock is likely wrong, in a sentence; empty when nothing says so."""
        return self._doubt.now

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
            nursery.start_soon(self._check_newcomers)
            while True:
                interval, now = self.params.interval_seconds, self.clock.steady()
                boundary = next_boundary(now, interval)
                latest = self.clock.monotonic() + (boundary - now)
                lead = min(interval // 2, ROUND_LEAD_SECONDS)
                await self._sleep_until(boundary - lead, latest - lead)
                if not self._round_going:
                    self._round_going = True
                    nursery.start_soon(self.check_round)
                await self._sleep_until(boundary, latest)
                await self.publish()

    async def publish(self) -> bool:
        """Build, write, sign and show a consensus of now. False when the disk refuses: then nothing that
        depends on it is shown, and the last consensus stands."""
        wall = self._now()
        self._look_at_clock()
        self._step_back(wall)
        valid_after = max(wall, self._valid_after + 1)
        shared_random = next_random(
            self._shared_random,
            params=self.params,
            valid_after=valid_after,
            random_bytes=self._random_bytes,
        )
        kept = kept_random(self._shared_random, shared_random)
        state = State(valid_after, kept, self._registry.entries()).encode()
        consensus = build(
            self._registry.listed(),
            network=self.network.name,
            params=self.params,
            shared_random=shared_random,
            valid_after=valid_after,
        )
        document = sign_consensus(consensus.encode_body(), [self._store.key])

        def write() -> None:
            self._store.save_state(state)
            self._store.save_consensus(document)

        try:
            await self._run_blocking(write)
        except OSError as error:
            self._disk.holds(f"no new consensus, the disk refuses: {error.strerror}")
            return False
        self._disk.over("the disk takes consensuses again")
        before = len(self._listed)
        self._valid_after = valid_after
        self._shared_random = kept
        self.document = document
        self.consensus = consensus
        self._listed = frozenset(row.identity for row in consensus.relays)
        if len(self._listed) != before:
            log.info("consensus of %d relays (before: %d)", len(self._listed), before)
        return True

    def _step_back(self, wall: int) -> None:
        """Go on from the clock where the last consensus is from the future: nobody with a right clock took
        it. Of what is less than 600 s ahead some did, and valid after rises (SPEC 8)."""
        since = self._registry.first_of_the_future(wall)
        if self._valid_after > wall + EARLY_SECONDS:
            ahead = f"{amount(self._valid_after - wall)} ahead of this directory's clock"
            began = f"since {utc(since)} or before" if since else "not for long"
            log.warning(
                "the last consensus was dated %s, %s, which shows %s: the clock ran ahead then (%s), or it is"
                " behind now. Consensuses go on from the clock, and nodes whose own clock is right take them",
                utc(self._valid_after),
                ahead,
                utc(wall),
                began,
            )
            self._valid_after = wall - 1
        if since and self._registry.sure:
            self._registry.bring_back(wall)
            log.warning("dates ahead of this directory's clock, from %s on, were brought back", utc(since))

    def _now(self) -> int:
        """Unix seconds for the registry, which is told whether they are sure."""
        self._registry.sure = self.clock.rested() >= _SURE_SECONDS
        return self.clock.steady()

    def _look_at_clock(self) -> None:
        """What relays say of our clock, told once when it begins and once when it is over."""
        why = self._witnesses.doubt(self.clock.steady(), self.clock.monotonic())
        if why:
            self._doubt.holds(why)
        else:
            self._doubt.over("most relays agree with this directory's clock again")

    async def check_round(self) -> None:
        """One round of checks over everyone known."""
        try:
            todo = iter(self._registry.start_round())

            async def worker() -> None:
                for descriptor in todo:
                    await self._check(descriptor)

            async with trio.open_nursery() as nursery:
                for _ in range(PROBES_AT_ONCE):
                    nursery.start_soon(worker)
            result = self._registry.end_round(self._now())
            failed = f"{result.failed} of {result.checked} checks failed"
            if result.held:
                self._cut_off.holds(f"{failed}: taken for a fault of our own network, the list stays")
            else:
                self._cut_off.over(f"{failed}: the list follows the checks again")
        finally:
            self._round_going = False

    async def _check_newcomers(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                await self._wake.wait()
                self._wake = trio.Event()
                for descriptor in self._registry.take_fresh():
                    nursery.start_soon(self._check, descriptor)

    async def _check(self, descriptor: RelayDescriptor) -> None:
        seconds = min(self.params.handshake_seconds, self.params.interval_seconds) + _GRACE_SECONDS
        why: str | None = f"no answer within {seconds} seconds"
        try:
            async with self._probes:
                with trio.move_on_after(seconds):
                    why = await self._probe(descriptor)
        except Exception:
            # The probe's own fault says nothing about the relay, and must not end the directory.
            log.exception("a check failed inside the directory")
            self._registry.abandoned(descriptor)
            return
        self._registry.checked(descriptor, why, self._now())

    async def _sleep_until(self, wall: int, latest: float) -> None:
        """Until the clock shows this, in naps, so that a clock set forward is noticed; and never past
        `latest` (monotonic), when it should, so that a clock set back does not stop the directory."""
        while self.clock.steady() < wall and self.clock.monotonic() < latest:
            await trio.sleep_until(min(latest, self.clock.monotonic() + _NAP_SECONDS))
