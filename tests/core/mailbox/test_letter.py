"""Letters: their bytes, their parts, and what they are bound to (SPEC 14)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from onionshh.core.delivery.record import NO_ID, WHISPER, Record
from onionshh.core.mailbox.letter import (
    KnownSender,
    Letter,
    NewSender,
    letter_info,
    letter_proof,
    letter_root,
    open_letter_untrusted,
    parts_of,
    seal_letter,
    split,
)
from onionshh.core.session.session import SessionId
from onionshh.crypto.primitives import kdf
from onionshh.crypto.seal import SealKey
from onionshh.errors import CryptoError, ProtocolError
from onionshh.geometry import LETTER_CHUNK, LETTER_PLAIN, MAILBOX_VALUE, RECORD_SIZES, WHISPER_MAX
from onionshh.ids import WhisperId
from tests.seeded import seeded

KEY = SealKey.generate(seeded(1))
INFO = letter_info(20_000, b"s" * 32, b"i" * 32)
LETTER = Letter(NewSender(b"n" * 32), WhisperId(b"w" * 16), 1, 0, 1, bytes(range(256)) + b"c" * 40)
KNOWN = KnownSender(SessionId(b"k" * 16), b"p" * 16)


def record(size: int) -> bytes:
    return Record(WhisperId(b"w" * 16), NO_ID, 1_728_000_000, 1, WHISPER, b"x" * size).encode()


def test_the_plaintext_is_what_is_written_in_the_specification() -> None:
    tail = b"w" * 16 + b"\x01\x00\x01" + (296).to_bytes(2, "big") + LETTER.chunk
    assert LETTER.encode() == (b"\x01" + b"n" * 32 + tail).ljust(4192, b"\0")
    known = replace(LETTER, sender=KNOWN)
    assert known.encode() == (b"\x02" + b"k" * 16 + b"p" * 16 + tail).ljust(4192, b"\0")
    assert b"onionshh letter v1" + (20_000).to_bytes(8, "big") + b"s" * 32 + b"i" * 32 == INFO


@pytest.mark.parametrize(("size", "parts"), list(zip(RECORD_SIZES, (1, 1, 1, 4, 16), strict=True)))
def test_each_size_of_record_makes_its_number_of_parts_and_comes_together_again(
    size: int, parts: int
) -> None:
    whole = record(min(size, WHISPER_MAX))
    chunks = split(whole)
    assert len(chunks) == parts == parts_of(len(whole))
    assert all(len(chunk) == LETTER_CHUNK for chunk in chunks[:-1])
    assert b"".join(chunks) == whole
    for sender in (NewSender(b"n" * 32), KNOWN):
        for part, chunk in enumerate(chunks):
            letter = Letter(sender, WhisperId(b"w" * 16), 2, part, parts, chunk)
            assert Letter.decode_untrusted(letter.encode()) == letter


def test_only_a_record_is_split() -> None:
    for wrong in (b"", b"x" * 295, b"x" * 297, b"x" * 65_577):
        with pytest.raises(ValueError, match="record"):
            split(wrong)


@pytest.mark.parametrize(
    "changes",
    [
        {"privacy_class": 4},
        {"parts": 0},
        {"parts": 2},
        {"part": 1},
        {"part": 1, "parts": 4},
        {"part": 3, "parts": 4},
        {"part": 16, "parts": 16},
        {"chunk": b""},
        {"chunk": b"c" * 295},
        {"chunk": b"c" * 4137},
        {"chunk": b"c" * 4138},
    ],
)
def test_no_other_parts_lengths_or_classes_are_taken(changes: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        Letter.decode_untrusted(replace(LETTER, **changes).encode())


def test_nothing_but_the_one_form_is_taken() -> None:
    plain = LETTER.encode()
    for wrong in (
        b"",
        plain[:-1],
        plain + b"\0",
        b"\x00" + plain[1:],
        b"\x03" + plain[1:],
        plain[:-1] + b"\x01",
        plain[:350] + b"\x01" + plain[351:],
        plain[:52] + b"\xff\xff" + plain[54:],
    ):
        with pytest.raises(ProtocolError):
            Letter.decode_untrusted(wrong)
    assert len(plain) == LETTER_PLAIN


def test_a_letter_opens_for_its_key_period_endpoint_and_item_only() -> None:
    value = seal_letter(KEY.public, INFO, LETTER)
    assert len(value) == MAILBOX_VALUE
    assert seal_letter(KEY.public, INFO, LETTER) != value
    assert open_letter_untrusted(KEY, INFO, value) == LETTER
    for info in (
        letter_info(20_001, b"s" * 32, b"i" * 32),
        letter_info(20_000, b"t" * 32, b"i" * 32),
        letter_info(20_000, b"s" * 32, b"j" * 32),
    ):
        with pytest.raises(CryptoError):
            open_letter_untrusted(KEY, info, value)
    with pytest.raises(CryptoError):
        open_letter_untrusted(SealKey.generate(seeded(2)), INFO, value)
    for wrong in (b"", value[:-1], value + b"\0"):
        with pytest.raises(ProtocolError):
            open_letter_untrusted(KEY, INFO, wrong)


def test_a_key_that_is_not_valid_seals_nothing() -> None:
    with pytest.raises(CryptoError):
        seal_letter(bytes(1216), INFO, LETTER)


def test_a_proof_is_for_one_session_period_and_item() -> None:
    proof = letter_proof(b"m" * 32, b"i" * 32)
    assert proof == kdf("letter proof", b"m" * 32, b"i" * 32)[:16]
    sender = KnownSender(SessionId(b"k" * 16), proof)
    assert sender.holds(b"m" * 32, b"i" * 32)
    assert not sender.holds(b"l" * 32, b"i" * 32)
    assert not sender.holds(b"m" * 32, b"j" * 32)


def test_a_new_session_is_for_one_seed_endpoint_and_period() -> None:
    root = letter_root(b"n" * 32, b"a" * 32, 20_000)
    assert root == kdf("letter", b"n" * 32, b"a" * 32, (20_000).to_bytes(8, "big"))
    others = {
        letter_root(b"o" * 32, b"a" * 32, 20_000),
        letter_root(b"n" * 32, b"b" * 32, 20_000),
        letter_root(b"n" * 32, b"a" * 32, 20_001),
    }
    assert len(others | {root}) == 4


def test_no_secret_is_shown() -> None:
    shown = repr(LETTER) + repr(LETTER.sender) + repr(KNOWN)
    for secret in (b"n" * 32, b"p" * 16, LETTER.chunk):
        assert repr(secret) not in shown
