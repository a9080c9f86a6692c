"""An authority at work: hears descriptors, checks relays, publishes a consensus every interval (SPEC 8).

The registry decides, this drives it: clock, probes, disk. Each interval has one round of checks that begins
well before the boundary, and a consensus at the boundary with whatever is known by then; a round that takes
longer goes on and counts for the next. Nobody connects to anything here: `probe` does.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable

import trio

from onionshh.core.params import Params
from onionshh.core.trust import open_descriptor_untrusted
from onionshh.directory.consensus import build, next_boundary, next_random
from onionshh.directory.registry import Answer, Entry, Registry, Status
from onionshh.directory.signing import sign_consensus
from onionshh.directory.store import AuthorityStore, State
from onionshh.errors import BadData
from onionshh.ids import RandomBytes
from onionshh.net.clocks import Clock
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
        answer = self._registry.submit(open_descriptor_untrusted(data), source, self.clock.wall())
        self._wake.set()
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

    def unlisted(self) -> tuple[Entry, ...]:
        """The relays that are known and not listed."""
        return self._registry.unlisted()

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
                interval = self.params.interval_seconds
                boundary = next_boundary(self.clock.wall(), interval)
                lead = min(interval // 2, ROUND_LEAD_SECONDS)
                await self._sleep_until(boundary - lead)
                if not self._round_going:
                    self._round_going = True
                    nursery.start_soon(self.check_round)
                await self._sleep_until(boundary)
                await self.publish()

    async def publish(self) -> bool:
        """Build, write, sign and show a consensus of now. False when the disk refuses: then nothing that
        depends on it is shown, and the last consensus stands."""
        valid_after = max(self.clock.wall(), self._valid_after + 1)
        if valid_after > self.clock.wall() + self.params.interval_seconds:
            log.warning("the clock was set back: consensuses go on from the last one's time")
        shared_random = next_random(
            self._shared_random,
            params=self.params,
            valid_after=valid_after,
            random_bytes=self._random_bytes,
        )
        state = State(valid_after, shared_random, self._registry.entries()).encode()
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
            log.error("no new consensus, the disk refuses: %s", error.strerror)
            return False
        before = len(self._listed)
        self._valid_after = valid_after
        self._shared_random = shared_random
        self.document = document
        self.consensus = consensus
        self._listed = frozenset(row.identity for row in consensus.relays)
        if len(self._listed) != before:
            log.info("consensus of %d relays (before: %d)", len(self._listed), before)
        return True

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
            result = self._registry.end_round(self.clock.wall())
            if result.held:
                log.warning(
                    "%d of %d checks failed: taken for a fault of our own network, the list stays",
                    result.failed,
                    result.checked,
                )
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
        self._registry.checked(descriptor, why, self.clock.wall())

    async def _sleep_until(self, wall: int) -> None:
        """Until the wall clock shows this, in naps, so that a clock set forward is noticed; and never longer
        than it looked at first, so that a clock set back does not stop the directory."""
        latest = self.clock.monotonic() + (wall - self.clock.wall())
        while self.clock.wall() < wall and self.clock.monotonic() < latest:
            await trio.sleep(min(latest - self.clock.monotonic(), _NAP_SECONDS))
