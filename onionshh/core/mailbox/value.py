"""The sealed value of an item in a pair mailbox or on a board (SPEC 14).

```
value 5 328 = salt 16 ‖ AES-256-GCM under KDF("mailbox value", secret, salt), nonce of zeros
associated  mailbox 41 ‖ item id 32
```

`secret` is the pair's mail key of the period, or the secret of a board's topic. A salt must never be used
twice with two plaintexts, so a value is sealed once and kept: every copy has the same bytes.
"""

from __future__ import annotations

from typing import Final

from onionshh import geometry as g
from onionshh.crypto.primitives import aead_open, aead_seal, kdf
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from onionshh.wire.mailbox import Mailbox

_ZERO_NONCE: Final = bytes(g.AEAD_NONCE)


def seal_value(
    secret: bytes, mailbox: Mailbox, item_id: bytes, plain: bytes, random_bytes: RandomBytes
) -> bytes:
    """The value, 5 328 bytes, of a plaintext of 5 296 bytes."""
    salt = random_bytes(g.SALT)
    return salt + aead_seal(_key(secret, salt), _ZERO_NONCE, plain, mailbox.encode() + item_id)


def open_value_untrusted(secret: bytes, mailbox: Mailbox, item_id: bytes, value: bytes) -> bytes:
    """The plaintext of a value of this mailbox and item. Every failure is a ProtocolError."""
    if len(value) != g.MAILBOX_VALUE:
        raise ProtocolError(Reason.MAILBOX_SHAPE)
    salt, sealed = value[: g.SALT], value[g.SALT :]
    return aead_open(_key(secret, salt), _ZERO_NONCE, sealed, mailbox.encode() + item_id)


def _key(secret: bytes, salt: bytes) -> bytes:
    return kdf("mailbox value", secret, salt)
