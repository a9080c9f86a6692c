"""The receipts of one contact or peer that are found by the id of their whisper.

Where an outbox lasts, it has all that is final. So of those only the last ones stay here, and the others as
long as the program holds them: what comes for one of these still shows in it.
"""

from __future__ import annotations

from collections import deque
from typing import Final
from weakref import WeakValueDictionary

from onionshh.client.receipt import Outcome, Receipt, outcome_of
from onionshh.ids import WhisperId

RECEIPTS_MOST: Final = 16_384
"""Receipts kept current. The Sender's own bounds stay below this."""
RECENT_MOST: Final = 1024
"""Beyond so many, those that are final are left to an outbox that lasts."""
_LOOKED_AT: Final = 2
"""Old ones that are looked at for each new one. Those that are not final come to their turn again."""


class KnownReceipts:
    """`lasts`: whether an outbox keeps what is final."""

    def __init__(self, *, lasts: bool) -> None:
        self._lasts = lasts
        self._known: dict[WhisperId, tuple[Outcome, Receipt]] = {}
        self._turns: deque[WhisperId] = deque()
        self._held: WeakValueDictionary[WhisperId, Receipt] = WeakValueDictionary()
        """Those that only the program holds."""

    def add(self, whisper: WhisperId, outcome: Outcome, receipt: Receipt) -> None:
        """A new one."""
        self._known[whisper] = outcome, receipt
        while len(self._known) > RECEIPTS_MOST:
            del self._known[next(iter(self._known))]
        if self._lasts:
            self._turns.append(whisper)
            for _ in range(min(_LOOKED_AT, len(self._turns) - RECENT_MOST)):
                self._let_go(self._turns.popleft())

    def outcome(self, whisper: WhisperId) -> Outcome | None:
        """What its receipt shows."""
        known = self._known.get(whisper)
        if known is not None:
            return known[0]
        held = self._held.get(whisper)
        return None if held is None else outcome_of(held)

    def receipt(self, whisper: WhisperId) -> Receipt | None:
        """The receipt that the program has or had."""
        known = self._known.get(whisper)
        return self._held.get(whisper) if known is None else known[1]

    def forget(self, whisper: WhisperId) -> None:
        """Nobody asks for it any more."""
        self._known.pop(whisper, None)
        self._held.pop(whisper, None)

    def pending(self) -> list[Receipt]:
        """Those that are not final, in the order in which their whispers were accepted."""
        return [receipt for outcome, receipt in self._known.values() if not outcome.is_final]

    def _let_go(self, whisper: WhisperId) -> None:
        outcome, receipt = self._known.get(whisper, (None, None))
        if outcome is None or receipt is None:
            return
        if outcome.is_final and not outcome.awaited:
            self._held[whisper] = receipt
            del self._known[whisper]
        else:
            self._turns.append(whisper)
