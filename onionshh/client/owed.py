"""Receipts of replies that a contact owes: they wait, not for long, for a whisper to leave with (SPEC 13)."""

from __future__ import annotations

from math import inf

import trio

from onionshh.client.exchange import Exchange
from onionshh.core.whisper import RECEIPTS_WAIT_SECONDS, Record

OWED_MOST = 64
OWED_AGAIN_SECONDS = 1.0


class Owed:
    """What is lost of them costs little: the endpoint keeps its reply until that expires."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self._until = inf

    @property
    def until(self) -> float:
        """When they leave by themselves, in trio's time."""
        return self._until if self.records else inf

    def add(self, receipt: Record) -> bool:
        """One more. Whether they are so many that they should leave now."""
        if not self.records:
            self._until = trio.current_time() + RECEIPTS_WAIT_SECONDS
        self.records.append(receipt)
        return len(self.records) > OWED_MOST

    def take(self) -> list[Record]:
        """All of them, which are owed no more."""
        taken, self.records = self.records, []
        return taken

    def pay(self, exchange: Exchange) -> None:
        """Send them; later, if the window is closed. CircuitFailed."""
        if not self.records or exchange.send_at_once(*self.records):
            self.records = []
        else:
            self.records = self.records[-OWED_MOST:]
            self._until = trio.current_time() + OWED_AGAIN_SECONDS
