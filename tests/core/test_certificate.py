"""Signing keys and their certificates: who made one, and when it is over."""

from __future__ import annotations

import pytest

from onionshh.core.certificate import (
    CLOCK_SECONDS,
    Certificate,
    RelaySigner,
    certify,
    expires_of,
    is_over,
    open_signing_untrusted,
    signing_text,
)
from onionshh.crypto.identity import SigningKey, verify_untrusted
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.descriptor import SIGNING

MASTER = SigningKey(b"m" * 32)
KEY = SigningKey(b"k" * 32)
END = 1_700_000_000
GOOD = certify(MASTER, KEY.public, END)


def test_a_certificate_round_trip() -> None:
    data = GOOD.encode()
    assert len(data) == SIGNING
    assert open_signing_untrusted(RelayId(MASTER.public), data) == GOOD
    assert expires_of(data) == END
    text = b"onionshh relay signing v1" + KEY.public + END.to_bytes(8, "big")
    assert signing_text(KEY.public, END) == text
    verify_untrusted(MASTER.public, data[-64:], text)


def test_every_truncation_flipped_bit_and_trailing_byte_is_refused() -> None:
    data = GOOD.encode()
    wrong = [data[:size] for size in range(len(data))] + [data + b"\0"]
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        wrong.append(bytes(changed))
    for each in wrong:
        with pytest.raises(ProtocolError, match=Reason.CERTIFICATE):
            open_signing_untrusted(RelayId(MASTER.public), each)


def test_only_the_identity_makes_one() -> None:
    for identity in (KEY.public, bytes(32), b"\xff" * 32):
        with pytest.raises(ProtocolError, match=Reason.CERTIFICATE):
            open_signing_untrusted(RelayId(identity), GOOD.encode())


def test_it_is_over_some_minutes_after_its_end_and_never_while_no_time_is_known() -> None:
    assert not is_over(GOOD, 0)
    assert not is_over(GOOD, END + CLOCK_SECONDS - 1)
    assert is_over(GOOD, END + CLOCK_SECONDS)
    assert not is_over(Certificate(KEY.public, 2**64 - 1, bytes(64)), 2**63)


def test_what_signs_for_a_relay() -> None:
    plain = RelaySigner.of(MASTER)
    assert (plain.identity, plain.signing) == (MASTER.public, b"")
    assert plain.sign(b"text") == MASTER.sign(b"text")
    with_key = RelaySigner(RelayId(MASTER.public), KEY, GOOD)
    assert (with_key.identity, with_key.signing) == (MASTER.public, GOOD.encode())
    assert with_key.sign(b"text") == KEY.sign(b"text")
    assert KEY.seed.hex() not in repr(with_key)
    assert repr(KEY.seed) not in repr(with_key)
