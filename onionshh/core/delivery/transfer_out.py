"""One transfer on its way out: pieces are cut into parts, and these leave in groups (SPEC 13). Pure.

| stage     | GROUP_OUT | SETTLED | PAUSE_OVER | ARRIVED   | FAILS  | EXPIRES |
|-----------|-----------|---------|------------|-----------|--------|---------|
| SENDING   | SETTLING  |         |            |           | FAILED | EXPIRED |
| SETTLING  |           | PAUSING |            | DELIVERED | FAILED | EXPIRED |
| PAUSING   |           |         | SENDING    |           | FAILED | EXPIRED |
| DELIVERED |           |         |            |           |        |         |
| FAILED    |           |         |            |           |        |         |
| EXPIRED   |           |         |            |           |        |         |

GROUP_OUT: the 2 to 6 parts of a group have been handed out, or the last part has. SETTLED: all of them have
arrived. PAUSE_OVER: the pause after the group is over. ARRIVED: the last part is among those that have
arrived. FAILS: the source, the other end or the way failed, or the program gave up. EXPIRES: the time to live
is over.

Each group goes over its own lane, for which relays, meeting point and hops are drawn anew. So a relay behind
the guards carries a few parts, unless it is drawn again. There is no pause before the first group.

There is one method per input. Each returns the actions that the driver carries out, in order. Memory holds
the parts of one group, one part more, and one piece of the program's.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Callable
from math import inf
from types import MappingProxyType
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.delivery.parts import (
    MOST_BYTES,
    NOT_FOR_BULK,
    PART_DATA,
    Part,
    TransferId,
    check_size,
    part_record,
)
from onionshh.core.delivery.transfer_actions import (
    NeedMore,
    OutAction,
    OutActions,
    Progress,
    Renew,
    SendPart,
    TransferEnded,
    Withdraw,
)
from onionshh.geometry import WHISPER_ID
from onionshh.ids import WhisperId

GROUP_LEAST: Final = 2
GROUP_MOST: Final = 6
"""How many parts go over one lane, drawn anew for each."""
PAUSE_SECONDS: Final = 2.0
"""The mean of the pause between groups."""
EXPIRED_ON_THE_WAY: Final = "its time to live ended before all of it had arrived"


class OutStage(enum.Enum):
    """The stage of an outgoing transfer."""

    SENDING = "sending"
    SETTLING = "settling"
    PAUSING = "pausing"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"


class OutEvent(enum.Enum):
    """What changes its stage."""

    GROUP_OUT = enum.auto()
    SETTLED = enum.auto()
    PAUSE_OVER = enum.auto()
    ARRIVED = enum.auto()
    FAILS = enum.auto()
    EXPIRES = enum.auto()


OVER: Final = frozenset((OutStage.DELIVERED, OutStage.FAILED, OutStage.EXPIRED))

TABLE: Final = MappingProxyType(
    {
        (OutStage.SENDING, OutEvent.GROUP_OUT): OutStage.SETTLING,
        (OutStage.SETTLING, OutEvent.SETTLED): OutStage.PAUSING,
        (OutStage.SETTLING, OutEvent.ARRIVED): OutStage.DELIVERED,
        (OutStage.PAUSING, OutEvent.PAUSE_OVER): OutStage.SENDING,
        **{
            (stage, event): becomes
            for stage in (OutStage.SENDING, OutStage.SETTLING, OutStage.PAUSING)
            for event, becomes in ((OutEvent.FAILS, OutStage.FAILED), (OutEvent.EXPIRES, OutStage.EXPIRED))
        },
    }
)
"""The table above. An event that is not in it changes nothing."""


class OutgoingTransfer:
    """`size`: bytes of the whole, if the program knows it; TooLarge past 8 MiB. `expires`: Unix seconds.
    `deadline`: the same moment in monotonic seconds."""

    def __init__(
        self, *, size: int | None, expires: int, privacy_class: int, deadline: float, chance: Chance
    ) -> None:
        self.transfer = TransferId(chance.bytes(WHISPER_ID))
        self.stage = OutStage.SENDING
        self._cutter = _Cutter(self.transfer, size)
        self._expires = expires
        self._class = privacy_class
        self._deadline = deadline
        self._chance = chance
        self._out: dict[WhisperId, int] = {}
        """The parts handed out that have not arrived, and the bytes of each."""
        self._left_in_group = self._draw_group()
        self._arrived = 0
        self._asked = False
        """Whether the driver owes the next piece."""
        self._resume_at = inf

    # The program.

    def begin(self) -> OutActions:
        """Start. Call this once, before anything else."""
        return self._go_on()

    def more(self, piece: bytes) -> OutActions:
        """The next piece of the whole, of any size."""
        return self._given(lambda: self._cutter.take(piece))

    def end(self) -> OutActions:
        """There are no more pieces."""
        return self._given(self._cutter.end)

    def source_failed(self, why: str) -> OutActions:
        """The program could not give the next piece. `why`: in words."""
        return self._over(OutEvent.FAILS, why)

    def close(self, why: str) -> OutActions:
        """The program gives the transfer up. `why`: in words."""
        return self._over(OutEvent.FAILS, why)

    # What becomes of the parts.

    def acknowledged(self, part: WhisperId, now: float) -> OutActions:
        """A part is on disk at the other end."""
        size = self._out.pop(part, None)
        if size is None:
            return ()
        self._arrived += size
        progress = Progress(self._arrived, self._cutter.size)
        if self._out or self.stage is not OutStage.SETTLING:
            return (progress,)
        if self._cutter.done:
            self._move(OutEvent.ARRIVED)
            return (progress, TransferEnded(self.stage))
        self._move(OutEvent.SETTLED)
        pause = self._chance.exponential(PAUSE_SECONDS)
        self._resume_at = now + pause
        return (progress, Renew(pause))

    def expired(self, part: WhisperId, why: str) -> OutActions:
        """The time of a part is over, by our clock or by that of the other end. `why`: in words."""
        return self._over(OutEvent.EXPIRES, why) if part in self._out else ()

    def failed(self, part: WhisperId, why: str) -> OutActions:
        """A part cannot be delivered, or the other end refused it. `why`: in words."""
        return self._over(OutEvent.FAILS, why) if part in self._out else ()

    # Time.

    def tick(self, now: float) -> OutActions:
        """Do what is due."""
        if now >= self._deadline:
            return self._over(OutEvent.EXPIRES, EXPIRED_ON_THE_WAY)
        if now < self._resume_at or not self._move(OutEvent.PAUSE_OVER):
            return ()
        self._resume_at = inf
        self._left_in_group = self._draw_group()
        return self._go_on()

    def next_deadline(self) -> float:
        """When to `tick` next, monotonic seconds."""
        return inf if self.stage in OVER else min(self._deadline, self._resume_at)

    # Inside.

    def _go_on(self) -> OutActions:
        """Hand out the parts that can be cut, and ask for more if none can."""
        actions: list[OutAction] = []
        while self.stage is OutStage.SENDING and (part := self._cutter.cut()) is not None:
            record = part_record(
                part, expires=self._expires, privacy_class=self._class, random_bytes=self._chance.bytes
            )
            self._out[record.whisper_id] = len(part.data)
            actions.append(SendPart(record))
            self._left_in_group -= 1
            if part.last or not self._left_in_group:
                self._move(OutEvent.GROUP_OUT)
        if self.stage not in OVER and not self._asked and self._cutter.hungry:
            self._asked = True
            actions.append(NeedMore())
        return tuple(actions)

    def _draw_group(self) -> int:
        return GROUP_LEAST + self._chance.below(GROUP_MOST - GROUP_LEAST + 1)

    def _given(self, give: Callable[[], str]) -> OutActions:
        """The program answered `NeedMore`. `give` returns why that is wrong, or nothing."""
        if self.stage in OVER:
            return ()
        self._asked = False
        why = give()
        return self._over(OutEvent.FAILS, why) if why else self._go_on()

    def _over(self, event: OutEvent, why: str) -> OutActions:
        if not self._move(event):
            return ()
        parts = tuple(self._out)
        self._out.clear()
        self._cutter.forget()
        self._resume_at = inf
        ended = TransferEnded(self.stage, why)
        return (Withdraw(parts), ended) if parts else (ended,)

    def _move(self, event: OutEvent) -> bool:
        becomes = TABLE.get((self.stage, event))
        if becomes is None:
            return False
        self.stage = becomes
        return True


class _Cutter:
    """Cuts pieces of any size into parts. A part is cut when it is known whether it is the last."""

    def __init__(self, transfer: TransferId, size: int | None) -> None:
        if size is not None:
            check_size(size)
        self.size = size
        """Bytes of the whole, once they are known."""
        self.done = False
        """Whether the last part has been cut."""
        self._transfer = transfer
        self._waiting = bytearray()
        self._given = 0
        self._ended = False
        self._hash = hashlib.sha3_256()
        self._number = 0

    @property
    def hungry(self) -> bool:
        """Whether the next part cannot be cut yet."""
        return not self._ended and len(self._waiting) <= PART_DATA

    def take(self, piece: bytes) -> str:
        """Add a piece. Returns why that cannot be, in words, or nothing."""
        given = self._given + len(piece)
        if self.size is not None and given > self.size:
            return f"its source gave more than the {self.size} bytes that were announced"
        if given > MOST_BYTES:
            most = f"the {MOST_BYTES} bytes (8 MiB) that a transfer holds"
            return f"its source gave more than {most}: {NOT_FOR_BULK}"
        self._given = given
        self._waiting += piece
        return ""

    def end(self) -> str:
        """No piece follows. Returns why that cannot be, in words, or nothing."""
        if self.size is not None and self._given < self.size:
            return f"its source ended after {self._given} of the {self.size} bytes that were announced"
        self.size = self._given
        self._ended = True
        return ""

    def cut(self) -> Part | None:
        """The next part, if it can be cut."""
        if self.done or self.hungry:
            return None
        data = bytes(self._waiting[:PART_DATA])
        del self._waiting[:PART_DATA]
        self._hash.update(data)
        self.done = self._ended and not self._waiting
        part = Part(self._transfer, self._number, data, self._hash.digest() if self.done else None)
        self._number += 1
        return part

    def forget(self) -> None:
        """Drop what has not been cut."""
        self._waiting.clear()
