"""The signatures of mailboxes (SPEC 14)."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from onionshh.core.mailbox.item import (
    ItemKey,
    check_item_untrusted,
    check_list_untrusted,
    check_put_untrusted,
    expires_fits,
    make_list,
    make_put,
    value_hash,
)
from onionshh.crypto.ed25519 import verify_untrusted
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import CryptoError
from onionshh.ids import RelayId
from onionshh.wire.mailbox import BOARD, HEADS, INBOX, VALUES, Item, List, Mailbox, Put
from tests.seeded import seeded

KEY = ItemKey(bytes(range(32)))
OWNER = ItemKey(bytes(range(1, 33)))
BOX = Mailbox(INBOX, OWNER.public, 20_000)
PUT = make_put(KEY, BOX, expires=1_728_000_000, revision=3, value=b"v" * 5328, effort=7, nonce=b"n" * 16)
ITEM = Item(PUT.item_id, PUT.expires, PUT.revision, PUT.signature, PUT.value)
RELAY = RelayId(b"r" * 32)
BINDING = b"b" * 32


def listed(**changes: Any) -> List:
    asked: dict[str, Any] = {
        "mode": VALUES,
        "after": 5,
        "wait": 60,
        "binding": BINDING,
        "relay_id": RELAY,
        "sign": OWNER.sign,
    }
    return make_list(BOX, **(asked | changes))


def test_what_is_signed_is_what_is_written_in_the_specification() -> None:
    said = b"onionshh mailbox v1" + b"\x01" + OWNER.public + (20_000).to_bytes(8, "big") + KEY.public
    said += (1_728_000_000).to_bytes(4, "big") + b"\x03" + hashlib.sha3_256(b"v" * 5328).digest()
    verify_untrusted(KEY.public, PUT.signature, said)
    said = b"onionshh list v1" + BINDING + RELAY + b"\x01" + OWNER.public + (20_000).to_bytes(8, "big")
    said += b"\x00" + (5).to_bytes(8, "big") + (60).to_bytes(2, "big")
    verify_untrusted(OWNER.public, listed().signature, said)


def test_a_deposit_holds_on_the_wire_and_so_does_what_a_reader_gets() -> None:
    check_put_untrusted(Put.decode_untrusted(PUT.encode()))
    check_item_untrusted(BOX, ITEM)
    gone = make_put(KEY, BOX, expires=1_728_000_000, revision=4, value=b"")
    check_put_untrusted(Put.decode_untrusted(gone.encode()))


def test_effort_and_nonce_are_not_signed_so_one_signature_serves_every_price() -> None:
    check_put_untrusted(replace(PUT, effort=9, nonce=b"m" * 16))


@pytest.mark.parametrize(
    "changes",
    [
        {"mailbox": Mailbox(BOARD, BOX.name, BOX.period)},
        {"mailbox": Mailbox(INBOX, KEY.public, BOX.period)},
        {"mailbox": Mailbox(INBOX, BOX.name, BOX.period + 1)},
        {"item_id": OWNER.public},
        {"item_id": bytes(32)},
        {"expires": PUT.expires + 1},
        {"revision": PUT.revision + 1},
        {"value": b"w" * 5328},
        {"value": b""},
        {"signature": bytes(64)},
        {"signature": PUT.signature[:63]},
    ],
)
def test_a_deposit_that_was_changed_does_not_hold(changes: dict[str, Any]) -> None:
    changed = replace(PUT, **changes)
    with pytest.raises(CryptoError):
        check_put_untrusted(changed)
    shown = Item(changed.item_id, changed.expires, changed.revision, changed.signature, changed.value)
    with pytest.raises(CryptoError):
        check_item_untrusted(changed.mailbox, shown)


def test_a_list_holds_for_one_relay_and_circuit() -> None:
    wanted = List.decode_untrusted(listed().encode())
    check_list_untrusted(wanted, BINDING, RELAY)
    for binding, relay in ((b"c" * 32, RELAY), (BINDING, RelayId(b"s" * 32))):
        with pytest.raises(CryptoError):
            check_list_untrusted(wanted, binding, relay)


@pytest.mark.parametrize(
    "changes",
    [
        {"mailbox": Mailbox(BOARD, BOX.name, BOX.period)},
        {"mailbox": Mailbox(INBOX, KEY.public, BOX.period)},
        {"mailbox": Mailbox(INBOX, BOX.name, BOX.period + 1)},
        {"mode": HEADS},
        {"after": 6},
        {"wait": 61},
        {"signature": bytes(64)},
    ],
)
def test_a_list_that_was_changed_does_not_hold(changes: dict[str, Any]) -> None:
    with pytest.raises(CryptoError):
        check_list_untrusted(replace(listed(), **changes), BINDING, RELAY)


def test_an_endpoint_lists_with_its_blinded_key() -> None:
    draw = seeded(1)
    blinded = IdentityKeys.generate(draw).blind(20_000, 86_400)
    wanted = make_list(
        Mailbox(INBOX, blinded.public, 20_000),
        mode=HEADS,
        after=0,
        wait=0,
        binding=BINDING,
        relay_id=RELAY,
        sign=lambda message: blinded.sign(message, draw),
    )
    check_list_untrusted(wanted, BINDING, RELAY)


def test_a_signer_that_gives_something_else_is_our_own_fault() -> None:
    with pytest.raises(ValueError, match="64"):
        listed(sign=lambda _: b"")


def test_an_item_may_lie_for_more_than_a_minute_and_at_most_a_week_and_ten_minutes() -> None:
    week = 7 * 24 * 3600 + 600
    fits = [expires_fits(1_728_000_000 + after, 1_728_000_000) for after in (60, 61, week, week + 1)]
    assert fits == [False, True, True, False]


def test_a_value_is_known_by_its_hash() -> None:
    assert value_hash(b"v") == hashlib.sha3_256(b"v").digest()
