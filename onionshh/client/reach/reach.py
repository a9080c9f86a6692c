"""The way to one endpoint: go on with a session, or find its descriptor and introduce ourselves (SPEC 10, 11, 12).

Each call is one try. Kept between calls: the descriptor, and which of its introducers failed since the last
success.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

from onionshh.client.context import Context
from onionshh.client.delivery.sending import NotReached, Opening
from onionshh.client.reach.connect import NoAnswer, NotIntroduced, connect
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import NoDescriptor, find_or_cached
from onionshh.client.receipt import PathInfo
from onionshh.client.session.resuming import Door, Terms, resume, resume_alone, rides
from onionshh.client.session.visiting import VisitorSessions
from onionshh.core.circuit.purpose import meeting_kind
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.record import Record
from onionshh.core.delivery.sender import NO_ANSWER
from onionshh.core.endpoint.introduce import fits_introduction
from onionshh.core.paths.path import PathImpossible
from onionshh.core.session.session import Session, Spent
from onionshh.errors import BadData, NetworkUnreachable, NoDirectory
from onionshh.ids import AuthKey, RelayId, WhisperId
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.wire.endpoint import IntroducerEntry

logger = logging.getLogger("onionshh.client")

NOBODY = (
    "no endpoint is published under this address: it is not running, or has not been reachable for a while"
)
ALONE_MOST = 256
"""Bytes of a whisper that may go in one cell, if its receipt can come by a way back."""
ALONE_KNOWN_MOST = 64
"""Whispers that went alone and wait for their receipts. The steps that may be out are fewer."""


class Reach:
    """`draw_hops` draws how many relays are between us and the rendezvous point, anew for each try. `sessions`:
    None to do without. `calls_back`: whether the endpoint can call us back now."""

    def __init__(
        self,
        context: Context,
        address_key: bytes,
        *,
        draw_hops: Callable[[], int],
        privacy_class: int,
        sessions: VisitorSessions | None = None,
        calls_back: Callable[[], bool] = lambda: False,
    ) -> None:
        self._context = context
        self._address_key = address_key
        self._draw_hops = draw_hops
        self._privacy_class = privacy_class
        self._sessions = sessions
        self._calls_back = calls_back
        self._found: CheckedDescriptor | None = None
        self._tried: set[bytes] = set()
        self._alone: dict[WhisperId, tuple[Session, Spent]] = {}

    async def once(self, record: Record, *, more: bool) -> Opening:
        """A lane to the endpoint, or `record` went alone. `more`: other whispers wait behind it. NotReached."""
        try:
            opening = await self._once(record, more)
        except NoDescriptor:
            raise NotReached(Failure(NOBODY, nobody=True)) from None
        except PathImpossible as error:
            raise NotReached(Failure(str(error), hopeless=True)) from error
        except NotIntroduced as error:
            raise self._in_vain(str(error), forget=error.gone) from error
        except NoAnswer as error:
            raise self._in_vain(NO_ANSWER, forget=True) from error  # its keys may be new
        except NoDirectory as error:
            raise NotReached(Failure(str(error))) from error
        except (CircuitFailed, NetworkUnreachable) as error:
            raise self._in_vain(f"the network does not carry us there ({error})") from error
        self._tried.clear()
        return opening

    def arrived(self, whisper: WhisperId) -> None:
        """A receipt for this whisper came. If it went alone, that answers its step."""
        session, spent = self._alone.pop(whisper, (None, None))
        if session is not None and spent is not None:
            session.answered(spent)

    def silent(self, whisper: WhisperId) -> None:
        """No receipt came in time for this whisper, which went alone."""
        session, _ = self._alone.pop(whisper, (None, None))
        if session is not None:
            session.silent()

    # Inside.

    async def _once(self, record: Record, more: bool) -> Opening:
        session = None if self._sessions is None else self._sessions.usable
        if session is not None:
            try:
                return await self._go_on(session, record, more)
            except BadData as error:
                logger.warning("a session cannot go on, so we introduce ourselves anew: %s", error)
        return await self._introduce(record)

    async def _descriptor(self) -> CheckedDescriptor:
        if self._found is None or self._found.descriptor.expiry <= self._context.clock.earliest():
            self._found = await find_or_cached(self._context, self._address_key)
        return self._found

    async def _introduce(self, record: Record) -> Opening:
        found = await self._descriptor()
        encoded = record.encode()
        rode = fits_introduction(encoded)
        joined, root = await connect(
            self._context,
            found,
            self._introducer(found),
            hops=self._draw_hops(),
            privacy_class=self._privacy_class,
            record=encoded if rode else b"",
            keep_session=self._sessions is not None,
        )
        session = None if self._sessions is None else self._sessions.begun(root, found.period)
        return Opening(joined, rode, (path_info(joined.circuit),), session)

    async def _go_on(self, session: Session, record: Record, more: bool) -> Opening:
        context, keeper = self._context, self._keeper
        found = await self._descriptor()
        entry = self._introducer(found)
        door = Door(RelayId(entry.relay_id), AuthKey(entry.auth_key))
        encoded = record.encode()
        small = len(record.body) <= ALONE_MOST and rides(encoded, 0)
        if small and not more and self._calls_back() and not session.last_without_answer:
            spent, asking = await resume_alone(context, keeper, session, door, self._privacy_class, encoded)
            self._went_alone(record.whisper_id, session, spent)
            return Opening(None, True, (path_info(asking),), session, resumed=True)
        terms = Terms(self._privacy_class, meeting_kind(self._draw_hops(), self._privacy_class))
        resumed = await resume(context, keeper, session, door, terms, encoded)
        return Opening(
            resumed.joined, resumed.rode, (path_info(resumed.joined.circuit),), session, resumed=True
        )

    @property
    def _keeper(self) -> SessionKeeper:
        if self._sessions is None:
            raise LocalError("a contact without sessions goes on with none")
        return self._sessions.keeper

    def _went_alone(self, whisper: WhisperId, session: Session, spent: Spent) -> None:
        self._alone[whisper] = session, spent
        while len(self._alone) > ALONE_KNOWN_MOST:
            del self._alone[next(iter(self._alone))]

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
        """The try failed. `forget`: fetch the descriptor anew before the next one."""
        if forget:
            self._found = None
            self._context.descriptors.forget(self._address_key)
        return NotReached(Failure(why))


def path_info(circuit: Circuit) -> PathInfo:
    """What a receipt says about a circuit."""
    return PathInfo(len(circuit.path) - 1, tuple(row.identity.hex() for row in circuit.path))
