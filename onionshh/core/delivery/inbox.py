"""The whispers that a program has still to finish with: how many may be there, and which is shown next. Pure.

How often a whisper was shown is on disk before it is shown from there. Those never shown come first, then
those whose senders still wait: a whisper that ends the program keeps no other waiting.
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
"""Ids remembered: with that many nothing more is taken on until the oldest expire."""


class Inbox:
    """`most`: how many it holds; `give_up_after`: one that was shown so often and never finished is set
    aside, None: none is."""

    def __init__(self, *, most: int | None = None, give_up_after: int | None = None) -> None:
        self._most = WHISPERS_MOST if most is None else most
        self._give_up_after = inf if give_up_after is None else give_up_after
        self._whispers: dict[WhisperId, Incoming] = {}
        """Oldest first."""
        self._bytes = 0
        self._wanting = 0
        self.seen = 0
        """How many ids are remembered on disk."""

    def __len__(self) -> int:
        return len(self._whispers)

    @property
    def given_up(self) -> int:
        """How many are set aside."""
        return sum(one.aside for one in self._whispers.values())

    def restored(self, held: Iterable[tuple[WhisperId, int, int, int]]) -> None:
        """Whispers of before, oldest first: (id, size, expires, how often shown)."""
        for whisper_id, size, expires, shown in held:
            whisper = Incoming(size, expires, shown, None, Stage.KEPT, aside=shown >= self._give_up_after)
            self._whispers[whisper_id] = whisper
            self._bytes += size

    def has_room(self, size: int) -> bool:
        """Whether one more of so many bytes may be taken on."""
        return len(self._whispers) < self._most and self._bytes + size <= BYTES_MOST and self.seen < SEEN_MOST

    def take_on(self, record: Record, lane: LaneId, received_at: float) -> None:
        """One more, that came over this lane. `received_at`: Unix seconds."""
        taken = Taken(record.whisper_id, record.body, received_at, record.expires, record.privacy_class)
        whisper = Incoming(len(record.body), record.expires, 0, taken, Stage.FRESH, lane=lane)
        self._whispers[record.whisper_id] = whisper
        self._bytes += whisper.size
        self.seen += 1

    def get(self, whisper_id: WhisperId) -> Incoming | None:
        """The one of this id, unless it is finished."""
        return self._whispers.get(whisper_id)

    def forget(self, whisper_id: WhisperId) -> Incoming | None:
        """It is finished, or its row is not on disk any more."""
        whisper = self._whispers.pop(whisper_id, None)
        if whisper is not None:
            self._bytes -= whisper.size
        return whisper

    def want(self, best: int) -> Actions:
        """The program asks for one: an `Offer` now, or as soon as there is one. `best`: Unix seconds."""
        self._wanting += 1
        return self.offer(best)

    def unwant(self) -> None:
        """It asks no more, and was offered nothing."""
        self._wanting -= 1

    def offer(self, best: int) -> Actions:
        """The next one, if somebody asks and there is one."""
        chosen = self._choose(best) if self._wanting else None
        if chosen is None:
            return ()
        whisper = self._whispers[chosen]
        self._wanting -= 1
        whisper.held = True
        whisper.shown += 1
        return (Offer(chosen, whisper.taken, whisper.shown),)

    def let_go(self, whisper_id: WhisperId, best: int) -> Actions:
        """The program has let an unfinished one go: somebody else may have it."""
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
        """It was offered one and went away before it had it."""
        whisper = self._whispers.get(whisper_id)
        if whisper is not None:
            whisper.shown -= 1
        return self.let_go(whisper_id, best)

    def take_aside(self) -> list[Offer]:
        """All that are set aside and in nobody's hand; the program has them in hand from now on."""
        found = [(one, it) for one, it in self._whispers.items() if it.aside and not it.held]
        for _, whisper in found:
            whisper.held = True
        return [Offer(one, whisper.taken, whisper.shown) for one, whisper in found]

    def _choose(self, best: int) -> WhisperId | None:
        chosen: tuple[tuple[int, bool], WhisperId] | None = None
        for whisper_id, one in self._whispers.items():
            if one.held or one.aside or one.stage is Stage.ENDING:
                continue
            rank = (one.shown, one.expires <= best)
            if chosen is None or rank < chosen[0]:
                chosen = (rank, whisper_id)
                if rank == (0, False):
                    break
        return None if chosen is None else chosen[1]
