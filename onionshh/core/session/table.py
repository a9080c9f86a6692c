"""The sessions of one endpoint or contact, found by tag (SPEC 12). Pure.

A RESUME names nothing but a tag. So there is one table of all tags that are accepted now, over all
introducers and ways back. The table is bounded: beyond `most` sessions, one must go. Sessions that the
program kept, or ever answered, go last; among equals, the one that was used longest ago goes first.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from onionshh.core.session.chains import AcceptingChain, Step, Tag, tag_of
from onionshh.core.session.resumption import Resumption, SpentStep
from onionshh.core.session.session import Session, SessionId
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from onionshh.wire.messages import Resume

T = TypeVar("T")

SESSIONS_MOST: Final = 1024
IDLE_SECONDS: Final = 7 * 24 * 3600
"""A session that was not used for so long is forgotten. By consensus time: a wrong clock forgets nothing."""


@dataclass(frozen=True, slots=True)
class FoundStep:
    """The step behind a tag. It stays usable until `SessionTable.burn`."""

    session: Session
    chain: AcceptingChain = field(repr=False)
    index: int
    step: Step = field(repr=False)


@dataclass(frozen=True, slots=True)
class Accepted:
    """A RESUME that was for us and new. Its tag is burned."""

    session: Session
    step: SpentStep
    resumption: Resumption


class SessionTable:
    """`most`: how many sessions it holds."""

    def __init__(self, most: int = SESSIONS_MOST) -> None:
        self._most = most
        self._sessions: dict[SessionId, Session] = {}
        self._tags: dict[Tag, tuple[Session, AcceptingChain, int]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    @property
    def sessions(self) -> Iterable[Session]:
        """All sessions, oldest first."""
        return self._sessions.values()

    def get(self, session_id: SessionId) -> Session | None:
        """The session with this id."""
        return self._sessions.get(session_id)

    def add(self, session: Session) -> Session | None:
        """Add a session. Returns the one that had to go for it: erase it on disk."""
        self.remove(session.session_id)
        self._sessions[session.session_id] = session
        for chain in session.accepting:
            self._accept(session, chain)
        return None if len(self._sessions) <= self._most else self.displace(besides=session)

    def displace(self, besides: Session | None = None) -> Session | None:
        """One session has to go, this one last. Returns it: erase it on disk. None if there is none."""
        gone = min(
            (other for other in self._sessions.values() if other is not besides),
            key=lambda other: (other.marks.kept or other.marks.answered, other.history.used_at),
            default=besides,
        )
        if gone is not None:
            self.remove(gone.session_id)
        return gone

    def remove(self, session_id: SessionId) -> None:
        """Forget a session, if it is there."""
        session = self._sessions.pop(session_id, None)
        if session is not None:
            for chain in session.accepting:
                self._forget(chain)

    def expired(self, earliest: int) -> list[Session]:
        """The sessions that were idle too long. `earliest`: Unix seconds of the consensus."""
        return [s for s in self._sessions.values() if earliest > s.history.used_at + IDLE_SECONDS]

    def find(self, tag: bytes) -> FoundStep | None:
        """The step that this tag stands for, None if the tag is unknown or was used."""
        found = self._tags.get(Tag(tag))
        if found is None:
            return None
        session, chain, index = found
        step = chain.step(index)
        return None if step is None else FoundStep(session, chain, index, step)

    def burn(self, found: FoundStep) -> None:
        """The step is used. Sync the session's document before anything else is done about it. ValueError if
        it is not accepted any more: nobody may act on it."""
        if self._tags.get(tag_of(found.step)) != (found.session, found.chain, found.index):
            raise ValueError("this step was used before, or its session is gone")
        gone, new = found.chain.burn(found.index)
        for tag in gone:
            self._tags.pop(tag, None)
        for tag, index in new:
            self._tags[tag] = (found.session, found.chain, index)
        over = found.session.accepted(found.chain)
        if over is not None:
            self._forget(over)

    def accept_untrusted(self, message: Resume) -> Accepted | None:
        """The RESUME in a message, with its tag burned: sync the session's document before anything is done
        about it. None if the tag is unknown, or was used. Raises ProtocolError; then nothing has changed."""
        found = self.find(message.tag)
        if found is None:
            return None
        step = SpentStep(found.step, message.salt)
        resumption = step.open_untrusted(message)
        if len(resumption.rendezvous_points) > 1:
            raise ProtocolError(Reason.RESUME_LEGS)
        self.burn(found)
        return Accepted(found.session, step, resumption)

    def answer_refresh_untrusted(
        self, session: Session, body: bytes, random_bytes: RandomBytes
    ) -> bytes | None:
        """As `Session.answer_untrusted`. The tags of the next chains are accepted from now on."""
        return self._renewed(session, lambda: session.answer_untrusted(body, random_bytes))

    def refreshed_untrusted(self, session: Session, body: bytes, wall: int) -> bool:
        """As `Session.refreshed_untrusted`. The tags of the new chain are accepted from now on."""
        return self._renewed(session, lambda: session.refreshed_untrusted(body, wall))

    def _renewed(self, session: Session, renew: Callable[[], T]) -> T:
        """Do something that may change which chains a session accepts."""
        before = session.accepting
        result = renew()
        after = session.accepting
        for chain in before:
            if chain not in after:
                self._forget(chain)
        for chain in after:
            if chain not in before:
                self._accept(session, chain)
        return result

    def _accept(self, session: Session, chain: AcceptingChain) -> None:
        for tag, index in chain.tags():
            self._tags[tag] = (session, chain, index)

    def _forget(self, chain: AcceptingChain) -> None:
        for tag, _ in chain.tags():
            self._tags.pop(tag, None)
