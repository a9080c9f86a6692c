"""Answers RESUMEs: those that an endpoint's introducers bring, and those that come by a way back (SPEC 12).

The order is fixed: look the tag up, open the cell, burn the tag and sync that, and only then act. What can be
asked for is bounded: a session may have one circuit in five seconds, and eight at once. Beyond that the
record is taken, and no circuit is built. Besides, resumptions have places of their own, so introductions and
resumptions never wait for each other.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.hosting.places import NoPlace, Places
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.steps import InWords, steps
from onionshh.core.base.patience import MEETING_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.record import Record
from onionshh.core.session.resumption import ANSWER_SALT
from onionshh.core.session.session import Session
from onionshh.core.session.table import Accepted
from onionshh.errors import BadData, CryptoError, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m

logger = logging.getLogger("onionshh.client")

AT_ONCE = 32
WAITING_MOST = 32
LOOKING_MOST = 64
"""RESUMEs whose tags are being burned on disk."""
TRIES = 2


class Serves(Protocol):
    """Takes what a RESUME led to: a joined circuit, or None if its record came alone. `record`: the one that
    came with it."""

    def __call__(self, joined: JoinedCircuit | None, session: Session, record: Record | None, /) -> None: ...


class Accepting:
    """Answers the RESUMEs of one endpoint or contact."""

    def __init__(self, context: Context, keeper: SessionKeeper, serve: Serves) -> None:
        self._context = context
        self._keeper = keeper
        self._serve = serve
        self._places = Places(AT_ONCE, WAITING_MOST)
        self._looking = 0

    async def resumed(
        self, message: m.Resume, looked_at: Callable[[bool | None], None] = lambda good: None
    ) -> None:
        """A RESUME came. `looked_at` is called once it is known whether it was for us and new, with None if
        that says nothing about who brought it. The meeting comes after that. Nothing is raised for a bad
        one."""
        try:
            accepted = await self._look(message, looked_at)
            if accepted is not None:
                await self._act(accepted)
        except ProtocolError as error:
            self._context.drops.count(error.reason)
        except NoPlace:
            self._context.drops.count(Reason.RESUMES_WAITING)
        except trio.TooSlowError:
            self._context.drops.count(Reason.RENDEZVOUS_TIMEOUT)
        except (CircuitFailed, NetworkUnreachable, NoDirectory):
            self._context.drops.count(Reason.RENDEZVOUS_FAILED)
        except BadData as error:
            logger.error("a session could not go on: %s", error)

    async def _look(self, message: m.Resume, looked_at: Callable[[bool | None], None]) -> Accepted | None:
        good: bool | None = None
        try:
            if self._looking >= LOOKING_MOST:
                raise NoPlace
            self._looking += 1
            try:
                accepted = await self._keeper.accept(message)
            finally:
                self._looking -= 1
            if accepted is None:
                # Anyone who knows the address can make up a tag, so the introducer is not to blame.
                self._context.drops.count(Reason.RESUME_UNKNOWN)
            else:
                good = True
        except CryptoError:
            good = False  # the tag was right, so whoever brought it changed the cell
            raise ProtocolError(Reason.RESUME_OPEN) from None
        finally:
            looked_at(good)
        return accepted

    async def _act(self, accepted: Accepted) -> None:
        resumption, session = accepted.resumption, accepted.session
        record = Record.decode_untrusted(resumption.record) if resumption.record else None
        if not resumption.rendezvous_points:
            steps.debug("a session goes on with one cell that says everything")
            self._serve(None, session, record)
            return
        if not session.budgets.theirs.take(self._context.clock.monotonic()):
            self._context.drops.count(Reason.RESUME_BUDGET)
            self._serve(None, session, record)
            return
        with trio.fail_after(MEETING_SECONDS):
            joined = await self._meet(accepted)
        self._serve(joined, session, record)

    async def _meet(self, accepted: Accepted) -> JoinedCircuit:
        """Build a circuit to the rendezvous point, and answer there. The tries carry the same bytes."""
        context = self._context
        point = context.view.any_relay(accepted.resumption.rendezvous_points[0])
        if point is None:
            raise ProtocolError(Reason.RENDEZVOUS_UNKNOWN_RELAY)
        reply, keys = accepted.step.answer(0, context.chance.bytes(ANSWER_SALT))
        async with self._places.take(point.identity):
            circuit = await context.pool.to(Purpose.ANSWER, point, tries=TRIES)
            circuit.accept()
            circuit.send(m.RENDEZVOUS1, reply)
            steps.debug("a session goes on: we meet the other side at %s", InWords(circuit))
            return context.joined(circuit, keys, as_visitor=False)
