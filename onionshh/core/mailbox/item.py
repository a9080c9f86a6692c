"""The signatures of mailboxes: on an item by its one-time key, and on a LIST by the mailbox's key (SPEC 14).

An item's id is an Ed25519 key that its depositor made for this one item. Its signature covers the mailbox,
the id, the end, the revision and the hash of the value. So only the depositor can change or recall the item.
And a reader knows that the value is the one that was deposited under this id, whatever the relay says.

A LIST is signed by the mailbox's key, over the circuit's binding and the relay's identity. So nobody can
repeat it on another circuit or at another relay.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from onionshh.core.mailbox.work import NO_PROOF
from onionshh.crypto.ed25519 import SigningKey, verify_untrusted
from onionshh.crypto.primitives import sha3_256
from onionshh.geometry import SIGNATURE
from onionshh.ids import RelayId
from onionshh.wire.mailbox import Item, List, Mailbox, Put, list_asked, put_head

ItemKey = SigningKey
"""The one-time key of an item. Its public half is the item's id."""

TTL_LEAST_SECONDS: Final = 60
TTL_MOST_SECONDS: Final = 7 * 24 * 3600
GRACE_SECONDS: Final = 600
"""So far a node's clock may be ahead of a relay's, or a whisper's end may lie behind its TTL."""

_PUT: Final = b"onionshh mailbox v1"
_LIST: Final = b"onionshh list v1"


def expires_fits(expires: int, wall: int) -> bool:
    """Whether an item that is deposited now may end then: in more than 60 s, and in at most 7 days and
    10 minutes. Both in Unix seconds."""
    return wall + TTL_LEAST_SECONDS < expires <= wall + TTL_MOST_SECONDS + GRACE_SECONDS


def value_hash(value: bytes) -> bytes:
    """By this a relay knows a value again, 32 bytes."""
    return sha3_256(value)


def make_put(
    key: ItemKey,
    mailbox: Mailbox,
    *,
    expires: int,
    revision: int,
    value: bytes,
    effort: int = 0,
    nonce: bytes = NO_PROOF,
) -> Put:
    """The signed deposit of a value. An empty value recalls the item."""
    head = put_head(mailbox, key.public, expires, revision)
    return Put(mailbox, key.public, expires, revision, effort, nonce, key.sign(_item(head, value)), value)


def check_put_untrusted(put: Put) -> None:
    """CryptoError unless the item's own key signed this deposit."""
    verify_untrusted(put.item_id, put.signature, _item(put.head, put.value))


def check_item_untrusted(mailbox: Mailbox, item: Item) -> None:
    """CryptoError unless the item's own key signed this value for this mailbox."""
    head = put_head(mailbox, item.item_id, item.expires, item.revision)
    verify_untrusted(item.item_id, item.signature, _item(head, item.value))


def make_list(
    mailbox: Mailbox,
    *,
    mode: int,
    after: int,
    wait: int,
    binding: bytes,
    relay_id: RelayId,
    sign: Callable[[bytes], bytes],
) -> List:
    """The signed LIST for one relay on one circuit. `sign`: signs with the mailbox's key. `binding`: the
    circuit's, at its last relay."""
    asked = list_asked(mailbox, mode, after, wait)
    signature = sign(_list(binding, relay_id, asked))
    if len(signature) != SIGNATURE:
        raise ValueError("a signature has 64 bytes")
    return List(mailbox, mode, after, wait, signature)


def check_list_untrusted(wanted: List, binding: bytes, relay_id: RelayId) -> None:
    """CryptoError unless the mailbox's key signed this LIST for this relay and circuit."""
    verify_untrusted(wanted.mailbox.name, wanted.signature, _list(binding, relay_id, wanted.asked))


def _item(head: bytes, value: bytes) -> bytes:
    return _PUT + head + value_hash(value)


def _list(binding: bytes, relay_id: RelayId, asked: bytes) -> bytes:
    return _LIST + binding + relay_id + asked
