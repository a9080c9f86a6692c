"""How one side goes on with its sessions: over a circuit, or with one cell alone (SPEC 12).

A whisper of at most 256 bytes goes alone if its receipt can come by itself: the other side can call us. Then
a whisper is one circuit and one cell. A receipt in a cell of its own awaits no answer, but counts among the
steps that may be out; the last of them asks for a circuit, whose answer settles all.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.sending import Opening
from onionshh.client.reach.connect import NoStatus
from onionshh.client.receipt import PathInfo
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.resuming import Door, LastStep, MeetingTerms, resume, resume_alone, rides
from onionshh.core.delivery.record import Record, about
from onionshh.core.session.session import Session, Spent
from onionshh.ids import WhisperId
from onionshh.net.circuits import Circuit

ALONE_MOST = 256
"""Bytes of a whisper that may go in one cell."""
ALONE_KNOWN_MOST = 64
"""Whispers that went alone and wait for their receipts. The steps that may be out are fewer."""


class GoingOn:
    """`terms` draws the terms of the next circuit."""

    def __init__(self, context: Context, keeper: SessionKeeper, terms: Callable[[], MeetingTerms]) -> None:
        self._context = context
        self._keeper = keeper
        self._terms = terms
        self._alone: dict[WhisperId, tuple[Session, Spent]] = {}

    async def once(self, session: Session, door: Door, record: Record, *, alone: bool) -> Opening:
        """One try. `alone`: the record may go alone, because nothing else waits and the other side can call
        us. Raises as `resume`."""
        terms = self._terms()
        encoded = record.encode()
        small = len(record.body) <= ALONE_MOST and rides(encoded, 0)
        if alone and small:
            with suppress(LastStep):
                return await self._alone_once(session, door, record, terms)
        resumed = await resume(self._context, self._keeper, session, door, terms, encoded)
        path = path_info(resumed.joined.circuit)
        return Opening(resumed.joined, resumed.rode, (path,), session, resumed=True)

    async def _alone_once(self, session: Session, door: Door, record: Record, terms: MeetingTerms) -> Opening:
        try:
            spent, asking = await resume_alone(
                self._context, self._keeper, session, door, terms.privacy_class, record.encode()
            )
        except NoStatus:
            session.silent()
            raise
        self._alone[about(record)] = session, spent
        while len(self._alone) > ALONE_KNOWN_MOST:
            del self._alone[next(iter(self._alone))]
        return Opening(None, True, (path_info(asking),), session, resumed=True)

    async def answer(self, session: Session, door: Door, record: Record) -> JoinedCircuit | None:
        """Send a receipt, or another record that fits, in a cell of its own. If the step is the last that may
        be out, this returns a joined circuit, which nobody needs otherwise. Raises as `resume`."""
        context, keeper, terms, encoded = self._context, self._keeper, self._terms(), record.encode()
        with suppress(LastStep):
            await resume_alone(context, keeper, session, door, terms.privacy_class, encoded)
            return None
        return (await resume(context, keeper, session, door, terms, encoded)).joined

    def arrived(self, whisper: WhisperId) -> None:
        """A receipt for this whisper came. If it went alone, that answers its step."""
        session, spent = self._alone.pop(whisper, (None, None))
        if session is not None and spent is not None:
            self._keeper.answered(session, spent)

    def silent(self, whisper: WhisperId) -> None:
        """This whisper waits again. If it went alone, no receipt came in time."""
        session, _ = self._alone.pop(whisper, (None, None))
        if session is not None:
            session.silent()


def path_info(circuit: Circuit) -> PathInfo:
    """What a receipt says about a circuit."""
    return PathInfo(len(circuit.path) - 1, tuple(row.identity.hex() for row in circuit.path))
