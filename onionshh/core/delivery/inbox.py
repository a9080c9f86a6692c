"""The whispers that a program has not finished: how many there may be, and which is shown next. Pure.

Before a whisper is shown from disk, its number of showings is written to disk. Whispers never shown come
first, then those whose senders still wait. So a whisper that crashes the program does not block the others.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import inf
from typing import Final

from onionshh.core.delivery.actions import Actions, Count, LaneId, Offer
from onionshh.core.delivery.incoming import Incoming, Stage, Taken
from onionshh.core.delivery.record import Record
from onionshh.ids import WhisperId
from onionshh.reasons import Reason

WHISPERS_MOST: Final = 1024
BYTES_MOST: Final = 16 * 1024 * 1024
SEEN_MOST: Final = 1_000_000
"""Ids remembered. With this many, no whisper is accepted until the oldest ids expire."""


class Inbox:
    """`most`: how many whispers it holds. `give_up_after`: a whisper that was shown this often and never
    finished is set aside; None: never."""

    def __init__(self, *, most: int | None = None, give_up_after: int | None = None) -> None:
        self._most = WHISPERS_MOST if most is None else most
        self._give_up_after = inf if give_up_after is None else give_up_after
        self._whispers: dict[WhisperId, Incoming] = {}
        """Oldest first."""
        self._bytes = 0
        self._wanting = 0
        self._held_back: set[bytes] = set()
        """Sessions whose whispers are not shown now."""
        self.seen = 0
        """How many ids are remembered on disk."""

    def __len__(self) -> int:
        return len(self._whispers)

    @property
    def given_up(self) -> int:
        """How many are set aside."""
        return sum(whisper.aside for whisper in self._whispers.values())

    def restored(self, held: Iterable[tuple[WhisperId, int, int, int, bytes | None]]) -> None:
        """Add the whispers of an earlier run, oldest first: (id, size, expires, how often shown, session)."""
        for whisper_id, size, expires, shown, session in held:
            aside = shown >= self._give_up_after
            whisper = Incoming(size, expires, shown, None, Stage.KEPT, aside=aside, session=session)
            self._whispers[whisper_id] = whisper
            self._bytes += size

    def has_room(self, size: int) -> bool:
        """Whether one more whisper of `size` bytes may be accepted."""
        return len(self._whispers) < self._most and self._bytes + size <= BYTES_MOST and self.seen < SEEN_MOST

    def take_on(
        self,
        record: Record,
        lane: LaneId,
        session: bytes | None,
        received_at: float,
        *,
        waited: bool = False,
    ) -> None:
        """Accept a whisper that arrived over this lane. `session`: the peer's, if there is one.
        `received_at`: Unix seconds. `waited`: it lay in a mailbox."""
        taken = Taken(
            record.whisper_id,
            record.body,
            received_at,
            record.expires,
            record.privacy_class,
            session,
            record.in_reply_to,
            record.receipt_wanted,
            waited,
        )
        whisper = Incoming(
            len(record.body), record.expires, 0, taken, Stage.FRESH, lane=lane, session=session
        )
        self._whispers[record.whisper_id] = whisper
        self._bytes += whisper.size
        self.seen += 1

    def get(self, whisper_id: WhisperId) -> Incoming | None:
        """The whisper with this id, unless it is finished."""
        return self._whispers.get(whisper_id)

    def lanes(self) -> set[LaneId]:
        """The lanes that unfinished whispers came over last."""
        return {whisper.lane for whisper in self._whispers.values() if whisper.lane is not None}

    def forget(self, whisper_id: WhisperId) -> Incoming | None:
        """Forget a whisper that is finished, or whose row is not on disk any more."""
        whisper = self._whispers.pop(whisper_id, None)
        if whisper is not None:
            self._bytes -= whisper.size
        return whisper

    def want(self, best: int) -> Actions:
        """The program asks for a whisper. An `Offer` comes now or when there is one. `best`: Unix seconds."""
        self._wanting += 1
        return self.offer(best)

    def hold_back(self, session: bytes) -> None:
        """Show no whisper of this session until `let_through`: who its sender is, is being checked."""
        self._held_back.add(session)

    def let_through(self, session: bytes, best: int) -> Actions:
        """The whispers of this session may be shown again. `best`: Unix seconds."""
        self._held_back.discard(session)
        actions: Actions = ()
        while self._wanting and (offered := self.offer(best)):
            actions += offered
        return actions

    def unwant(self) -> None:
        """The program stops asking, and was offered nothing."""
        self._wanting -= 1

    def offer(self, best: int) -> Actions:
        """Offer the next whisper, if the program asks and there is one."""
        chosen = self._choose(best) if self._wanting else None
        if chosen is None:
            return ()
        whisper = self._whispers[chosen]
        self._wanting -= 1
        whisper.held = True
        whisper.shown += 1
        return (Offer(chosen, whisper.taken, whisper.shown),)

    def let_go(self, whisper_id: WhisperId, best: int) -> Actions:
        """The program gives an unfinished whisper back: another caller may have it."""
        whisper = self._whispers.get(whisper_id)
        if whisper is None:
            return ()
        whisper.held = False
        given_up: Actions = ()
        if whisper.shown >= self._give_up_after and not whisper.aside:
            whisper.aside = True
            given_up = (Count(Reason.WHISPER_GIVEN_UP),)
        return given_up + self.offer(best)

    def not_shown(self, whisper_id: WhisperId, best: int) -> Actions:
        """The caller went away before it got the whisper that was offered."""
        whisper = self._whispers.get(whisper_id)
        if whisper is not None:
            whisper.shown -= 1
        return self.let_go(whisper_id, best)

    def take_aside(self) -> list[Offer]:
        """All whispers that are set aside and that nobody holds. The program holds them from now on."""
        found = [(key, entry) for key, entry in self._whispers.items() if entry.aside and not entry.held]
        for _, whisper in found:
            whisper.held = True
        return [Offer(key, whisper.taken, whisper.shown) for key, whisper in found]

    def _choose(self, best: int) -> WhisperId | None:
        chosen: tuple[tuple[int, bool], WhisperId] | None = None
        for whisper_id, whisper in self._whispers.items():
            if whisper.held or whisper.aside or whisper.stage is Stage.ENDING:
                continue
            if whisper.session is not None and whisper.session in self._held_back:
                continue
            rank = (whisper.shown, whisper.expires <= best)
            if chosen is None or rank < chosen[0]:
                chosen = (rank, whisper_id)
                if rank == (0, False):
                    break
        return None if chosen is None else chosen[1]
