"""An endpoint's descriptors on the ring: which periods, when, to whom (SPEC 10).

The current period's always and the next one's once its random value is known, each on a timer of its own,
at once when the introducers change or the ring does, each upload over its own circuit. What a ring relay
did not take is tried again; one that knows a later revision makes us go on from that one.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from onionshh.client.context import Context
from onionshh.client.finder import ask_ring
from onionshh.client.introducers import Introducers
from onionshh.client.vault import PeriodKeys, Vault
from onionshh.core.publish import build_descriptor, check_outer_untrusted, next_revision
from onionshh.core.ring import responsible
from onionshh.crypto.identity import Identity
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from onionshh.wire.endpoint import EndpointDescriptor, IntroducerEntry

logger = logging.getLogger("onionshh.client")

ANSWER_SECONDS = 20.0
SETTLE_SECONDS = 1.0
FIRST_SETTLE_SECONDS = 2.0
RETRY_SECONDS = 5.0
RETRY_MOST_SECONDS = 120.0
EXTRA_LIFE_SECONDS = 3600


@dataclass(slots=True)
class _Published:
    """What stands on the ring for one period, and where."""

    document: bytes
    entries: tuple[IntroducerEntry, ...]
    keys: PeriodKeys
    due: float
    """Monotonic seconds of the timer."""
    stored: set[RelayId] = field(default_factory=set)
    retry_at: float = 0.0
    retry_wait: float = RETRY_SECONDS


class Publication:
    """One endpoint's."""

    def __init__(self, context: Context, identity: Identity, vault: Vault, introducers: Introducers) -> None:
        self._context = context
        self._identity = identity
        self._vault = vault
        self._introducers = introducers
        self._periods: dict[int, _Published] = {}
        self._poke = trio.Event()
        self._stored = trio.Event()

    def poke(self) -> None:
        """Look again what is due."""
        self._poke.set()

    def again(self) -> None:
        """The ring has lost what it had taken: bring it there once more."""
        for published in self._periods.values():
            if not published.retry_at:
                published.stored.clear()
        self._poke.set()

    async def stored(self) -> None:
        """Until the current period's descriptor lies on at least one ring relay."""
        await self._stored.wait()

    async def run(self) -> None:
        """Publish, for ever."""
        await self._first_introducers()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch, self._introducers.changed)
            nursery.start_soon(self._watch, self._context.keeper.changed)
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
            (min(one.due, one.retry_at or one.due) for one in self._periods.values()),
            default=self._context.clock.monotonic() + RETRY_SECONDS,
        )

    async def _look(self) -> None:
        """Publish whatever is due, and forget the periods that are over."""
        view = self._context.view
        periods = [view.period]
        if view.shared_random(view.period + 1) is not None:
            periods.append(view.period + 1)
        for period in [one for one in self._periods if one < view.period]:
            del self._periods[period]
        await self._vault.forget_before(self._oldest_answered())
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
        keys = await self._vault.period_keys(period)
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
        if missing and (new_ring or now >= published.retry_at):
            await self._upload(period, published, missing)

    def _wanted(self, period: int) -> list[RelayRow]:
        blinded = self._identity.blind(period, self._context.params.period_seconds).public
        rows = responsible(self._context.view, period, blinded)
        distinct = {row.identity: row for replica in rows or () for row in replica}
        return list(distinct.values())

    async def _make(self, period: int, keys: PeriodKeys, entries: tuple[IntroducerEntry, ...]) -> _Published:
        context = self._context
        params = context.params
        await self._vault.set_revision(keys, next_revision(keys.revision, context.chance))
        now = context.clock.monotonic()
        wait = context.chance.between(params.publish_min_seconds, params.publish_max_seconds)
        return _Published(self._build(period, keys, entries), entries, keys, now + wait)

    def _build(self, period: int, keys: PeriodKeys, entries: tuple[IntroducerEntry, ...]) -> bytes:
        context = self._context
        params = context.params
        end_of_period = (period + 1) * params.period_seconds + params.descriptor_grace_seconds
        lives = context.clock.wall() + params.publish_max_seconds + EXTRA_LIFE_SECONDS
        # A descriptor for the next period must still be good when that begins.
        begins = max(0, period * params.period_seconds - context.clock.wall())
        expiry = min(lives + begins, end_of_period)
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
        )

    async def _upload(self, period: int, published: _Published, rows: list[RelayRow]) -> None:
        stale: list[RelayRow] = []

        async def one(row: RelayRow) -> None:
            try:
                status = await self._store(row, published.document)
            except (CircuitFailed, NetworkUnreachable, ProtocolError):
                return
            if status == m.STORED:
                published.stored.add(row.identity)
            elif status == m.STALE:
                stale.append(row)

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(one, row)
        if stale:
            await self._go_on_from(period, published, stale[0])
        now = self._context.clock.monotonic()
        if published.stored.issuperset(row.identity for row in rows):
            published.retry_at, published.retry_wait = 0.0, RETRY_SECONDS
        else:
            published.retry_at = now + published.retry_wait
            published.retry_wait = min(2 * published.retry_wait, RETRY_MOST_SECONDS)
        if published.stored and period == self._context.view.period:
            self._stored.set()

    async def _store(self, row: RelayRow, document: bytes) -> int:
        circuit = await self._context.builder.build(self._context.kinds.holding, "publish", last=row.identity)
        try:
            body = await circuit.ask(m.PUBLISH, document, m.FOUND, ANSWER_SECONDS)
            return m.Found.decode_untrusted(body).status
        finally:
            circuit.close("published")

    async def _go_on_from(self, period: int, published: _Published, row: RelayRow) -> None:
        """A ring relay knows a later revision than ours: our disk is older than what we published."""
        context = self._context
        blinded = self._identity.blind(period, context.params.period_seconds).public
        try:
            held = await ask_ring(context, row, blinded, period, context.kinds.holding)
            if held is None:
                return
            revision = check_outer_untrusted(held, wall=context.clock.wall()).revision
        except (CircuitFailed, NetworkUnreachable, ProtocolError):
            return
        if revision >= published.keys.revision:
            await self._vault.set_revision(published.keys, revision)
        published.due = 0.0
        self._poke.set()
