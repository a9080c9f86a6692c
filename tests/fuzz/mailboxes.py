"""Mailboxes: their messages, signatures and proofs, and what lies in them, sealed by the right key or not."""

from __future__ import annotations

from onionshh import geometry as g
from onionshh.core.mailbox.item import (
    ItemKey,
    check_item_untrusted,
    check_list_untrusted,
    check_put_untrusted,
    make_list,
    make_put,
)
from onionshh.core.mailbox.letter import (
    KnownSender,
    Letter,
    NewSender,
    letter_info,
    letter_proof,
    open_letter_untrusted,
    seal_letter,
    split,
)
from onionshh.core.mailbox.pair import (
    FROM_ENDPOINT,
    PairPart,
    open_pair_untrusted,
    pack_records,
    pair_mailbox,
    seal_pair,
    unpack_records_untrusted,
)
from onionshh.core.mailbox.work import Search, holds_untrusted
from onionshh.core.session.session import SessionId
from onionshh.crypto.primitives import aead_seal, kdf
from onionshh.crypto.seal import SealKey, seal
from onionshh.ids import RelayId
from onionshh.wire import mailbox as wire
from tests.fuzz.doors import WHISPER
from tests.fuzz.target import Left, Script, Target
from tests.seeded import seeded

_KEY, _OWNER = ItemKey(seeded(1)(g.KEY)), ItemKey(seeded(2)(g.KEY))
_INBOX = wire.Mailbox(wire.INBOX, _OWNER.public, 20_000)
_VALUE = bytes(g.MAILBOX_VALUE)
_BINDING, _RELAY = seeded(3)(g.BINDING), RelayId(seeded(4)(g.KEY))
_PUT = make_put(_KEY, _INBOX, expires=1_728_000_000, revision=0, value=_VALUE, effort=96)
_RECALL = make_put(_KEY, _INBOX, expires=1_728_000_000, revision=1, value=b"")
_LIST = make_list(
    _INBOX,
    mode=wire.VALUES,
    after=7,
    wait=600,
    binding=_BINDING,
    relay_id=_RELAY,
    sign=_OWNER.sign,
)
_ITEM = wire.Item(_PUT.item_id, _PUT.expires, _PUT.revision, _PUT.signature, _PUT.value)
_ITEMS = wire.Items(wire.STORED, 9, items=(_ITEM, _ITEM))
_HEADS = wire.Items(wire.STORED, 9, heads=tuple(wire.Head(_KEY.public, n, 1_728_000_000) for n in range(5)))


def _items(data: bytes) -> None:
    script = Script(data)
    mode = wire.HEADS if script.number(1) & 1 else wire.VALUES
    wire.Items.decode_untrusted(script.rest(), mode)


def _item(data: bytes) -> None:
    for item in wire.Items.decode_untrusted(data, wire.VALUES).items:
        check_item_untrusted(_INBOX, item)


# Work.

_TASK = seeded(5)(g.HASH)
_SEARCH = Search(_TASK, 64, seeded(6))
_SEARCH.look(10_000)


def _worth(data: bytes) -> None:
    script = Script(data)
    nonce = script.take(g.PROOF_NONCE).ljust(g.PROOF_NONCE, b"\0")
    holds_untrusted(_TASK, nonce, script.number(4))


# Letters.

_LETTER_KEY = SealKey.generate(seeded(7))
_INFO = letter_info(20_000, seeded(8)(g.KEY), _KEY.public)
_MAIL = seeded(9)(g.KEY)
_SENDERS = (
    NewSender(seeded(10)(g.SEED)),
    KnownSender(SessionId(seeded(11)(g.SESSION_ID)), letter_proof(_MAIL, _KEY.public)),
)
_LETTERS = tuple(
    Letter(sender, WHISPER.whisper_id, 1, part, parts, chunk)
    for sender in _SENDERS
    for parts, part, chunk in (
        (1, 0, split(WHISPER.encode())[0]),
        (4, 0, bytes(g.LETTER_CHUNK)),
        (16, 15, bytes(3536)),
    )
)


def _letter(plain: bytes) -> None:
    letter = Letter.decode_untrusted(plain)
    if letter.encode() != plain:
        raise Left("a letter was read that no encoder makes")


