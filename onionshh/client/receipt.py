"""What becomes of one whisper, as the program that sent it sees it (SPEC 13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Literal

import trio

from onionshh.core.whisper import Record

Status = Literal["queued", "sent", "delivered", "expired", "failed"]
FINAL = ("delivered", "expired", "failed")


class Receipt:
    """queued → sent → delivered, expired or failed; the last three are final.

    `id`: 32 hex digits. `why`: a sentence when it was not delivered, or what is in the way so far. `hops`:
    relays between us and the rendezvous point on the path used last, None before. `connect_seconds`: how
    long reaching the endpoint took, `round_trip_seconds`: from sending the whisper to its receipt; None
    before.
    """

    def __init__(self, record: Record, deadline: float) -> None:
        self.id = record.whisper_id.hex()
        self.status: Status = "queued"
        self.why = ""
        self.hops: int | None = None
        self.connect_seconds: float | None = None
        self.round_trip_seconds: float | None = None
        self.record = record
        self.deadline = deadline
        """Monotonic seconds at which the TTL ends."""
        self.reply_body: bytes | None = None
        self.reply_wanted = 0
        self.on_reply_wanted: Callable[[Receipt], None] = lambda receipt: None
        self.sent_at: float | None = None
        self.due = 0.0
        """Monotonic seconds at which another path is tried."""
        self.wait_seconds = 0.0
        self.forgotten = False
        """Its body is: it cannot be sent again."""
        self._changed = trio.Event()
        self._settled = trio.Event()
        """A reply came, or none will."""

    def __repr__(self) -> str:
        return f"<Receipt {self.status}: {self.why}>" if self.why else f"<Receipt {self.status}>"

    @property
    def is_final(self) -> bool:
        """Whether `status` will not change any more."""
        return self.status in FINAL

    async def final(self) -> Receipt:
        """Wait until the status is final; returns the receipt itself."""
        await self._changed.wait()
        return self

    async def reply(self) -> bytes | None:
        """The answer to this whisper; None when it ends without having been delivered, or when none can
        come any more: the contact was closed, or the circuit was lost too late to ask again.

        Waits as long as that takes: bound it with a cancel scope.
        """
        self.reply_wanted += 1
        self.on_reply_wanted(self)
        try:
            await self._settled.wait()
        finally:
            self.reply_wanted -= 1
        return self.reply_body

    # For the courier.

    def conclude(self, status: Status, why: str = "") -> None:
        """Set a final status, once."""
        if not self.is_final:
            self.status, self.why = status, why
            self._changed.set()
            if status != "delivered":
                self._settled.set()

    def answer(self, body: bytes) -> None:
        """The reply came; a second one changes nothing."""
        if self.reply_body is None:
            self.reply_body = body
            self._settled.set()

    def give_up(self) -> None:
        """No reply can come any more."""
        self._settled.set()

    def forget_body(self) -> None:
        """The whisper will not go out again; whoever keeps the receipt need not keep what it said."""
        self.forgotten = True
        self.record = replace(self.record, body=b"")
