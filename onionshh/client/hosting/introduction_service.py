"""Answers an endpoint's introductions: replay log, seal, and a circuit to the visitor's point (SPEC 11).

The order is fixed: check the sealed bytes against the log, open the seal, check the seed against the log, put
both on disk, and only then build a circuit. A stranger chose where the circuit leads, so each introduction
has one budget: two circuits and MEETING_SECONDS. The second circuit carries exactly the same bytes. No
rendezvous point holds the places of others (`client/hosting/places.py`).
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.hosting.key_store import KeyStore, PeriodKeys
from onionshh.client.hosting.places import NoPlace, Places
from onionshh.client.steps import InWords, steps
from onionshh.core.base.patience import MEETING_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.record import Record
from onionshh.core.endpoint.introduce import EndToEndKeys, Opened, answer, open_introduction_untrusted
from onionshh.core.session.session import Session
from onionshh.crypto.identity import IdentityKeys
from onionshh.crypto.primitives import sha3_256
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow

logger = logging.getLogger("onionshh.client")

AT_ONCE = 32
WAITING_MOST = 32
OPENING_MOST = 64
"""Introductions that wait for the disk."""
TRIES = 2
LookedAt = Callable[[bool | None], None]
"""Called once it is known whether what came was for us and new; with None if that says nothing of who brought
it."""


class IntroductionService:
    """The service of one endpoint. `serve` gets each joined circuit, with the record that rode along, and the
    session if the visitor asked for one. `resumed` gets each RESUME, as `Accepting.resumed` does."""

    def __init__(
        self,
        context: Context,
        identity: IdentityKeys,
        key_store: KeyStore,
        serve: Callable[[JoinedCircuit, Record | None, Session | None], None],
        resumed: Callable[[m.Resume, LookedAt], Awaitable[None]],
    ) -> None:
        self._context = context
        self._identity = identity
        self._key_store = key_store
        self._serve = serve
        self._resumed = resumed
        self._places = Places(AT_ONCE, WAITING_MOST)
        self._opening = 0
        self._expected: dict[bytes, trio.Event] = {}
        """Keyed by the seeds of our own tests of reachability."""

    @property
    def expected(self) -> int:
        """How many tests of our own are under way."""
        return len(self._expected)

    @contextmanager
    def expect(self, seed: bytes) -> Iterator[trio.Event]:
        """A test of our own is sent within the block. The event is set when it arrives."""
        arrived = self._expected[seed] = trio.Event()
        try:
            yield arrived
        finally:
            self._expected.pop(seed, None)

    async def introduced(self, body: bytes, auth_key: bytes, looked_at: LookedAt = lambda good: None) -> None:
        """An INTRODUCE2 came over the circuit known by `auth_key`. `looked_at` is called once it is known
        whether it was for us and new, with None if there was no room to look. The meeting comes after that.
        Nothing is raised for a bad one."""
        try:
            message = m.introduced_untrusted(body)
            if isinstance(message, m.Resume):
                await self._resumed(message, looked_at)
                return
            unsealed = await self._look(message, auth_key, looked_at)
            if unsealed is not None:
                introduction = self._prepare(unsealed)
                with trio.fail_after(MEETING_SECONDS):
                    await self._meet(introduction)
        except ProtocolError as error:
            self._context.drops.count(error.reason)
        except NoPlace:
            self._context.drops.count(Reason.INTRODUCTIONS_WAITING)
        except trio.TooSlowError:
            self._context.drops.count(Reason.RENDEZVOUS_TIMEOUT)
        except (CircuitFailed, NetworkUnreachable, NoDirectory):
            self._context.drops.count(Reason.RENDEZVOUS_FAILED)
        except BadData as error:
            logger.error("an introduction could not be kept: %s", error)

    async def _look(self, message: m.Introduce, auth_key: bytes, looked_at: LookedAt) -> _Unsealed | None:
        good: bool | None = None
        try:
            if self._opening >= OPENING_MOST:
                raise NoPlace
            self._opening += 1
            try:
                unsealed = await self._unseal(message, auth_key)
            finally:
                self._opening -= 1
            good = True
        except ProtocolError:
            good = False
            raise
        finally:
            looked_at(good)
        return unsealed

    async def _unseal(self, message: m.Introduce, auth_key: bytes) -> _Unsealed | None:
        """What was sealed for us, now in the log and on disk. None for a test of our own. ProtocolError."""
        if message.auth_key != auth_key:
            raise ProtocolError(Reason.INTRODUCE_AUTH_KEY)
        keys = self._key_store.named(message.period_byte)
        if keys is None:
            raise ProtocolError(Reason.INTRODUCE_PERIOD)
        sealed_hash = sha3_256(message.sealed)
        if keys.replay.seen(sealed_hash):
            raise ProtocolError(Reason.INTRODUCE_REPLAYED)
        params = self._context.params
        subcredential = self._identity.blind(keys.period, params.period_seconds).subcredential
        opened = open_introduction_untrusted(message, keys.seal, subcredential)
        # Only what could be opened fills the log: junk from a stranger must not wear it out.
        if not keys.replay.check_and_add(opened.seed) or not keys.replay.check_and_add(sealed_hash):
            raise ProtocolError(Reason.INTRODUCE_REPLAYED)
        await self._key_store.remember(keys, sealed_hash, opened.seed)
        tested = self._expected.pop(opened.seed, None)
        if tested is not None:
            tested.set()
            return None
        return _Unsealed(opened, keys, subcredential)

    def _prepare(self, unsealed: _Unsealed) -> _Introduction:
        """The introduction to answer. ProtocolError."""
        opened = unsealed.opened
        if len(opened.rendezvous_points) > 1:
            raise ProtocolError(Reason.INTRODUCE_LEGS)
        record = Record.decode_untrusted(opened.record) if opened.record else None
        point = self._context.view.any_relay(opened.rendezvous_points[0])
        if point is None:
            raise ProtocolError(Reason.RENDEZVOUS_UNKNOWN_RELAY)
        reply, end_to_end = answer(
            opened,
            rendezvous_keys=unsealed.keys.rendezvous,
            subcredential=unsealed.subcredential,
            random_bytes=self._context.chance.bytes,
        )
        session = None
        if opened.keep_session:
            wall = self._context.clock.best()
            session = Session.started(
                end_to_end.root, introduced=False, period=unsealed.keys.period, wall=wall
            )
        return _Introduction(point, reply, end_to_end, record, session)

    async def _meet(self, introduction: _Introduction) -> None:
        """Build a circuit to the rendezvous point, and answer there."""
        context, point = self._context, introduction.point
        async with self._places.take(point.identity):
            circuit = await context.pool.to(Purpose.ANSWER, point, tries=TRIES)
            circuit.accept()
            circuit.send(m.RENDEZVOUS1, introduction.reply)
            steps.debug("a visitor introduced itself: we meet it at %s", InWords(circuit))
            joined = context.joined(circuit, introduction.keys, as_visitor=False)
        self._serve(joined, introduction.record, introduction.session)


@dataclass(frozen=True, slots=True)
class _Unsealed:
    """An introduction that was opened and is new."""

    opened: Opened
    keys: PeriodKeys
    subcredential: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Introduction:
    """An introduction that can be answered. `reply`: the RENDEZVOUS1; `record` rode along."""

    point: RelayRow
    reply: bytes = field(repr=False)
    keys: EndToEndKeys = field(repr=False)
    record: Record | None = field(repr=False)
    session: Session | None
