"""What becomes of one whisper, as the program that sent it sees it (SPEC 13)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal

import trio

Status = Literal["queued", "sent", "delivered", "expired", "failed"]
FINAL = ("delivered", "expired", "failed")


@dataclass(eq=False, slots=True)
class Outcome:
    """What a receipt shows, kept by whoever brings the whisper over."""

    id: str
    status: Status = "queued"
    why: str = ""
    hops: int | None = None
    connect_seconds: float | None = None
    round_trip_seconds: float | None = None
    answer: bytes | None = field(default=None, repr=False)
    final: trio.Event = field(default_factory=trio.Event)
    settled: trio.Event = field(default_factory=trio.Event)
    """An answer came, or none will."""

    def conclude(self, status: Status, why: str = "") -> None:
        """Set a final status, once."""
        if self.status not in FINAL:
            self.status, self.why = status, why
            self.final.set()
            if status != "delivered":
                self.settled.set()

    def settle(self, answer: bytes | None) -> None:
        """The answer came; None: none can any more."""
        if self.answer is None:
            self.answer = answer
        self.settled.set()


def nobody_waits(waits: bool) -> None:
    """For what gets no answer: nothing is to be done when somebody waits for one."""


class Receipt:
    """queued → sent → delivered, expired or failed; the last three are final. Nothing of it can be set.

    `id`: 32 hex digits. `why`: a sentence when it was not delivered, or what is in the way so far. `hops`:
    relays between us and the rendezvous point on the path used last, None before. `connect_seconds`: how
    long reaching the endpoint took, `round_trip_seconds`: from sending the whisper to its receipt; None
    before. `reply_body`: the answer, once it came.
    """

    __slots__ = ("__weakref__", "_awaiting", "_outcome", "_waiting")

    def __init__(self, outcome: Outcome, awaiting: Callable[[bool], None] = nobody_waits) -> None:
        self._outcome = outcome
        self._awaiting = awaiting
        self._waiting = 0

    def __repr__(self) -> str:
        return f"<Receipt {self.status}: {self.why}>" if self.why else f"<Receipt {self.status}>"

    @property
    def id(self) -> str:
        return self._outcome.id

    @property
    def status(self) -> Status:
        return self._outcome.status

    @property
    def why(self) -> str:
        return self._outcome.why

    @property
    def hops(self) -> int | None:
        return self._outcome.hops

    @property
    def connect_seconds(self) -> float | None:
        return self._outcome.connect_seconds

    @property
    def round_trip_seconds(self) -> float | None:
        return self._outcome.round_trip_seconds

    @property
    def reply_body(self) -> bytes | None:
        return self._outcome.answer

    @property
    def is_final(self) -> bool:
        """Whether `status` will not change any more."""
        return self.status in FINAL

    async def final(self) -> Receipt:
        """Wait until the status is final; returns the receipt itself."""
        await self._outcome.final.wait()
        return self

    async def reply(self) -> bytes | None:
        """The answer to this whisper; None when it ends without having been delivered, or when none can
        come any more: the contact was closed, or the circuit was lost too late to ask again.

        Waits as long as that takes: bound it with a cancel scope.
        """
        if self._outcome.settled.is_set():
            await trio.lowlevel.checkpoint()
            return self._outcome.answer
        self._waiting += 1
        if self._waiting == 1:
            self._awaiting(True)
        try:
            await self._outcome.settled.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._awaiting(False)
        return self._outcome.answer
