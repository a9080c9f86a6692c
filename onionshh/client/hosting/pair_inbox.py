"""What known visitors left beside the inbox, because strangers had filled it or made it dear (SPEC 14).

Nobody but the two sides of a session knows the name of their mailbox, so no stranger can fill it. It is read
an hour apart on average, for the peers that the program keeps and the few that were heard of last. While the
inbox is crowded, more may have had to leave something there, so more are read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final, Protocol

from onionshh.client.context import Context
from onionshh.client.mail.part_store import Parts
from onionshh.client.mail.waiting import WaitingMail
from onionshh.core.delivery.record import WHISPER, Record
from onionshh.core.mailbox.pair import FROM_VISITOR
from onionshh.core.session.session import Session
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason

PAUSE_SECONDS: Final = 3600.0
SESSIONS_MOST: Final = 64
OTHERS_MOST: Final = 8
"""Those that are not kept, while the inbox is not crowded. Each takes six circuits an hour."""


class KnownPeers(Protocol):
    """The endpoint's sessions, and what takes their whispers."""

    def known(self) -> list[Session]:
        """The sessions on disk, the one used last coming first."""

    async def mailed(self, record: Record, session: Session | None) -> None:
        """As `Letterbox.mailed`."""


class PairInbox:
    """`run` reads. `crowded`: whether the inbox is, or was a while ago. `parts`: where parts wait."""

    def __init__(
        self, context: Context, peers: KnownPeers, crowded: Callable[[], bool], parts: Parts
    ) -> None:
        self._peers = peers
        self._crowded = crowded
        self._mail = WaitingMail(
            context,
            self.sessions,
            FROM_VISITOR,
            self.bring,
            lambda: True,
            parts,
            pause_seconds=PAUSE_SECONDS,
        )

    async def run(self) -> None:
        """Read now and then, until cancelled."""
        await self._mail.run()

    def sessions(self) -> Sequence[Session]:
        """Those whose mailboxes are read, the kept ones first."""
        known = self._peers.known()
        kept = [session for session in known if session.marks.kept]
        others = (session for session in known if not session.marks.kept)
        return [*kept, *islice(others, SESSIONS_MOST if self._crowded() else OTHERS_MOST)][:SESSIONS_MOST]

    async def bring(self, session: Session, record: Record) -> None:
        """Take a whisper that was found. NoRoom, BadData, Closed, ProtocolError for anything else."""
        if record.kind != WHISPER:
            raise ProtocolError(Reason.PAIR_SHAPE)
        await self._peers.mailed(record, session)
