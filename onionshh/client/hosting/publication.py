"""An endpoint's descriptors on the ring: which periods, when, to whom (SPEC 10).

The current period's always and the next one's once its random value is known, each on a timer of its own,
at once when the introducers change or the ring does, each upload over its own circuit. What a ring relay
did not take is tried again; one that is full makes us work for a place (`bidding.py`).

A ring that has not what we published is published to again at once, and while that goes on at longer and
longer intervals. When it has a later revision than ours we go on from that one. Until a round of uploads
met none, that is our own past, on a disk that is older than what we published. Afterwards it can only be
another program with our identity.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.bidding import Bidding
from onionshh.client.hosting.introducers import Introducers
from onionshh.client.hosting.key_store import KeyStore, PeriodKeys
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import ask_ring
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.endpoint.descriptor import (
    EXPIRY_MOST_SECONDS,
    build_descriptor,
    check_outer_untrusted,
    next_revision,
)
from onionshh.core.endpoint.ring import responsible
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from onionshh.wire.endpoint import EndpointDescriptor, IntroducerEntry

logger = logging.getLogger("onionshh.client")

_FAILURES = (CircuitFailed, NetworkUnreachable, ProtocolError)

ANSWER_SECONDS = 20.0
UPLOAD_SECONDS = 60.0
"""For one upload in all: offline, a circuit alone would wait for ever."""
SETTLE_SECONDS = 1.0
FIRST_SETTLE_SECONDS = 2.0
RETRY_SECONDS = 5.0
RETRY_MOST_SECONDS = 120.0
EXTRA_LIFE_SECONDS = 3600
AGAIN_SECONDS = 5.0
AGAIN_MOST_SECONDS = 600.0
AGAIN_OVER_SECONDS = 1800.0
"""When the ring had what we published for so long, the next time is a first time again."""
LOST_SOON_SECONDS = 3600.0
"""What the ring loses within this time was displaced, unless its relays were restarted."""

ANOTHER = (
    "another program runs with this identity, and the ring has a later descriptor, which is not ours;"
    " end one of the two"
)


@dataclass(slots=True)
class _Published:
    """What stands on the ring for one period, and where."""

    document: bytes
    entries: tuple[IntroducerEntry, ...]
    keys: PeriodKeys
    due: float
    """Monotonic seconds of the timer."""
    nonce: bytes
    stored: set[RelayId] = field(default_factory=set)
    stored_at: float = -math.inf
    full: bool = False
    """Whether the last round met a ring relay without a place for it."""
    retry_at: float = 0.0
    retry_wait: float = RETRY_SECONDS


class Publication:
    """One endpoint's."""

    def __init__(
        self, context: Context, identity: IdentityKeys, key_store: KeyStore, introducers: Introducers
    ) -> None:
        self._context = context
        self._identity = identity
        self._keys = key_store
        self._introducers = introducers
        self._bidding = Bidding(context, identity, self._better_proof)
        self._periods: dict[int, _Published] = {}
        self._undisputed: set[int] = set()
        """Periods in which a round of uploads met no later revision."""
        self._again_at = -math.inf
        self._again_wait = AGAIN_SECONDS
        self._overtaken_at = -math.inf
        self._poke = trio.Event()
        self._stored = trio.Event()
        self.overtaken: Callable[[], None] = lambda: None
        """Called when another program with our identity has published."""

    def poke(self) -> None:
        """Look again what is due."""
        self._poke.set()

    @property
    def disputed(self) -> bool:
        """Whether another program published under our identity a short while ago."""
        return self._context.clock.monotonic() < self._overtaken_at + AGAIN_OVER_SECONDS

    @property
    def trouble(self) -> str:
        """Why a descriptor of ours may not be on the ring, in a few words; empty for no reason known."""
        efforts = [self._bidding.wanted(period) for period, one in self._periods.items() if one.full]
        if not efforts:
            return ""
        return f"the ring is full, and it works for a place there with an effort of {max(efforts)}"

    def lost(self) -> None:
        """The ring has not what it had taken: bring it again, for a higher price if it was there lately."""
        now = self._context.clock.monotonic()
        for period, published in self._periods.items():
            if now < published.stored_at + LOST_SOON_SECONDS:
                self._bidding.higher(period, published.nonce)
        self.again()

    def again(self) -> None:
        """The ring has not what it should have: bring it a later one."""
        due = self._soon()
        for published in self._periods.values():
            published.due = min(published.due, due)
        self._poke.set()

    async def compare(self, found: CheckedDescriptor) -> str:
        """Act on what the ring shows of us when it is not ours, or not ours any more; a sentence then."""
        published = self._periods.get(found.period)
        if published is None:
            return ""
        if found.descriptor.revision > published.keys.revision:
            return await self._go_on_from(found.period, published, found.descriptor.revision)
        if found.descriptor.seal_key != published.keys.seal.public:
            self.again()  # what a visitor seals to it opens no more, and no introducer is to blame
            return "the ring shows a descriptor of other keys than ours; ours is published again"
        return ""

    async def stored(self) -> None:
        """Until the current period's descriptor lies on at least one ring relay."""
        await self._stored.wait()

    async def run(self) -> None:
        """Publish, for ever."""
        await self._first_introducers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, self._introducers.changed)
            nursery.start_soon(self._watch, self._context.keeper.changed)
            nursery.start_soon(self._bidding.run)
            while True:
                self._poke = trio.Event()
                try:
                    await self._look()
                except NoDirectory:
                    pass  # the keeper is after a new consensus, and its change pokes us
                except BadData as error:
                    logger.error("descriptors cannot be published: %s", error)
                with trio.move_on_at(self._next()):
                    await self._poke.wait()
                await trio.sleep(SETTLE_SECONDS)  # what changes together is published together

    # Inside.

    async def _first_introducers(self) -> None:
        while not self._introducers.entries:
            await self._introducers.changed()
        with trio.move_on_after(FIRST_SETTLE_SECONDS):
            while not self._introducers.complete:
                await self._introducers.changed()

    async def _watch(self, changed: Callable[[], Awaitable[None]]) -> None:
        while True:
            await changed()
            self._poke.set()

    def _next(self) -> float:
        return min(
            (
                one.due if self._bidding.working(period) else min(one.due, one.retry_at or one.due)
                for period, one in self._periods.items()
            ),
            default=self._context.clock.monotonic() + RETRY_SECONDS,
        )

    def _soon(self) -> float:
        """When to publish out of turn: now, if it was quiet, else later and later."""
        now = self._context.clock.monotonic()
        if self._again_at > now:
            return self._again_at
        if now > self._again_at + AGAIN_OVER_SECONDS:
            self._again_at, self._again_wait = now, AGAIN_SECONDS
        else:
            self._again_at = max(now, self._again_at + self._again_wait)
            self._again_wait = min(2 * self._again_wait, AGAIN_MOST_SECONDS)
        return self._again_at

    def _better_proof(self, period: int) -> None:
        published = self._periods.get(period)
        if published is not None:
            published.due = 0.0
            self._poke.set()

    async def _look(self) -> None:
        """Publish whatever is due, and forget the periods that are over."""
        view = self._context.view
        periods = [view.period]
        if view.shared_random(view.period + 1) is not None:
            periods.append(view.period + 1)
        for period in [one for one in self._periods if one < view.period]:
            del self._periods[period]
            self._undisputed.discard(period)
        self._bidding.forget_before(view.period)
        await self._keys.forget_before(self._oldest_answered())
        for period in periods:
            await self._one(period)

    def _oldest_answered(self) -> int:
        """The previous period's keys still answer for a while after its end."""
        view = self._context.view
        into = view.consensus.valid_after % view.params.period_seconds
        return view.period - 1 if into < view.params.descriptor_grace_seconds else view.period

    async def _one(self, period: int) -> None:
        context = self._context
        now = context.clock.monotonic()
        entries = self._introducers.entries
        published = self._periods.get(period)
        if not entries and published is None:
            return
        keys = await self._keys.period_keys(period)
        if (
            published is None
            or now >= published.due
            or (entries and set(entries) != set(published.entries))
            or published.keys is not keys
        ):
            # With no introducer left, what stands on the ring is as good as anything: wait for a new one.
            entries = entries or (published.entries if published is not None else ())
            published = self._periods[period] = await self._make(period, keys, entries)
        wanted = self._wanted(period)
        missing = [row for row in wanted if row.identity not in published.stored]
        new_ring = not published.retry_at
        if missing and (new_ring or (now >= published.retry_at and not self._bidding.working(period))):
            await self._upload(period, published, missing)

    def _wanted(self, period: int) -> list[RelayRow]:
        blinded = self._identity.blind(period, self._context.params.period_seconds).public
        rows = responsible(self._context.view, period, blinded)
        distinct = {row.identity: row for replica in rows or () for row in replica}
        return list(distinct.values())

    async def _make(self, period: int, keys: PeriodKeys, entries: tuple[IntroducerEntry, ...]) -> _Published:
        context = self._context
        params = context.params
        await self._keys.set_revision(keys, next_revision(keys.revision, context.chance))
        now = context.clock.monotonic()
        wait = context.chance.between(params.publish_min_seconds, params.publish_max_seconds)
        wait = min(wait, EXPIRY_MOST_SECONDS - EXTRA_LIFE_SECONDS)
        nonce = self._bidding.nonce(period)
        return _Published(self._build(period, keys, entries, nonce), entries, keys, now + wait, nonce)

    def _build(
        self, period: int, keys: PeriodKeys, entries: tuple[IntroducerEntry, ...], nonce: bytes
    ) -> bytes:
        context = self._context
        params = context.params
        end_of_period = (period + 1) * params.period_seconds + params.descriptor_grace_seconds
        wall = context.clock.best()
        # A descriptor for the next period must still be good when that begins.
        begins = max(wall, period * params.period_seconds)
        lives = begins + params.publish_max_seconds + EXTRA_LIFE_SECONDS
        expiry = min(lives, end_of_period, wall + EXPIRY_MOST_SECONDS)
        descriptor = EndpointDescriptor(
            revision=keys.revision,
            expiry=expiry,
            rendezvous_key=keys.rendezvous.public,
            seal_key=keys.seal.public,
            introducers=entries,
            P=self._identity.P,
            pq_public=self._identity.pq_public,
        )
        return build_descriptor(
            self._identity,
            descriptor,
            period=period,
            period_seconds=params.period_seconds,
            period_key=keys.signing,
            expiry=expiry,
            random_bytes=context.chance.bytes,
            nonce=nonce,
        )

    async def _upload(self, period: int, published: _Published, rows: list[RelayRow]) -> None:
        statuses: dict[RelayId, int] = {}

        async def one(row: RelayRow) -> None:
            with trio.move_on_after(UPLOAD_SECONDS), suppress(*_FAILURES):
                statuses[row.identity] = await self._store(row, published.document)

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(one, row)
        now = self._context.clock.monotonic()
        stored = {relay for relay, status in statuses.items() if status == m.STORED}
        stale = [row for row in rows if statuses.get(row.identity) == m.STALE]
        published.full = m.FULL in statuses.values()
        if stored:
            published.stored |= stored
            published.stored_at = now
        if published.full:
            self._bidding.higher(period, published.nonce)
        if not await self._later(period, published, stale) and stored:
            self._undisputed.add(period)
        if published.stored.issuperset(row.identity for row in rows):
            published.retry_at, published.retry_wait = 0.0, RETRY_SECONDS
        else:
            published.retry_at = now + published.retry_wait
            published.retry_wait = min(2 * published.retry_wait, RETRY_MOST_SECONDS)
        if published.stored and period == self._context.view.period:
            self._stored.set()

    async def _store(self, row: RelayRow, document: bytes) -> int:
        circuit = await self._context.builder.build(Purpose.PUBLISH, last=row.identity)
        try:
            body = await circuit.ask(m.PUBLISH, document, m.FOUND, ANSWER_SECONDS)
            return m.Found.decode_untrusted(body).status
        finally:
            circuit.close("published")

    async def _later(self, period: int, published: _Published, rows: list[RelayRow]) -> bool:
        """Ring relays say that they know a later revision than ours: whether one shows it, and we go on."""
        context = self._context
        blinded = self._identity.blind(period, context.params.period_seconds).public
        for row in rows:
            with trio.move_on_after(UPLOAD_SECONDS), suppress(*_FAILURES):
                held = await ask_ring(context, row, blinded, period, Purpose.PUBLISH)
                if held is None or held == published.document:
                    continue
                outer = check_outer_untrusted(held, wall=context.clock.earliest())
                if outer.blinded == blinded and outer.revision >= published.keys.revision:
                    await self._go_on_from(period, published, outer.revision)
                    return True
        return False

    async def _go_on_from(self, period: int, published: _Published, revision: int) -> str:
        """The ring has a later revision than ours; why, in a sentence."""
        await self._keys.set_revision(published.keys, revision)
        self.again()
        if period not in self._undisputed:
            return "the ring has a later descriptor than its own, from before"
        self._overtaken_at = self._context.clock.monotonic()
        self.overtaken()
        return ANOTHER
