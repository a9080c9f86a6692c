"""Introductions that wait for one endpoint which wants proofs of work: those that proved more go first (SPEC
15).

At most 16 wait, for 8 s at most. One that proved less than the endpoint wants is turned away at once. When
there are too many, the one that proved least goes; of several, the one that came last.

One that went on to the endpoint has spent its proof (`spent.py`): the same bytes are turned away for as long
as their seed is good.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from onionshh.core.endpoint.toll import SEED_HEAD, pays_untrusted
from onionshh.core.roles import CircuitHandle
from onionshh.crypto.primitives import sha3_256
from onionshh.ids import AuthKey
from onionshh.rendezvous.spent import Spent
from onionshh.wire.messages import Introduce, IntroProof, Paid

WAITING_MOST: Final = 16
WAITING_SECONDS: Final = 8.0
PROOFS_KEPT: Final = 2
"""Visitors may have a descriptor from before the last change."""
SEED_MOST_SECONDS: Final = 7200 + 600
"""A seed is good for two hours, and the endpoint's clock may be ten minutes ahead of ours."""


@dataclass(order=True, slots=True)
class Waiting:
    """One introduction. The first in this order goes first."""

    rank: tuple[int, int]
    """Minus the effort, then the order in which they came."""
    circuit: CircuitHandle = field(compare=False)
    body: bytes = field(compare=False, repr=False)
    until: float = field(compare=False)
    """Monotonic seconds."""
    proof: IntroProof = field(compare=False, repr=False)
    """What it has paid for."""
    mark: bytes = field(compare=False, repr=False)
    """By this the same introduction is known again."""


class TollGate:
    """What waits for one endpoint, and what it wants. `key`: the endpoint's. `spent`: of the whole relay."""

    def __init__(self, key: AuthKey, spent: Spent) -> None:
        self._key = key
        self._spent = spent
        self._proofs: deque[IntroProof] = deque(maxlen=PROOFS_KEPT)
        self._waiting: list[Waiting] = []
        self._count = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def is_open(self, wall: int) -> bool:
        """Whether the endpoint wants nothing, or what it wants is over. `wall`: Unix seconds."""
        return all(wall >= proof.expires for proof in self._proofs)

    def wants(self, proof: IntroProof, wall: int) -> None:
        """The endpoint wants this from now on. What it wanted last is good for a while, too. `wall`: Unix
        seconds."""
        if not proof.effort:
            self.opens()
            return
        proof = replace(proof, expires=min(proof.expires, wall + SEED_MOST_SECONDS))
        if proof not in self._proofs:
            self._proofs.appendleft(proof)

    def opens(self) -> None:
        """Nothing is wanted from now on."""
        self._proofs.clear()

    def has_paid(self, message: Introduce, wall: int) -> int:
        """The effort that an introduction proves. 0 if that is less than is wanted, or if it waits or was let
        through. `wall`: Unix seconds."""
        paid = Paid.decode_untrusted(message.pow)
        proof = None if paid is None else self._meant(paid)
        if paid is None or proof is None or wall >= proof.expires or paid.effort < proof.effort:
            return 0
        mark = _mark(message)
        if self._spent.has(self._key, proof, mark) or any(one.mark == mark for one in self._waiting):
            return 0
        return paid.effort if pays_untrusted(paid, proof.seed, message) else 0

    def add(self, circuit: CircuitHandle, message: Introduce, effort: int, now: float) -> Waiting | None:
        """Let one wait that has paid. Returns the one that must go for it, perhaps itself. ValueError if it
        has not."""
        paid = Paid.decode_untrusted(message.pow)
        proof = None if paid is None else self._meant(paid)
        if proof is None:
            raise ValueError("has_paid comes first")
        self._count += 1
        rank, until = (-effort, self._count), now + WAITING_SECONDS
        one = Waiting(rank, circuit, message.encode(), until, proof, _mark(message))
        heapq.heappush(self._waiting, one)
        return self.least() if len(self._waiting) > WAITING_MOST else None

    def least(self) -> Waiting:
        """The one that proved least. It does not wait any more. ValueError if none waits."""
        last = max(self._waiting)
        self._keep([one for one in self._waiting if one is not last])
        return last

    def next(self) -> Waiting:
        """The one that goes first. It is let through, and its proof is spent. IndexError if none waits."""
        first = heapq.heappop(self._waiting)
        self._spent.add(self._key, first.proof, first.mark)
        return first

    def late(self, now: float) -> list[Waiting]:
        """Those that waited too long. They do not wait any more."""
        late = [one for one in self._waiting if now >= one.until]
        self._keep([one for one in self._waiting if now < one.until])
        return late

    def leave(self, circuit: CircuitHandle) -> None:
        """This visitor has gone."""
        self._keep([one for one in self._waiting if one.circuit is not circuit])

    def empty(self) -> list[Waiting]:
        """All that wait. They do not wait any more."""
        gone, self._waiting = self._waiting, []
        return gone

    def _meant(self, paid: Paid) -> IntroProof | None:
        """What the endpoint wanted with the seed that this was paid for."""
        heads = (proof for proof in self._proofs if proof.seed[:SEED_HEAD] == paid.seed_head)
        return next(heads, None)

    def _keep(self, waiting: list[Waiting]) -> None:
        """Only these wait on. The others were not let through, so they may come again."""
        heapq.heapify(waiting)
        self._waiting = waiting


def _mark(message: Introduce) -> bytes:
    """Of what the proof is for, and the proof. The byte of the period is not in it, since the work is not for
    that: another byte would make a new introduction for nothing."""
    return sha3_256(message.pow, message.sealed)