def _letter_sealed(data: bytes) -> None:
    plain = data[: g.LETTER_PLAIN].ljust(g.LETTER_PLAIN, b"\0")
    opened = open_letter_untrusted(_LETTER_KEY, _INFO, seal(_LETTER_KEY.public, _INFO, plain))
    if isinstance(opened.sender, KnownSender):
        opened.sender.holds(_MAIL, _KEY.public)


# What a pair leaves.

_PAIR = pair_mailbox(_MAIL, FROM_ENDPOINT, 20_000)
_RECORDS = pack_records([WHISPER.encode()] * 17)
_PARTS = (
    PairPart(WHISPER.whisper_id, 0, 1, _RECORDS),
    PairPart(WHISPER.whisper_id, 3, 13, bytes(g.PAIR_CHUNK)),
    PairPart(WHISPER.whisper_id, 15, 16, b"\0"),
)


def _part(plain: bytes) -> None:
    part = PairPart.decode_untrusted(plain)
    if part.encode() != plain:
        raise Left("a part was read that no encoder makes")


def _part_sealed(data: bytes) -> None:
    plain = data[: g.PAIR_PLAIN].ljust(g.PAIR_PLAIN, b"\0")
    salt = bytes(g.SALT)
    key = kdf("mailbox value", _MAIL, salt)
    sealed = aead_seal(key, bytes(g.AEAD_NONCE), plain, _PAIR.encode() + _KEY.public)
    open_pair_untrusted(_MAIL, _PAIR, _KEY.public, salt + sealed)


def _records(data: bytes) -> None:
    if pack_records(unpack_records_untrusted(data)) != data:
        raise Left("records were read that no encoder makes")


MAILBOXES = (
    Target(
        "wire.mailbox.Mailbox.decode_untrusted",
        wire.Mailbox.decode_untrusted,
        (_INBOX.encode(), _PAIR.encode()),
    ),
    Target("wire.mailbox.Put.decode_untrusted", wire.Put.decode_untrusted, (_PUT.encode(), _RECALL.encode())),
    Target(
        "wire.mailbox.Kept.decode_untrusted",
        wire.Kept.decode_untrusted,
        (wire.Kept(wire.STORED).encode(), wire.Kept(wire.DEAR, 96).encode()),
    ),
    Target("wire.mailbox.List.decode_untrusted", wire.List.decode_untrusted, (_LIST.encode(),)),
    Target(
        "wire.mailbox.Items.decode_untrusted",
        _items,
        (b"\0" + _ITEMS.encode(), b"\1" + _HEADS.encode(), b"\0" + wire.Items(wire.REFUSED).encode()),
    ),
    Target(
        "core.mailbox.item.check_put_untrusted",
        lambda data: check_put_untrusted(wire.Put.decode_untrusted(data)),
        (_PUT.encode(), _RECALL.encode()),
    ),
    Target("core.mailbox.item.check_item_untrusted", _item, (_ITEMS.encode(),)),
    Target(
        "core.mailbox.item.check_list_untrusted",
        lambda data: check_list_untrusted(wire.List.decode_untrusted(data), _BINDING, _RELAY),
        (_LIST.encode(),),
    ),
    Target("core.mailbox.work.holds_untrusted", _worth, (_SEARCH.nonce + (64).to_bytes(4, "big"),)),
    Target("core.mailbox.letter.Letter.decode_untrusted", _letter, tuple(one.encode() for one in _LETTERS)),
    Target(
        "core.mailbox.letter.open_letter_untrusted",
        lambda data: open_letter_untrusted(_LETTER_KEY, _INFO, data),
        (seal_letter(_LETTER_KEY.public, _INFO, _LETTERS[0]),),
    ),
    Target(
        "core.mailbox.letter.open_letter_untrusted:sealed",
        _letter_sealed,
        tuple(one.encode() for one in _LETTERS),
    ),
    Target("core.mailbox.pair.PairPart.decode_untrusted", _part, tuple(one.encode() for one in _PARTS)),
    Target(
        "core.mailbox.pair.open_pair_untrusted",
        lambda data: open_pair_untrusted(_MAIL, _PAIR, _KEY.public, data),
        (seal_pair(_MAIL, _PAIR, _KEY.public, _PARTS[0], seeded(12)),),
    ),
    Target(
        "core.mailbox.pair.open_pair_untrusted:sealed", _part_sealed, tuple(one.encode() for one in _PARTS)
    ),
    Target("core.mailbox.pair.unpack_records_untrusted", _records, (_RECORDS,)),
)
"""One target for each, in the order of the layers."""
