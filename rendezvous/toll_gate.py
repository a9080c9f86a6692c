"""Introductions that wait for one endpoint which wants proofs of work: those that proved more go first (SPEC
15).

At most 16 wait, for 8 s at most. One that proved less than the endpoint wants is turned away at once. When
there are too many, the one that proved least goes; of several, the one that came last.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field
from typing import Final

from onionshh.core.endpoint.toll import SEED_HEAD, pays_untrusted
from onionshh.core.roles import CircuitHandle
from onionshh.crypto.primitives import sha3_256
from onionshh.wire.messages import Introduce, IntroProof, Paid

WAITING_MOST: Final = 16
WAITING_SECONDS: Final = 8.0
PROOFS_KEPT: Final = 2
"""Visitors may have a descriptor from before the last change."""
SEEN_MOST: Final = 4096
"""Introductions that are known again, so that none is let through twice. The endpoint knows them too."""


@dataclass(order=True, slots=True)
class Waiting:
    """One introduction. The first in this order goes first."""

    rank: tuple[int, int]
    """Minus the effort, then the order in which they came."""
    circuit: CircuitHandle = field(compare=False)
    body: bytes = field(compare=False, repr=False)
    until: float = field(compare=False)
    """Monotonic seconds."""
    mark: bytes = field(compare=False, repr=False)
    """By this the same introduction is known again."""


class TollGate:
    """What waits for one endpoint, and what it wants."""

    def __init__(self) -> None:
        self._proofs: deque[IntroProof] = deque(maxlen=PROOFS_KEPT)
        self._waiting: list[Waiting] = []
        self._seen: dict[bytes, None] = {}
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def is_open(self, wall: int) -> bool:
        """Whether the endpoint wants nothing, or what it wants is over. `wall`: Unix seconds."""
        return all(wall >= proof.expires for proof in self._proofs)

    def wants(self, proof: IntroProof) -> None:
        """The endpoint wants this from now on. What it wanted last is good for a while, too."""
        if proof in self._proofs:
            return
        if proof.effort:
            self._proofs.appendleft(proof)
        else:
            self._proofs.clear()

    def has_paid(self, message: Introduce, wall: int) -> int:
        """The effort that an introduction proves. 0 if that is less than is wanted, or if it came before.
        `wall`: Unix seconds."""
        paid = Paid.decode_untrusted(message.pow)
        if paid is None:
            return 0
        for proof in self._proofs:
            if proof.seed[:SEED_HEAD] == paid.seed_head and wall < proof.expires:
                if paid.effort < proof.effort or _mark(message) in self._seen:
                    return 0
                return paid.effort if pays_untrusted(paid, proof.seed, message) else 0
        return 0

    def add(self, circuit: CircuitHandle, message: Introduce, effort: int, now: float) -> Waiting | None:
        """Let an introduction wait. Returns the one that must go for it, perhaps itself."""
        self._count += 1
        mark = _mark(message)
        self._seen[mark] = None
        while len(self._seen) > SEEN_MOST:
            del self._seen[next(iter(self._seen))]
        rank, until = (-effort, self._count), now + WAITING_SECONDS
        heapq.heappush(self._waiting, Waiting(rank, circuit, message.encode(), until, mark))
        return self.least() if len(self._waiting) > WAITING_MOST else None

    def least(self) -> Waiting:
        """The one that proved least. It does not wait any more. ValueError if none waits."""
        last = max(self._waiting)
        self._keep([one for one in self._waiting if one is not last], [last])
        return last

    def next(self) -> Waiting:
        """The one that goes first. IndexError if none waits."""
        return heapq.heappop(self._waiting)

    def late(self, now: float) -> list[Waiting]:
        """Those that waited too long. They do not wait any more."""
        late = [one for one in self._waiting if now >= one.until]
        self._keep([one for one in self._waiting if now < one.until], late)
        return late

    def leave(self, circuit: CircuitHandle) -> None:
        """This visitor has gone."""
        gone = [one for one in self._waiting if one.circuit is circuit]
        self._keep([one for one in self._waiting if one.circuit is not circuit], gone)

    def empty(self) -> list[Waiting]:
        """All that wait. They do not wait any more."""
        gone = self._waiting
        self._keep([], gone)
        return gone

    def _keep(self, waiting: list[Waiting], gone: list[Waiting]) -> None:
        """Those that are gone were not let through, so they may come again."""
        if gone:
            self._waiting = waiting
            heapq.heapify(waiting)
            for one in gone:
                self._seen.pop(one.mark, None)


def _mark(message: Introduce) -> bytes:
    return sha3_256(message.pow, message.sealed)
