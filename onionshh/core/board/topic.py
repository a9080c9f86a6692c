"""The topic of a board: one secret that all its members share (SPEC 14).

A topic is 32 secret bytes. Or it is a name; then anyone who knows or guesses the name is a member. All else
follows from the secret: in each period another mailbox, the keys of what is posted, and for each author a key
of its own on this board.
"""

from __future__ import annotations

import struct
import unicodedata
from dataclasses import dataclass, field
from typing import Final

from onionshh.crypto.ed25519 import SigningKey
from onionshh.crypto.primitives import kdf
from onionshh.geometry import KEY
from onionshh.wire.mailbox import BOARD, Mailbox

NAME_MOST: Final = 256
_U64: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Topic:
    """`secret`: 32 bytes."""

    secret: bytes = field(repr=False)

    @classmethod
    def of(cls, topic: bytes | str) -> Topic:
        """The topic of these 32 secret bytes, or of this name. Two ways to write the same accented letter are
        one name. ValueError, TypeError."""
        if isinstance(topic, str):
            return cls(kdf("topic", _checked(topic).encode()))
        if not isinstance(topic, bytes):
            raise TypeError(f"A topic is text or {KEY} bytes, not {type(topic).__name__}.")
        if len(topic) != KEY:
            raise ValueError(f"A secret topic has {KEY} bytes; this one has {len(topic)}.")
        return cls(topic)

    def key(self, period: int) -> SigningKey:
        """The key of the board's mailbox in this period. Every member has it and lists with it."""
        return SigningKey(kdf("board", self.secret, _U64.pack(period)))

    def mailbox(self, period: int) -> Mailbox:
        """The board's mailbox in this period."""
        return Mailbox(BOARD, self.key(period).public, period)


def _checked(name: str) -> str:
    name = unicodedata.normalize("NFC", name)
    if not 1 <= len(name) <= NAME_MOST or not name.isprintable() or name != name.strip():
        raise ValueError(
            f"The name of a topic is 1 to {NAME_MOST} printable characters, without blanks at its ends."
        )
    return name
