"""Checks who the senders of an endpoint's whispers are, if they want to show it (SPEC 12).

The endpoint fetches the sender's descriptor as a stranger would, over a circuit with a pinned second hop: the
sender could foresee which ring relays are asked. While a check runs, the whispers of that session are not
shown. So what a program sees as the sender of a whisper never changes.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.lanes import Lane
from onionshh.client.hosting.key_store import KeyStore
from onionshh.client.reach.finder import NoDescriptor, find_in_period
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.base.buckets import TokenBucket
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.record import Record
from onionshh.core.session.proof import Proof
from onionshh.core.session.session import Session
from onionshh.errors import BadData, Closed, NetworkUnreachable, NoDirectory
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

CHECKS_A_MINUTE = 6
CHECK_SECONDS = 30.0
"""A check that takes longer has failed: the whispers are shown without a sender."""
PERIODS_AWAY_MOST = 1


class Senders:
    """The checks of one endpoint. `held`: told when a session's whispers are held back, and when not any
    more."""

    def __init__(
        self,
        context: Context,
        own_key: bytes,
        key_store: KeyStore,
        keeper: SessionKeeper,
        held: Callable[[Session, bool], None],
    ) -> None:
        self._context = context
        self._own_key = own_key
        self._key_store = key_store
        self._keeper = keeper
        self._held = held
        self._bucket = TokenBucket(CHECKS_A_MINUTE / 60, CHECKS_A_MINUTE)
        self._checking: set[bytes] = set()

    async def prove(self, lane: Lane, session: Session, record: Record) -> None:
        """A PROVE came. Raises ProtocolError for a wrong shape. The check runs in a task of its own."""
        proof = Proof.decode_untrusted(record.body)
        if session.marks.sender or session.session_id in self._checking:
            return
        view = self._context.keeper.view  # a circuit may live on when it has expired
        if view is None or abs(proof.period - view.period) > PERIODS_AWAY_MOST:
            self._context.drops.count(Reason.PROVE_WRONG)
            return
        if not self._bucket.take(self._context.clock.monotonic()):
            self._context.drops.count(Reason.PROVE_RATE)
            return
        self._checking.add(session.session_id)
        self._held(session, True)
        self._context.nursery.start_soon(self._check, session, proof)

    async def _check(self, session: Session, proof: Proof) -> None:
        try:
            with trio.move_on_after(CHECK_SECONDS):
                if await self._holds(session, proof):
                    session.marks.sender = proof.sender
                    if self._keeper.get(session.session_id) is session:
                        await self._keeper.save(session)
        except (BadData, Closed) as error:
            logger.error("it could not be kept who the sender of a session is: %s", error)
        finally:
            self._checking.discard(session.session_id)
            self._held(session, False)

    async def _holds(self, session: Session, proof: Proof) -> bool:
        keys = self._key_store.keys_of(proof.period)
        try:
            found = await find_in_period(self._context, proof.sender, proof.period, Purpose.PROVE)
        except (NoDescriptor, CircuitFailed, NetworkUnreachable, NoDirectory):
            return False
        theirs = found.descriptor.rendezvous_key
        if keys is None or not proof.holds(
            session.session_id, receiver=self._own_key, ours=keys.rendezvous, theirs=theirs
        ):
            self._context.drops.count(Reason.PROVE_WRONG)
            return False
        return True
