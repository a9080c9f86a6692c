"""The messages of mailboxes: PUT, KEPT, LIST, ITEMS (SPEC 14).

A mailbox is `kind u8 ‖ name 32 ‖ period u64`; its name is an Ed25519 key. Anyone may deposit an item under a
one-time key, the item's id. Only the holder of the mailbox's own key may list. This file has the bytes;
core/mailbox/ signs and checks them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.messages import exactly

INBOX: Final = 1
BOARD: Final = 2
PAIR: Final = 3
KINDS: Final = frozenset((INBOX, BOARD, PAIR))

# The statuses of KEPT and ITEMS.
STORED: Final = 0
STALE: Final = 1
REFUSED: Final = 2
FULL: Final = 3
DEAR: Final = 4

# The modes of LIST.
VALUES: Final = 0
HEADS: Final = 1

WAIT_MOST: Final = 600
NUMBER_MOST: Final = 2**63 - 1

_MAILBOX = struct.Struct(f">B{g.KEY}sQ")
_PUT_HEAD = struct.Struct(f">{g.MAILBOX}s{g.KEY}sIB")
_PUT_PROOF = struct.Struct(f">I{g.PROOF_NONCE}s{g.SIGNATURE}s")
_LIST = struct.Struct(f">{g.MAILBOX}sBQH")
_KEPT = struct.Struct(">BI")
_ITEMS = struct.Struct(">BQH")
_HEAD = struct.Struct(f">{g.KEY}sQI")
_ITEM = struct.Struct(f">{g.KEY}sIB{g.SIGNATURE}s{g.MAILBOX_VALUE}s")


@dataclass(frozen=True, slots=True, order=True)
class Mailbox:
    """Kind u8 ‖ name 32 ‖ period u64."""

    kind: int
    name: bytes = field(repr=False)
    period: int

    def encode(self) -> bytes:
        return _MAILBOX.pack(self.kind, self.name, self.period)

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Mailbox:
        kind, name, period = _MAILBOX.unpack(exactly(body, g.MAILBOX))
        if kind not in KINDS or period > NUMBER_MOST:
            raise ProtocolError(Reason.MAILBOX_SHAPE)
        return cls(kind, name, period)


@dataclass(frozen=True, slots=True)
class Put:
    """`mailbox 41 ‖ id 32 ‖ expires u32 ‖ revision u8 ‖ effort u32 ‖ nonce 16 ‖ signature 64 ‖ value 5 328 or
    none`. `expires`: Unix seconds. An empty value erases the item."""

    mailbox: Mailbox
    item_id: bytes = field(repr=False)
    expires: int
    revision: int
    effort: int
    nonce: bytes = field(repr=False)
    signature: bytes = field(repr=False)
    value: bytes = field(repr=False)

    @property
    def head(self) -> bytes:
        """Everything before the effort. With the value's hash, this is what the item's key signs."""
        return put_head(self.mailbox, self.item_id, self.expires, self.revision)

    def encode(self) -> bytes:
        return self.head + _PUT_PROOF.pack(self.effort, self.nonce, self.signature) + self.value

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Put:
        if len(body) not in (g.PUT, g.PUT_HEADER):
            raise ProtocolError(Reason.MESSAGE_SIZE)
        mailbox, item_id, expires, revision = _PUT_HEAD.unpack_from(body)
        effort, nonce, signature = _PUT_PROOF.unpack_from(body, _PUT_HEAD.size)
        return cls(
            Mailbox.decode_untrusted(mailbox),
            item_id,
            expires,
            revision,
            effort,
            nonce,
            signature,
            body[g.PUT_HEADER :],
        )


def put_head(mailbox: Mailbox, item_id: bytes, expires: int, revision: int) -> bytes:
    """`mailbox 41 ‖ id 32 ‖ expires u32 ‖ revision u8`."""
    return _PUT_HEAD.pack(mailbox.encode(), item_id, expires, revision)


@dataclass(frozen=True, slots=True)
class Kept:
    """The answer to PUT: status u8 ‖ effort u32. `effort`: what a deposit like this one takes now."""

    status: int
    effort: int = 0

    def encode(self) -> bytes:
        return _KEPT.pack(self.status, self.effort)

    @classmethod
    def decode_untrusted(cls, body: bytes) -> Kept:
        status, effort = _KEPT.unpack(exactly(body, _KEPT.size))
        if status > DEAR:
            raise ProtocolError(Reason.MAILBOX_SHAPE)
        return cls(status, effort)


@dataclass(frozen=True, slots=True)
class List:
    """`mailbox 41 ‖ mode u8 ‖ after u64 ‖ wait u16 ‖ signature 64`. `after`: the number of the last item that
    the reader has. `wait`: how many seconds the relay may wait for an item before it answers."""

    mailbox: Mailbox
    mode: int
    after: int
    wait: int
    signature: bytes = field(repr=False)

    @property
    def asked(self) -> bytes:
        """Everything before the signature."""
        return list_asked(self.mailbox, self.mode, self.after, self.wait)

    def encode(self) -> bytes:
        return self.asked + self.signature

    @classmethod
    def decode_untrusted(cls, body: bytes) -> List:
        exactly(body, g.LIST)
        mailbox, mode, after, wait = _LIST.unpack_from(body)
        if mode not in (VALUES, HEADS) or after > NUMBER_MOST or wait > WAIT_MOST:
            raise ProtocolError(Reason.MAILBOX_SHAPE)
        return cls(Mailbox.decode_untrusted(mailbox), mode, after, wait, body[_LIST.size :])


def list_asked(mailbox: Mailbox, mode: int, after: int, wait: int) -> bytes:
    """`mailbox 41 ‖ mode u8 ‖ after u64 ‖ wait u16`."""
    return _LIST.pack(mailbox.encode(), mode, after, wait)


@dataclass(frozen=True, slots=True)
class Head:
    """One item in a list of heads: id 32 ‖ number u64 ‖ expires u32."""

    item_id: bytes = field(repr=False)
    number: int
    expires: int


@dataclass(frozen=True, slots=True)
class Item:
    """One item with its value: `id 32 ‖ expires u32 ‖ revision u8 ‖ signature 64 ‖ value 5 328`. The
    signature is the depositor's, so that a reader need not trust the relay."""

    item_id: bytes = field(repr=False)
    expires: int
    revision: int
    signature: bytes = field(repr=False)
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Items:
    """The answer to LIST: status u8 ‖ next u64 ‖ count u16 ‖ the items. `next`: the number of the last item
    here, or `after` when there is none. One of the two tuples is empty."""

    status: int
    next: int = 0
    items: tuple[Item, ...] = ()
    heads: tuple[Head, ...] = ()

    def encode(self) -> bytes:
        count = len(self.items) + len(self.heads)
        rows = [
            _ITEM.pack(item.item_id, item.expires, item.revision, item.signature, item.value)
            for item in self.items
        ]
        rows += [_HEAD.pack(head.item_id, head.number, head.expires) for head in self.heads]
        return _ITEMS.pack(self.status, self.next, count) + b"".join(rows)

    @classmethod
    def decode_untrusted(cls, body: bytes, mode: int) -> Items:
        """`mode`: that of the LIST which this answers."""
        if len(body) < _ITEMS.size:
            raise ProtocolError(Reason.MESSAGE_SIZE)
        status, next_number, count = _ITEMS.unpack_from(body)
        row, most = (_ITEM, g.MAILBOX_PAGE_VALUES) if mode == VALUES else (_HEAD, g.MAILBOX_PAGE_HEADS)
        if count > most or len(body) != _ITEMS.size + count * row.size:
            raise ProtocolError(Reason.MESSAGE_SIZE)
        if status not in (STORED, REFUSED, FULL) or (status != STORED and count) or next_number > NUMBER_MOST:
            raise ProtocolError(Reason.MAILBOX_SHAPE)
        rows = list(row.iter_unpack(body[_ITEMS.size :]))
        if mode == VALUES:
            return cls(status, next_number, items=tuple(Item(*fields) for fields in rows))
        heads = tuple(Head(*fields) for fields in rows)
        if any(head.number > next_number for head in heads):
            raise ProtocolError(Reason.MAILBOX_SHAPE)
        return cls(status, next_number, heads=heads)
