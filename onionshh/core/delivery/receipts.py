"""The receipts that a Sender owes for answers; they wait a moment for a whisper to share its frame. Pure."""

from __future__ import annotations

from math import inf
from typing import Final

from onionshh.core.delivery.record import RECEIPTS_WAIT_SECONDS, Record, receipt_for, refusal_of
from onionshh.ids import RandomBytes

OWED_MOST: Final = 64


class ReceiptsOwed:
    """Oldest first. `due_at`: monotonic seconds, when they leave though nothing else does."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._records: list[Record] = []
        self._since = inf

    def add(self, answer: Record, refuse: int | None, now: float) -> None:
        """One for an answer, or why that is not taken on. With too many the oldest goes."""
        if not self._records:
            self._since = now
        random_bytes = self._random_bytes
        self._records.append(
            receipt_for(answer, random_bytes) if refuse is None else refusal_of(answer, refuse, random_bytes)
        )
        # What is lost of them costs little: the other end keeps its answer until that expires.
        del self._records[:-OWED_MOST]

    @property
    def due_at(self) -> float:
        """Infinite when nothing is owed."""
        if len(self._records) >= OWED_MOST:
            return -inf
        return self._since + RECEIPTS_WAIT_SECONDS if self._records else inf

    def take(self) -> tuple[Record, ...]:
        """All of them: they leave now."""
        records, self._records = tuple(self._records), []
        return records
