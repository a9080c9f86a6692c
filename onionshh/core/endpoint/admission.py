"""How much strangers must work to reach an endpoint, from what its introducers say (SPEC 15). Pure.

| what introducers say in five minutes            | what follows                                      |
|-------------------------------------------------|---------------------------------------------------|
| nothing was turned away                         | two thirds of the effort; none below the first one |
| some were turned away                           | an effort of 64, if there was none, at once       |
| more than half: some who had paid were as well  | twice the effort, at most 10 000                  |
| else                                            | two thirds of the effort, 64 at least             |

An introducer may lie about its load. One alone brings strangers 64 tries, which is ten milliseconds. And
whoever pays nothing cannot drive the effort up, however much it sends.

Peers with a session never pay: being known is their ticket.
"""

from __future__ import annotations

from typing import Final

from onionshh.geometry import SEED
from onionshh.ids import RandomBytes
from onionshh.wire.endpoint import ProofWanted
from onionshh.wire.messages import IntroLoad

START_EFFORT: Final = 64
EFFORT_MOST: Final = 10_000
STEP_SECONDS: Final = 300.0
SEED_SECONDS: Final = 7200
"""How long a seed is good. A new one comes when half of that is left."""


class Admission:
    """The effort of one endpoint."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self._random_bytes = random_bytes
        self._effort = 0
        self._step_at: float | None = None
        self._loaded = False
        self._paid: set[bytes] = set()
        """The introducers that turned away some who had paid, since the last step."""
        self._proof: ProofWanted | None = None

    @property
    def proof(self) -> ProofWanted | None:
        """What strangers must prove now. None: nothing."""
        return self._proof

    @property
    def next_deadline(self) -> float | None:
        """When to call `tick`: monotonic seconds. None while there is no load."""
        return self._step_at

    def load(self, auth_key: bytes, load: IntroLoad, now: float, wall: int) -> bool:
        """An introducer says that it turned some away. Returns whether `proof` has changed. `wall`: Unix
        seconds."""
        self._loaded = True
        if load.paid:
            self._paid.add(auth_key)
        if self._effort:
            return False
        self._effort = START_EFFORT
        self._step_at = now + STEP_SECONDS
        self._seed(wall)
        return True

    def tick(self, standing: int, now: float, wall: int) -> bool:
        """Time has passed. `standing`: how many introducers there are. Returns whether `proof` has
        changed."""
        if self._step_at is None or now < self._step_at:
            return False
        before = self._effort
        if 2 * len(self._paid) > max(1, standing):
            self._effort = min(EFFORT_MOST, 2 * self._effort)
        else:
            self._effort = max(START_EFFORT if self._loaded else 0, 2 * self._effort // 3)
            if self._effort < START_EFFORT:
                self._effort = 0
        self._loaded, self._paid = False, set()
        self._step_at = now + STEP_SECONDS if self._effort else None
        proof = self._proof
        if self._effort == before and proof is not None and proof.expires - wall > SEED_SECONDS // 2:
            return False
        self._seed(wall)
        return True

    def _seed(self, wall: int) -> None:
        self._proof = (
            ProofWanted(self._random_bytes(SEED), self._effort, wall + SEED_SECONDS) if self._effort else None
        )
