"""Proof of work: how many tries a nonce is worth for one task (SPEC 15).

scrypt turns a nonce and a task of 32 bytes into a number of 32 bits. The smaller the number, the longer the
search for it took on average. So a nonce of few bytes shows how many tries someone paid, and one call of
scrypt checks it. Each try needs 64 KiB of memory, so special hardware is not much faster than a processor.
The time of a try is spent in scrypt itself, so a program in Python searches as fast as one in C.

Everything that costs work uses this function: a place on a crowded ring, and a place in a mailbox.
"""

from __future__ import annotations

import hashlib
import struct
from typing import Final

MOST: Final = 0xFFFFFFFF
"""No nonce is worth more tries."""

_N, _R, _P = 64, 8, 1
_NUMBER = struct.Struct(">I")


def tries_for(task: bytes, nonce: bytes) -> int:
    """How many tries it takes on average to find such a nonce: floor((2^32 - 1) / max(R, 1)).

    A nonce holds for an effort if R · effort < 2^32. That is so if and only if this is at least the effort.
    """
    drawn: int = _NUMBER.unpack(hashlib.scrypt(nonce, salt=task, n=_N, r=_R, p=_P, dklen=_NUMBER.size))[0]
    return MOST // max(drawn, 1)
