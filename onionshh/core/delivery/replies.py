"""Replies that no visitor has acknowledged: their states, and which are on disk. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from onionshh.core.delivery.actions import Action, Actions, Erase, Tell
from onionshh.core.delivery.outgoing import State
from onionshh.core.delivery.record import REFUSED, Record
from onionshh.ids import WhisperId

REPLIES_MOST: Final = 1024
"""Replies kept for visitors that have not come back."""
CLOSED: Final = "the endpoint was closed; the reply goes out when it runs again"


class Replies:
    """The replies of one endpoint."""

    def __init__(self) -> None:
        self._told: dict[WhisperId, float] = {}
        """Replies whose state the program is told, and when each expires, monotonic seconds."""
        self._on_disk: dict[WhisperId, bytes | None] = {}
        """All replies on disk, each with its peer's session. A visitor cannot make us erase anything else."""

    def __len__(self) -> int:
        return len(self._on_disk)

    def __contains__(self, reply: WhisperId) -> bool:
        return reply in self._on_disk

    def counted(self, replies: Iterable[tuple[WhisperId, bytes | None]]) -> None:
        """These replies are on disk after a clean-up, each with its peer's session."""
        self._on_disk = dict(replies)

    def wait_for(self, session: bytes) -> bool:
        """Whether a reply waits for the peer of this session."""
        return session in self._on_disk.values()

    def dropped(self, replies: Iterable[WhisperId]) -> None:
        """These replies made room for another and are not on disk any more."""
        for reply in replies:
            self._on_disk.pop(reply, None)

    def made(self, reply: WhisperId, lives_until: float) -> None:
        """The program has made a reply, which is being written to disk."""
        self._told[reply] = lives_until

    def kept(self, reply: WhisperId, session: bytes | None) -> Actions:
        """The reply is on disk. If there are too many, the oldest is reported as failed."""
        self._on_disk[reply] = session
        actions: list[Action] = []
        while len(self._told) > REPLIES_MOST:
            oldest = next(iter(self._told))
            del self._told[oldest]
            actions.append(Tell(oldest, State.FAILED, "too many other replies wait for their visitors"))
        return tuple(actions)

    def not_kept(self, reply: WhisperId) -> None:
        """The reply could not be written."""
        self._told.pop(reply, None)

    def left(self, reply: WhisperId | None) -> Actions:
        """The reply has left a lane completely."""
        return (Tell(reply, State.OUT),) if reply is not None and reply in self._told else ()

    def acknowledged(self, record: Record) -> Actions:
        """A visitor has accepted or refused a reply."""
        reply = record.in_reply_to
        if reply not in self._on_disk:
            return ()  # acknowledging what was never sent has no effect
        del self._on_disk[reply]
        if self._told.pop(reply, None) is None:
            return (Erase(reply),)
        if record.kind == REFUSED:
            return (Erase(reply), Tell(reply, State.EXPIRED, "the visitor refused it: its time was over"))
        return (Erase(reply), Tell(reply, State.DELIVERED))

    def expire(self, now: float) -> Actions:
        """Report the replies that nobody fetched in time."""
        gone = [reply for reply, until in self._told.items() if now >= until]
        for reply in gone:
            del self._told[reply]
        why = "the visitor did not come back for it in time"
        return tuple(Tell(reply, State.EXPIRED, why) for reply in gone)

    def close(self) -> Actions:
        """Send nothing more in this run. What is on disk stays there."""
        told = tuple(Tell(reply, State.FAILED, CLOSED) for reply in self._told)
        self._told.clear()
        return told
