"""The proof of work of a deposit: for one item in one mailbox, until one moment (SPEC 15).

The challenge names the item's id, its value and its end, so a proof cannot be used for anything else. It also
has the random value of the mailbox's period, so nobody can search before that is known. It does not name a
relay: one proof serves all four copies. Whoever deposits may search for more effort than is asked; the relay
checks the effort that the message claims.
"""

from __future__ import annotations

import struct
from typing import Final

from onionshh.core.base.work import tries_for
from onionshh.crypto.primitives import sha3_256
from onionshh.geometry import PROOF_NONCE
from onionshh.ids import RandomBytes
from onionshh.wire.mailbox import Mailbox

NO_PROOF: Final = bytes(PROOF_NONCE)

_EXPIRES = struct.Struct(">I")
_COUNTS = 1 << 8 * PROOF_NONCE


def put_task(shared_random: bytes, mailbox: Mailbox, item_id: bytes, expires: int, value: bytes) -> bytes:
    """The task that a proof for this deposit must solve, 32 bytes. `shared_random`: that of the mailbox's
    period."""
    return sha3_256(
        b"onionshh proof v1 put",
        shared_random,
        mailbox.encode(),
        item_id,
        _EXPIRES.pack(expires),
        sha3_256(value),
    )


def holds_untrusted(task: bytes, nonce: bytes, effort: int) -> bool:
    """Whether the nonce is worth this effort. No effort needs no proof."""
    return effort == 0 or tries_for(task, nonce) >= effort


class Search:
    """The search for one proof. Call `look` until it returns True."""

    __slots__ = ("_effort", "_next", "_task", "found", "nonce", "tries")

    def __init__(self, task: bytes, effort: int, random_bytes: RandomBytes) -> None:
        self._task = task
        self._effort = effort
        self._next = int.from_bytes(random_bytes(PROOF_NONCE))
        self.nonce = NO_PROOF
        self.tries = 0
        self.found = effort == 0

    def __repr__(self) -> str:
        return f"<Search for {self._effort}, {self.tries} tries>"

    def look(self, tries: int) -> bool:
        """Make `tries` more tries, or fewer if a proof is found. Returns whether one is found."""
        for _ in range(tries):
            if self.found:
                break
            nonce = self._next.to_bytes(PROOF_NONCE)
            self._next = (self._next + 1) % _COUNTS
            self.tries += 1
            if tries_for(self._task, nonce) >= self._effort:
                self.nonce, self.found = nonce, True
        return self.found
