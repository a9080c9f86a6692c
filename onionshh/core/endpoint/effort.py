"""What a place on a crowded ring costs: a proof of work for one name and period (SPEC 10).

Shares by origin do not help whoever shares all of his ways with a flood. He outbids it: the first 8 bytes
of a descriptor's salt are a nonce, and what scrypt makes of it for this name and period is a number of
effort. A nonce of effort e is found in e tries on average. It holds for every revision and for all relays
of the name; nobody can look for it before the period's random value is known.

A nonce of zeros claims nothing and costs nobody a look. Memory of 64 KiB a try keeps the distance between a
processor and hardware made for it small; one try is cheaper than the two signatures of a descriptor.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

from onionshh.crypto.primitives import sha3_256
from onionshh.ids import RandomBytes

NONCE: Final = 8
NO_PROOF: Final = bytes(NONCE)
EFFORT_LEAST: Final = 64
"""Less counts as nothing: a flood of random salts would have it by chance."""
EFFORT_MOST: Final = 1 << 17
"""An endpoint looks for no more: some 18 s of one processor."""

_N, _R, _P = 64, 8, 1
_NUMBER = struct.Struct(">I")
_PERIOD = struct.Struct(">Q")
_COUNTS = 1 << 64


def publish_task(shared_random: bytes, blinded: bytes, period: int) -> bytes:
    """What a proof for this name and period is about, 32 bytes."""
    return sha3_256(b"onionshh proof v1 publish", shared_random, blinded, _PERIOD.pack(period))


def tries_for(task: bytes, nonce: bytes) -> int:
    """In how many tries such a nonce is found on average: floor((2^32 - 1) / max(R, 1))."""
    drawn: int = _NUMBER.unpack(hashlib.scrypt(nonce, salt=task, n=_N, r=_R, p=_P, dklen=_NUMBER.size))[0]
    return 0xFFFFFFFF // max(drawn, 1)


def effort(task: bytes, nonce: bytes) -> int:
    """What a nonce of 8 bytes is worth: 0 for one of zeros, which is not looked at, and below the least."""
    if nonce == NO_PROOF:
        return 0
    tries = tries_for(task, nonce)
    return tries if tries >= EFFORT_LEAST else 0


class Search:
    """The best nonce for one task so far. `look` for more as often as one likes."""

    def __init__(self, task: bytes, random_bytes: RandomBytes) -> None:
        self._task = task
        self._next = int.from_bytes(random_bytes(NONCE))
        self.effort = 0
        self.nonce = NO_PROOF

    def look(self, tries: int, enough: int) -> None:
        """So many more tries, fewer once the effort is enough."""
        for _ in range(tries):
            if self.effort >= enough:
                return
            nonce = self._next.to_bytes(NONCE)
            self._next = (self._next + 1) % _COUNTS
            found = effort(self._task, nonce)
            if found > self.effort:
                self.effort, self.nonce = found, nonce
