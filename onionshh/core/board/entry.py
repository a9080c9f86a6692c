"""An entry: one part of a post, as it lies on a board (SPEC 14).

```
plain 5 296 = author 32 ‖ number u32 ‖ posted u32 ‖ post 16 ‖ part u8 ‖ parts u8 ‖ length u16
              ‖ body ≤ 5 172 ‖ zeros ‖ signature 64
signature   by author over "onionshh post v1" ‖ name ‖ u64 period ‖ item id ‖ all before it
```

`author` is a key that an identity has on this board alone, and `number` counts its posts from 1. A post
without an author has a key that was made for this one post, and number 0. So nobody can put a part into the
post of another, and nobody can put an entry of another under an id of his own. `posted` is in minutes since
1970. Each part but the last is full. The value is sealed as `core/mailbox/value.py` says, under the topic's
secret.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.value import open_value_untrusted, seal_value
from onionshh.crypto.ed25519 import SigningKey, verify_untrusted
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from onionshh.wire.mailbox import Mailbox

POST_MOST: Final = 65_535
"""Bytes of one post."""
PARTS_MOST: Final = -(-POST_MOST // g.BOARD_CHUNK)
NUMBER_MOST: Final = 2**32 - 1
MINUTE_SECONDS: Final = 60

_SIGNED: Final = b"onionshh post v1"
_LAYOUT: Final = struct.Struct(f">{g.KEY}sII{g.POST_ID}sBBH")
_U64: Final = struct.Struct(">Q")


@dataclass(frozen=True, slots=True)
class Entry:
    """`author`: its key on this board. `number`: 0 for a post without an author. `minute`: when it was
    posted, as its author says. `chunk`: this part of the post."""

    author: bytes
    number: int
    minute: int
    post_id: bytes
    part: int
    parts: int
    chunk: bytes = field(repr=False)

    def encode(self) -> bytes:
        """All that is signed of the plaintext, 5 232 bytes."""
        head = _LAYOUT.pack(
            self.author, self.number, self.minute, self.post_id, self.part, self.parts, len(self.chunk)
        )
        return (head + self.chunk).ljust(g.BOARD_SIGNED, b"\0")

    @classmethod
    def decode_untrusted(cls, signed: bytes) -> Entry:
        """The inverse of `encode`. Raises ProtocolError for any other form than the one it gives."""
        if len(signed) != g.BOARD_SIGNED:
            raise ProtocolError(Reason.BOARD_SHAPE)
        author, number, minute, post_id, part, parts, length = _LAYOUT.unpack_from(signed)
        end = _LAYOUT.size + length
        least = g.BOARD_CHUNK if part < parts - 1 else int(parts > 1)
        if (
            not 0 < parts <= PARTS_MOST
            or part >= parts
            or not least <= length <= g.BOARD_CHUNK
            or part * g.BOARD_CHUNK + length > POST_MOST
            or signed.count(0, end) != len(signed) - end
        ):
            raise ProtocolError(Reason.BOARD_SHAPE)
        return cls(author, number, minute, post_id, part, parts, signed[_LAYOUT.size : end])


def split_post(body: bytes) -> tuple[bytes, ...]:
    """The chunks of a post, one for each part; an empty post has one empty part."""
    return tuple(body[at : at + g.BOARD_CHUNK] for at in range(0, max(1, len(body)), g.BOARD_CHUNK))


def seal_entry(
    topic: Topic,
    mailbox: Mailbox,
    item_id: bytes,
    author: SigningKey,
    entry: Entry,
    random_bytes: RandomBytes,
) -> bytes:
    """The value of an item, 5 328 bytes. `author`: the key whose public half the entry names."""
    signed = entry.encode()
    signature = author.sign(_to_sign(mailbox, item_id, signed))
    return seal_value(topic.secret, mailbox, item_id, signed + signature, random_bytes)


def open_entry_untrusted(topic: Topic, mailbox: Mailbox, item_id: bytes, value: bytes) -> Entry:
    """The entry in an item of this mailbox. Every failure is a ProtocolError."""
    plain = open_value_untrusted(topic.secret, mailbox, item_id, value)
    signed, signature = plain[: g.BOARD_SIGNED], plain[g.BOARD_SIGNED :]
    entry = Entry.decode_untrusted(signed)
    verify_untrusted(entry.author, signature, _to_sign(mailbox, item_id, signed))
    return entry


def _to_sign(mailbox: Mailbox, item_id: bytes, signed: bytes) -> bytes:
    return _SIGNED + mailbox.name + _U64.pack(mailbox.period) + item_id + signed
