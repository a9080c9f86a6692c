"""The receipts that a Sender owes for answers. They wait briefly to share a whisper's frame. Pure."""

from __future__ import annotations

from math import inf
from typing import Final

from onionshh.core.delivery.record import RECEIPTS_WAIT_SECONDS, Record, receipt_for, refusal_of
from onionshh.ids import RandomBytes

OWED_MOST: Final = 64


class ReceiptsOwed:
    """Oldest first. `due_at`: when they leave even if nothing else does, monotonic seconds."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._records: list[Record] = []
        self._since = inf

    def add(self, answer: Record, refuse: int | None, now: float) -> None:
        """Add the receipt or the refusal of an answer. If there are too many, the oldest is dropped."""
        if not self._records:
            self._since = now
        self._records.append(self.receipt(answer, refuse))
        # A lost receipt costs little: the other end keeps its answer until the answer expires.
        del self._records[:-OWED_MOST]

    def receipt(self, answer: Record, refuse: int | None) -> Record:
        """The receipt or the refusal of an answer, to be sent by itself."""
        if refuse is None:
            return receipt_for(answer, self._random_bytes)
        return refusal_of(answer, refuse, self._random_bytes)

    @property
    def due_at(self) -> float:
        """Infinite when nothing is owed."""
        if len(self._records) >= OWED_MOST:
            return -inf
        return self._since + RECEIPTS_WAIT_SECONDS if self._records else inf

    def take(self) -> tuple[Record, ...]:
        """Take all receipts: they leave now."""
        records, self._records = tuple(self._records), []
        return records
