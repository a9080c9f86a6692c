"""Brings an endpoint's descriptors to the ring: makes them, uploads them, checks what the ring has (SPEC 10).

`core/endpoint/publication.py` decides which periods need one, when and at which relays; this file does the
waiting. The current period always has a descriptor, the next one once its random value is known. Each upload
has a circuit of its own. A ring relay that is full makes us work for a place (`bidding.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio

from onionshh.client.context import Context
from onionshh.client.hosting.bidding import Bidding
from onionshh.client.hosting.introducers import Introducers
from onionshh.client.hosting.key_store import KeyStore, PeriodKeys
from onionshh.client.hosting.letter_keys import LetterKey, LetterKeys
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import ask_ring
from onionshh.core.base.patience import PUBLISH_ANSWER_SECONDS, UPLOAD_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.record import TTL_MOST_SECONDS
from onionshh.core.endpoint.descriptor import (
    EXPIRY_MOST_SECONDS,
    build_descriptor,
    check_outer_untrusted,
    next_revision,
)
from onionshh.core.endpoint.publication import ANOTHER, EXTRA_LIFE_SECONDS, Made, PublicationSchedule
from onionshh.core.endpoint.ring import responsible
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.signals import Broadcast, Poke
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from onionshh.wire.endpoint import EndpointDescriptor, IntroducerEntry, ProofWanted

logger = logging.getLogger("onionshh.client")

_FAILURES = (CircuitFailed, NetworkUnreachable, ProtocolError)

SETTLE_SECONDS = 1.0
"""What changes together is published together."""
FIRST_SETTLE_SECONDS = 2.0


class Publication:
    """Publishes for one endpoint. `overtaken` is sent when another program published under our identity.
    `receipts`: whether the endpoint sends receipts, which its descriptor tells. `letter_keys`: None if it
    takes no letters."""

    def __init__(
        self,
        context: Context,
        identity: IdentityKeys,
        key_store: KeyStore,
        introducers: Introducers,
        *,
        receipts: bool = True,
        letter_keys: LetterKeys | None = None,
    ) -> None:
        self._context = context
        self._identity = identity
        self._key_store = key_store
        self._introducers = introducers
        self._receipts = receipts
        self._letter_keys = letter_keys
        self._bidding = Bidding(context, identity, self._better_proof)
        self._schedule = PublicationSchedule(context.chance)
        self._poke = Poke()
        self.overtaken = Broadcast()

    @property
    def bidding(self) -> Bidding:
        """The work for a place on a full ring."""
        return self._bidding

    @property
    def disputed(self) -> bool:
        """Whether another program published under our identity a short while ago."""
        return self._schedule.disputed(self._now())

    @property
    def trouble(self) -> str:
        """Why a descriptor of ours may not be on the ring, in a few words; empty for no reason known."""
        efforts = [self._bidding.wanted(period) for period in self._schedule.full]
        if not efforts:
            return ""
        return f"the ring is full, and it works for a place there with an effort of {max(efforts)}"

    def lost(self) -> None:
        """The ring lost what it had taken: bring it again, with more effort if it was there lately."""
        for period in self._schedule.lost(self._now()):
            self._bid_higher(period)
        self._poke.send()

    def again(self) -> None:
        """The ring does not have what it should have: bring it a later descriptor."""
        self._schedule.again(self._now())
        self._poke.send()

    async def compare(self, found: CheckedDescriptor) -> str:
        """Act on a descriptor found on the ring, if it is not our present one. Returns what is wrong in a
        sentence, else an empty text."""
        made, keys = self._schedule.current(found.period), self._key_store.keys_of(found.period)
        if made is None or keys is None:
            return ""
        if found.descriptor.revision > keys.revision:
            return await self._go_on_from(keys, found.descriptor.revision)
        if found.descriptor.seal_key != made.seal_key:
            self.again()  # we cannot open what visitors seal to it, and no introducer is to blame
            return "the ring shows a descriptor of other keys than ours; ours is published again"
        return ""

    async def run(self) -> None:
        """Publish, until cancelled."""
        await self._first_introducers()
        async with trio.open_nursery() as nursery:
            for changed in (
                self._introducers.changed,
                self._context.keeper.changed,
                self._key_store.worn_out.wait,
            ):
                nursery.start_soon(self._follow, changed)
            nursery.start_soon(self._bidding.run)
            while True:
                try:
                    await self._look()
                except NoDirectory:
                    pass  # the keeper is fetching a new consensus, and its change pokes us
                except BadData as error:
                    logger.error("descriptors cannot be published: %s", error)
                with trio.move_on_at(self._schedule.next_deadline(self._now(), self._bidding.working)):
                    await self._poke.wait()
                await trio.sleep(SETTLE_SECONDS)  # what changes together is published together

    # Inside.

    def _now(self) -> float:
        return self._context.clock.monotonic()

    async def _first_introducers(self) -> None:
        while not self._introducers.entries:
            await self._introducers.changed()
        with trio.move_on_after(FIRST_SETTLE_SECONDS):
            while not self._introducers.complete:
                await self._introducers.changed()

    async def _follow(self, changed: Callable[[], Awaitable[None]]) -> None:
        while True:
            await changed()
            self._poke.send()

    def _better_proof(self, period: int) -> None:
        self._schedule.better_proof(period)
        self._poke.send()

    def _bid_higher(self, period: int) -> None:
        """The effort of the current descriptor was not enough."""
        made = self._schedule.current(period)
        if made is not None:
            self._bidding.higher(period, made.nonce)

    async def _look(self) -> None:
        """Publish whatever is due, and forget the periods that are over."""
        view = self._context.view
        periods = [view.period]
        if view.shared_random(view.period + 1) is not None:
            periods.append(view.period + 1)
        self._schedule.forget_before(view.period)
        self._bidding.forget_before(view.period)
        await self._key_store.forget_before(self._oldest_answered())
        for period in periods:
            await self._one(period)

    def _oldest_answered(self) -> int:
        """The previous period's keys still answer for a while after its end."""
        view = self._context.view
        into = view.consensus.valid_after % view.params.period_seconds
        return view.period - 1 if into < view.params.descriptor_grace_seconds else view.period

    async def _one(self, period: int) -> None:
        entries, now = self._introducers.entries, self._now()
        if not entries and self._schedule.current(period) is None:
            return
        keys = await self._key_store.period_keys(period)
        if self._schedule.is_due(period, entries, keys.seal.public, now, self._introducers.proof):
            made = await self._make(period, keys, self._schedule.entries_for(period, entries))
            self._schedule.made(period, made, self._context.params, self._now())
        ring = self._ring(period)
        missing = self._schedule.to_upload(period, ring, now, working=period in self._bidding.working)
        if missing:
            await self._upload(period, keys, [ring[relay] for relay in ring if relay in missing])

    def _ring(self, period: int) -> dict[RelayId, RelayRow]:
        """The relays that must hold this period's descriptor."""
        rows = responsible(self._context.view, period, self._blinded(period))
        return {row.identity: row for replica in rows or () for row in replica}

    def _blinded(self, period: int) -> bytes:
        return self._identity.blind(period, self._context.params.period_seconds).public

    async def _make(self, period: int, keys: PeriodKeys, entries: tuple[IntroducerEntry, ...]) -> Made:
        await self._key_store.set_revision(keys, next_revision(keys.revision, self._context.chance))
        nonce = self._bidding.nonce(period)
        letters = await self._letters(period)
        proof = self._introducers.proof
        document = self._build(period, keys, entries, nonce, letters, proof)
        return Made(document, entries, keys.seal.public, nonce, proof)

    async def _letters(self, period: int) -> LetterKey | None:
        """The key for letters that this period's descriptor names. None without an inbox."""
        if self._letter_keys is None:
            return None
        context = self._context
        await self._letter_keys.tidy(context.clock.earliest())
        # Seven days from the last moment at which this descriptor is the latest: the endpoint may leave then.
        lives = context.params.publish_max_seconds + EXTRA_LIFE_SECONDS + TTL_MOST_SECONDS
        most = context.view.consensus.valid_after + EXPIRY_MOST_SECONDS  # what the ring takes
        return await self._letter_keys.key_until(period, min(context.clock.best() + lives, most))

    def _build(
        self,
        period: int,
        keys: PeriodKeys,
        entries: tuple[IntroducerEntry, ...],
        nonce: bytes,
        letters: LetterKey | None,
        proof: ProofWanted | None,
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
            proof=proof,
            sends_no_receipts=not self._receipts,
            letter_key=b"" if letters is None else letters.key.public,
            letters_until=0 if letters is None else letters.until,
        )
        return build_descriptor(
            self._identity,
            descriptor,
            period=period,
            period_seconds=params.period_seconds,
            period_key=keys.signing,
            random_bytes=context.chance.bytes,
            nonce=nonce,
        )

    async def _upload(self, period: int, keys: PeriodKeys, rows: Sequence[RelayRow]) -> None:
        """Bring the current descriptor to these relays, all at once."""
        made = self._schedule.current(period)
        if made is None:
            return
        statuses: dict[RelayId, int] = {}

        async def upload(row: RelayRow) -> None:
            with trio.move_on_after(UPLOAD_SECONDS), suppress(*_FAILURES):
                statuses[row.identity] = await self._store(row, made.document)

        async with trio.open_nursery() as nursery:
            for row in rows:
                nursery.start_soon(upload, row)
        now = self._now()
        full = m.FULL in statuses.values()
        if full:
            self._bid_higher(period)
        stale = [row for row in rows if statuses.get(row.identity) == m.STALE]
        later = await self._later(period, keys, made, stale)
        if later is not None:
            await self._go_on_from(keys, later)
        self._schedule.uploaded(
            period,
            [row.identity for row in rows],
            [relay for relay, status in statuses.items() if status == m.STORED],
            now,
            full=full,
            later=later is not None,
        )

    async def _store(self, row: RelayRow, document: bytes) -> int:
        circuit = await self._context.builder.build(Purpose.PUBLISH, last=row.identity)
        try:
            body = await circuit.ask(m.PUBLISH, document, m.FOUND, PUBLISH_ANSWER_SECONDS)
            return m.Found.decode_untrusted(body).status
        finally:
            circuit.close(Reason.FINISHED)

    async def _later(self, period: int, keys: PeriodKeys, made: Made, rows: Sequence[RelayRow]) -> int | None:
        """The revision that one of these ring relays shows. They say that it is later than ours."""
        context, blinded = self._context, self._blinded(period)
        for row in rows:
            with trio.move_on_after(UPLOAD_SECONDS), suppress(*_FAILURES):
                held = await ask_ring(context, row, blinded, period, Purpose.PUBLISH)
                if held is None or held == made.document:
                    continue
                outer = check_outer_untrusted(held, wall=context.clock.earliest())
                if outer.blinded == blinded and outer.revision >= keys.revision:
                    return outer.revision
        return None

    async def _go_on_from(self, keys: PeriodKeys, revision: int) -> str:
        """The ring has a later revision than ours: go on from it. Returns whose it is, in a sentence."""
        await self._key_store.set_revision(keys, revision)
        why = self._schedule.overtaken(keys.period, self._now())
        self._poke.send()
        if why == ANOTHER:
            self.overtaken.send()
        return why
