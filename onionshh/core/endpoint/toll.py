"""The proof of work for an introduction, while an endpoint is under load (SPEC 15).

The task names the seed that the endpoint published, the introducer's key for it, the effort that is claimed,
and the sealed bytes. So a proof is good for one introduction, through one introducer, until the seed is over.
"""

from __future__ import annotations

import struct
from typing import Final

from onionshh.core.mailbox.work import holds_untrusted
from onionshh.crypto.primitives import sha3_256
from onionshh.ids import AuthKey
from onionshh.wire.messages import Introduce, Paid

SEED_HEAD: Final = 4
"""So many bytes of the seed tell an introducer which one was meant."""

_EFFORT: Final = struct.Struct(">I")


def intro_task(seed: bytes, auth_key: AuthKey, effort: int, sealed: bytes) -> bytes:
    """The task that the proof must solve, 32 bytes."""
    return sha3_256(b"onionshh proof v1 intro", seed, auth_key, _EFFORT.pack(effort), sha3_256(sealed))


def pays_untrusted(paid: Paid, seed: bytes, message: Introduce) -> bool:
    """Whether this introduction proves the effort that it claims, for this seed."""
    task = intro_task(seed, AuthKey(message.auth_key), paid.effort, message.sealed)
    return holds_untrusted(task, paid.nonce, paid.effort)
