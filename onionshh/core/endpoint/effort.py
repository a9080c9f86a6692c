"""The price of a place on a crowded ring: a proof of work for one name and period (SPEC 10).

Limits per origin do not help an endpoint whose circuits share every origin with a flood. It can outbid the
flood: the first 8 bytes of a descriptor's salt are a nonce, and scrypt turns the nonce, for this name and
period, into a number called effort. Finding a nonce of effort e takes e tries on average. A nonce is valid
for every revision and for all relays of the name. Nobody can search before the period's random value is out.

A nonce of zeros claims nothing and needs no check. One try is cheaper than the two signatures of a
descriptor.
"""

from __future__ import annotations

import struct
from typing import Final

from onionshh.core.base.work import tries_for
from onionshh.crypto.primitives import sha3_256
from onionshh.ids import RandomBytes

NONCE: Final = 8
NO_PROOF: Final = bytes(NONCE)
EFFORT_LEAST: Final = 64
"""Less effort counts as nothing, because a flood of random salts reaches it by chance."""
EFFORT_MOST: Final = 1 << 17
"""An endpoint searches for no more than this, which takes one processor about 18 s."""

_PERIOD = struct.Struct(">Q")
_COUNTS = 1 << 64


def publish_task(shared_random: bytes, blinded: bytes, period: int) -> bytes:
    """The task that a proof for this name and period must solve, 32 bytes."""
    return sha3_256(b"onionshh proof v1 publish", shared_random, blinded, _PERIOD.pack(period))


def effort(task: bytes, nonce: bytes) -> int:
    """The effort of a nonce of 8 bytes. It is 0 below the least, and for zeros, which are not checked."""
    if nonce == NO_PROOF:
        return 0
    tries = tries_for(task, nonce)
    return tries if tries >= EFFORT_LEAST else 0


class Search:
    """The best nonce for one task so far. Call `look` any number of times."""

    def __init__(self, task: bytes, random_bytes: RandomBytes) -> None:
        self._task = task
        self._next = int.from_bytes(random_bytes(NONCE))
        self.effort = 0
        self.nonce = NO_PROOF

    def look(self, tries: int, enough: int) -> None:
        """Make `tries` more tries, or fewer if the effort reaches `enough`."""
        for _ in range(tries):
            if self.effort >= enough:
                return
            nonce = self._next.to_bytes(NONCE)
            self._next = (self._next + 1) % _COUNTS
            found = effort(self._task, nonce)
            if found > self.effort:
                self.effort, self.nonce = found, nonce
