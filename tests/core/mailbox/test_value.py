"""The sealed value of an item in a pair mailbox or on a board (SPEC 14)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.mailbox.value import open_value_untrusted, seal_value
from onionshh.crypto.primitives import aead_open, kdf
from onionshh.errors import CryptoError, ProtocolError
from onionshh.geometry import MAILBOX_VALUE
from onionshh.reasons import Reason
from onionshh.wire.mailbox import BOARD, PAIR, Mailbox
from tests.seeded import seeded

SECRET = b"s" * 32
BOX = Mailbox(BOARD, b"n" * 32, 20_000)
PLAIN = seeded(1)(5296)


def test_the_value_is_what_is_written_in_the_specification() -> None:
    value = seal_value(SECRET, BOX, b"i" * 32, PLAIN, lambda size: b"salt" * (size // 4))
    assert len(value) == 16 + 5296 + 16 == MAILBOX_VALUE
    assert value[:16] == b"saltsaltsaltsalt"
    associated = b"\x02" + b"n" * 32 + (20_000).to_bytes(8, "big") + b"i" * 32
    key = kdf("mailbox value", SECRET, value[:16])
    assert aead_open(key, bytes(12), value[16:], associated) == PLAIN
    assert open_value_untrusted(SECRET, BOX, b"i" * 32, value) == PLAIN


def test_each_value_has_a_salt_of_its_own() -> None:
    draw = seeded(2)
    first, second = (seal_value(SECRET, BOX, b"i" * 32, PLAIN, draw) for _ in range(2))
    assert first[:16] != second[:16]
    assert first[16:48] != second[16:48]


def test_it_opens_with_its_secret_in_its_place_only() -> None:
    value = seal_value(SECRET, BOX, b"i" * 32, PLAIN, seeded(3))
    for secret, box, item_id in (
        (b"t" * 32, BOX, b"i" * 32),
        (SECRET, replace(BOX, kind=PAIR), b"i" * 32),
        (SECRET, replace(BOX, name=b"m" * 32), b"i" * 32),
        (SECRET, replace(BOX, period=19_999), b"i" * 32),
        (SECRET, BOX, b"j" * 32),
    ):
        with pytest.raises(CryptoError):
            open_value_untrusted(secret, box, item_id, value)
    for at in (0, 15, 16, 5000, MAILBOX_VALUE - 1):
        changed = value[:at] + bytes((value[at] ^ 1,)) + value[at + 1 :]
        with pytest.raises(CryptoError):
            open_value_untrusted(SECRET, BOX, b"i" * 32, changed)


@pytest.mark.parametrize("size", [0, 15, 16, MAILBOX_VALUE - 1, MAILBOX_VALUE + 1])
def test_a_value_of_another_length_is_none(size: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        open_value_untrusted(SECRET, BOX, b"i" * 32, bytes(size))
    assert caught.value.reason == Reason.MAILBOX_SHAPE
