"""How an endpoint speaks first to one peer: by the peer's way back (SPEC 12).

Without a way back, what the endpoint has to say waits until the peer comes.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.sending import NotReached, Opening
from onionshh.client.reach.connect import NoAnswer, NotIntroduced
from onionshh.client.session.going_on import GoingOn
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.resuming import Door, MeetingTerms
from onionshh.core.base.classes import ENDPOINT_HOPS, TALK
from onionshh.core.circuit.purpose import Purpose, meeting_kind
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.record import Record
from onionshh.core.session.session import Session
from onionshh.core.session.way_back import WayBack
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory
from onionshh.ids import AuthKey, WhisperId
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason

NO_WAY = "the peer cannot be called now; it waits until the peer comes"
MEETING = meeting_kind(ENDPOINT_HOPS, TALK.number, of_session=True)
UNKNOWN_MOST = 2
"""A way back whose relay does not know it so often is forgotten."""


class Calling:
    """The opener for one session. `calls_back`: whether the other side can answer to one cell."""

    def __init__(
        self,
        context: Context,
        keeper: SessionKeeper,
        session: Session,
        calls_back: Callable[[], bool] = lambda: True,
    ) -> None:
        self._calls_back = calls_back
        self._context = context
        self._keeper = keeper
        self._session = session
        self._unknown: dict[AuthKey, int] = {}
        self._going_on = GoingOn(
            context,
            keeper,
            lambda: MeetingTerms(TALK.number, MEETING, Purpose.CALL),
        )

    async def once(self, record: Record, *, more: bool) -> Opening:
        """One try. NotReached."""
        way = self._way()
        if way is None or not self._session.may_spend:
            raise NotReached(Failure(NO_WAY, nobody=True))
        try:
            alone = self._calls_back() and not more
            return await self._going_on.once(
                self._session, Door(way.relay, way.auth_key), record, alone=alone
            )
        except NotIntroduced as error:
            await self._not_introduced(way, error)
            raise NotReached(Failure(f"the peer's way back failed ({error})")) from error
        except NoAnswer as error:
            raise NotReached(Failure("the peer does not answer at its way back")) from error
        except BadData as error:
            raise NotReached(Failure(str(error), nobody=True)) from error
        except (CircuitFailed, NetworkUnreachable, NoDirectory) as error:
            raise NotReached(Failure(f"the network does not carry us there ({error})")) from error

    async def answer(self, record: Record) -> JoinedCircuit | None:
        """Send a receipt in a cell of its own. As `GoingOn.answer`, but raises CircuitFailed alone."""
        way = self._way()
        if way is None or not self._session.may_spend:
            raise CircuitFailed(Reason.NOT_CONNECTED)
        try:
            return await self._going_on.answer(self._session, Door(way.relay, way.auth_key), record)
        except NotIntroduced as error:
            await self._not_introduced(way, error)
            raise CircuitFailed(Reason.NOT_CONNECTED) from error
        except (NoAnswer, BadData, NetworkUnreachable, NoDirectory) as error:
            raise CircuitFailed(Reason.NOT_CONNECTED) from error

    def arrived(self, whisper: WhisperId) -> None:
        """As `Opener.arrived`."""
        self._going_on.arrived(whisper)

    def silent(self, whisper: WhisperId) -> None:
        """As `Opener.silent`."""
        self._going_on.silent(whisper)

    def _way(self) -> WayBack | None:
        earliest = self._context.clock.earliest()
        ways = [way for way in self._session.way_back if way.expires > earliest]
        return self._context.chance.choice(ways) if ways else None

    async def _not_introduced(self, way: WayBack, error: NotIntroduced) -> None:
        if not error.gone:
            return
        self._unknown[way.auth_key] = self._unknown.get(way.auth_key, 0) + 1
        if self._unknown[way.auth_key] >= UNKNOWN_MOST:
            del self._unknown[way.auth_key]
            self._session.way_back = tuple(other for other in self._session.way_back if other != way)
            with suppress(BadData):  # then it is forgotten with the next step that is spent
                await self._keeper.save(self._session)
