"""Goes on with a session: one RESUME over fresh circuits, and perhaps a joined circuit (SPEC 12).

Both circuits are made side by side, and only then a step is spent. If anything fails after that, nothing of
the try is used again: the next try has a new step, a new point and new paths.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.reach.connect import NoAnswer, NoStatus, both, establish, introduce, to_introducer
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.steps import InWords, steps
from onionshh.core.base.patience import RENDEZVOUS_SECONDS
from onionshh.core.circuit.purpose import PathKind, Purpose
from onionshh.core.session.resumption import Resumption, record_most
from onionshh.core.session.session import Session, Spent
from onionshh.errors import ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason


@dataclass(frozen=True, slots=True)
class Door:
    """Where the other side takes a RESUME: one of its introducers, or one of its ways back."""

    relay: RelayId
    auth_key: AuthKey


@dataclass(frozen=True, slots=True)
class MeetingTerms:
    """The class, and what a circuit to the rendezvous point looks like and is for."""

    privacy_class: int
    meeting: PathKind
    purpose: Purpose = Purpose.RENDEZVOUS


@dataclass(frozen=True, slots=True)
class Resumed:
    """What one resumption led to. `rode`: whether the record went with it."""

    joined: JoinedCircuit
    rode: bool


class LastStep(Exception):
    """The next step is the last that may be out without an answer, so it must ask for a circuit."""


def rides(record: bytes, legs: int) -> bool:
    """Whether a RESUME with so many legs can carry this encoded record."""
    return len(record) <= record_most(legs)


async def resume(
    context: Context, keeper: SessionKeeper, session: Session, door: Door, terms: MeetingTerms, record: bytes
) -> Resumed:
    """A joined circuit to the other side. `record` rides along if it fits.

    The session is told of the answer, or of the silence: an introducer that says nothing, or closes the
    circuit, is a silence too. Raises PathImpossible (of the meeting circuit only),
    NotIntroduced, NoAnswer, CircuitFailed, NetworkUnreachable, BadData, Closed.
    """
    meeting: Circuit | None = None
    asking: Circuit | None = None
    try:
        meeting, asking = await both(
            lambda: context.pool.take(terms.purpose, terms.meeting),
            lambda: to_introducer(context, door.relay, Purpose.RESUME),
        )
        await _turn(context, session)
        if not session.may_spend:  # others have spent steps while the circuits were being built
            raise NoAnswer
        spent, step = await keeper.spend(session)
        await establish(meeting, step.leg(0).cookie)
        rode = rides(record, 1)
        resumption = Resumption(terms.privacy_class, (meeting.path[-1].identity,), record if rode else b"")
        steps.debug("we wait for the other side at %s", InWords(meeting))
        try:
            await introduce(asking, step.seal(door.auth_key, resumption))
        except NoStatus:
            session.silent()
            raise
        steps.debug("the session goes on: one cell through %s", InWords(asking))
        asking.close(Reason.FINISHED)
        with trio.move_on_after(RENDEZVOUS_SECONDS):
            answer = await meeting.receive()
            keys = step.finish_untrusted(0, answer.body)
            steps.debug("the other side has come to the meeting")
            joined = context.joined(meeting, keys, as_visitor=True)
            session.history.exchanges += 1
            session.history.resumed += 1
            keeper.answered(session, spent)
            return Resumed(joined, rode)
        session.silent()
        raise NoAnswer
    except BaseException as error:
        for circuit in (meeting, asking):
            if circuit is not None:
                circuit.close(Reason.NOT_CONNECTED)
        if isinstance(error, ProtocolError):
            context.drops.count(error.reason)
            raise CircuitFailed(error.reason) from error
        raise


async def _turn(context: Context, session: Session) -> None:
    """Wait until this session may ask for one more circuit: the other side would not build it before that."""
    bucket, clock = session.budgets.ours, context.clock
    while not bucket.take(clock.monotonic()):
        await trio.sleep(bucket.seconds_until(clock.monotonic()) + context.chance.between(0.0, 1.0))


async def resume_alone(
    context: Context, keeper: SessionKeeper, session: Session, door: Door, privacy_class: int, record: bytes
) -> tuple[Spent, Circuit]:
    """One cell with a record, and nothing comes back the same way. Returns the step, so that whoever hears of
    the record later can tell the session, and the circuit that was used.

    Raises LastStep, NoStatus, NotIntroduced, CircuitFailed, NetworkUnreachable, BadData, Closed.
    """
    asking = await to_introducer(context, door.relay, Purpose.RESUME)
    try:
        if session.last_without_answer:  # as it may be by now: others have spent steps meanwhile
            raise LastStep
        spent, step = await keeper.spend(session)
        resumption = Resumption(privacy_class, (), record)
        await introduce(asking, step.seal(door.auth_key, resumption))
        steps.debug("the session goes on: one cell with everything in it, through %s", InWords(asking))
        return spent, asking
    finally:
        asking.close(Reason.FINISHED)
