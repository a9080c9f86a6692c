"""The way to one endpoint: go on with a session, or find its descriptor and introduce ourselves (SPEC 10, 11,
12).

Each call is one try. Kept between calls: the descriptor, and which of its introducers failed since the last
success.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from onionshh.client.context import Context
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.delivery.sending import NotReached, Opening
from onionshh.client.reach.connect import NoAnswer, NotIntroduced, connect
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import NoDescriptor, find_or_cached
from onionshh.client.reach.toll import Toll, TooDear
from onionshh.client.session.going_on import GoingOn, path_info
from onionshh.client.session.resuming import Door, MeetingTerms
from onionshh.client.session.visiting import VisitorSessions
from onionshh.client.steps import steps
from onionshh.core.circuit.purpose import meeting_kind
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.record import Record
from onionshh.core.delivery.sender import NO_ANSWER
from onionshh.core.endpoint.introduce import fits_introduction
from onionshh.core.paths.path import PathImpossible
from onionshh.core.session.session import Session
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory
from onionshh.ids import AuthKey, RelayId, WhisperId
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire.endpoint import IntroducerEntry

logger = logging.getLogger("onionshh.client")

TOO_DEAR = "so many come to the endpoint that it takes more than a minute of work to be let in"
NOBODY = (
    "no endpoint is published under this address: it is not running, or has not been reachable for a while"
)


def nobody_counts(whisper: WhisperId, seconds: float, tries: int) -> None:
    """For work that nobody is told of."""


class Reach:
    """`draw_hops` draws how many relays are between us and the rendezvous point, anew for each try.
    `sessions`: None to do without. `calls_back`: whether the endpoint can call us back now. `worked`:
    told of the work for a whisper, seconds and tries since it was told last."""

    def __init__(
        self,
        context: Context,
        address_key: bytes,
        *,
        draw_hops: Callable[[], int],
        privacy_class: int,
        sessions: VisitorSessions | None = None,
        calls_back: Callable[[], bool] = lambda: False,
        shows_first: bool = False,
        worked: Callable[[WhisperId, float, int], None] = nobody_counts,
    ) -> None:
        self._worked = worked
        self._toll = Toll(context)
        self._context = context
        self._address_key = address_key
        self._draw_hops = draw_hops
        self._privacy_class = privacy_class
        self._sessions = sessions
        self._calls_back = calls_back
        self._shows_first = shows_first
        self._found: CheckedDescriptor | None = None
        self._tried: set[bytes] = set()
        self._going_on = (
            None
            if sessions is None
            else GoingOn(
                context,
                sessions.keeper,
                lambda: MeetingTerms(
                    privacy_class, meeting_kind(draw_hops(), privacy_class, of_session=True)
                ),
            )
        )

    async def once(self, record: Record, *, more: bool) -> Opening:
        """A lane to the endpoint, or `record` went alone. `more`: other whispers wait behind it.
        NotReached."""
        try:
            opening = await self._once(record, more)
        except NoDescriptor:
            raise NotReached(Failure(NOBODY, nobody=True)) from None
        except PathImpossible as error:
            raise NotReached(Failure(str(error), hopeless=True)) from error
        except NotIntroduced as error:
            if error.busy:
                self._toll.turned_away()
            raise self._in_vain(str(error), forget=error.gone) from error
        except NoAnswer as error:
            raise self._in_vain(NO_ANSWER, forget=True) from error  # its keys may be new
        except NoDirectory as error:
            raise NotReached(Failure(str(error))) from error
        except (CircuitFailed, NetworkUnreachable) as error:
            raise self._in_vain(f"the network does not carry us there ({error})") from error
        self._tried.clear()
        self._toll.let_in()
        if self._found is not None and self._found.descriptor.sends_no_receipts:
            return replace(opening, receipts=False)
        return opening

    async def answer(self, session: Session, record: Record) -> JoinedCircuit | None:
        """Send a receipt in a cell of its own. As `GoingOn.answer`, but raises CircuitFailed alone."""
        if self._going_on is None or not session.may_spend:
            raise CircuitFailed(Reason.NOT_CONNECTED)
        try:
            return await self._going_on.answer(session, await self._door(), record)
        except (NoDescriptor, NotIntroduced, NoAnswer, BadData, NetworkUnreachable, NoDirectory) as error:
            raise CircuitFailed(Reason.NOT_CONNECTED) from error

    def arrived(self, whisper: WhisperId) -> None:
        """As `Opener.arrived`."""
        if self._going_on is not None:
            self._going_on.arrived(whisper)

    def silent(self, whisper: WhisperId) -> None:
        """As `Opener.silent`."""
        if self._going_on is not None:
            self._going_on.silent(whisper)

    @property
    def found(self) -> CheckedDescriptor | None:
        """The endpoint's descriptor, as it was found last."""
        return self._found

    # Inside.

    async def _once(self, record: Record, more: bool) -> Opening:
        going_on = self._going_on
        session = None if self._sessions is None else self._sessions.usable
        if going_on is not None and session is not None:
            try:
                alone = self._calls_back() and not more
                return await going_on.once(session, await self._door(), record, alone=alone)
            except BadData as error:
                logger.warning("a session cannot go on, so we introduce ourselves anew: %s", error)
        return await self._introduce(record)

    async def _descriptor(self) -> CheckedDescriptor:
        earliest = self._context.clock.earliest
        if self._found is None or self._found.overdue(earliest()):
            steps.debug("we ask ring relays where the endpoint can be found")
            self._found = await find_or_cached(self._context, self._address_key)
            if self._found.overdue(earliest()):
                raise NoDescriptor  # the endpoint is away; what the ring has names nobody who knows it
            count = len(self._found.descriptor.introducers)
            steps.debug("its descriptor names %d introducers", count)
        return self._found

    async def _introduce(self, record: Record) -> Opening:
        found = await self._descriptor()
        encoded = record.encode()
        rode = fits_introduction(encoded) and not self._shows_first

        async def pay(message: bytes) -> bytes:
            worked = partial(self._worked, record.whisper_id)
            try:
                return await self._toll.paid(message, found.descriptor.proof, worked)
            except TooDear:
                raise NotIntroduced(TOO_DEAR, gone=False) from None

        joined, root = await connect(
            self._context,
            found,
            self._introducer(found),
            hops=self._draw_hops(),
            privacy_class=self._privacy_class,
            record=encoded if rode else b"",
            keep_session=self._sessions is not None,
            pay=pay,
        )
        session = None if self._sessions is None else self._sessions.begun(root, found.period)
        return Opening(joined, rode, (path_info(joined.circuit),), session)

    async def _door(self) -> Door:
        """An introducer at which the endpoint takes a RESUME."""
        entry = self._introducer(await self._descriptor())
        return Door(RelayId(entry.relay_id), AuthKey(entry.auth_key))

    def _introducer(self, found: CheckedDescriptor) -> IntroducerEntry:
        """A random one of those that have not failed since the last success. Once all have, all are tried
        again."""
        earliest = self._context.clock.earliest()
        entries = found.descriptor.introducers
        good = [entry for entry in entries if entry.expiry > earliest] or list(entries)
        left = [entry for entry in good if entry.auth_key not in self._tried]
        if not left:
            self._tried.clear()
        chosen = self._context.chance.choice(left or good)
        self._tried.add(chosen.auth_key)
        return chosen

    def _in_vain(self, why: str, *, forget: bool = False) -> NotReached:
        found = self._found
        if forget or (found is not None and len(self._tried) >= len(found.descriptor.introducers)):
            self._found = None  # every introducer was tried: perhaps there is a newer descriptor
            self._context.descriptors.forget(self._address_key)
        steps.debug("this try failed: %s", why)
        return NotReached(Failure(why))
