"""The primitives: what separates inputs, what refuses, what a link's frames survive (SPEC 4, 5)."""

from __future__ import annotations

import hashlib

import nacl.bindings as sodium
import pytest

from onionshh.crypto.primitives import (
    FrameCipher,
    KeyPair,
    aead_open,
    aead_seal,
    dh,
    encap,
    equal,
    kdf,
    sha3_256,
    sha3_512,
)
from onionshh.errors import CryptoError
from tests.seeded import seeded

# Points of order 1, 2, 4 and 8 and of the twist, as RFC 7748's security notes and its readers list them.
SMALL_ORDER = [
    bytes(32),
    (1).to_bytes(32, "little"),
    bytes.fromhex("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
    bytes.fromhex("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157"),
    (2**255 - 20).to_bytes(32, "little"),
    (2**255 - 19).to_bytes(32, "little"),
    (2**255 - 18).to_bytes(32, "little"),
]
KEY, NONCE = bytes(range(32)), bytes(12)


def test_kdf_is_shake_over_prefixed_parts() -> None:
    written_out = encap(b"onionshh1:cookie") + encap(b"ab") + encap(b"")
    assert kdf("cookie", b"ab", b"", length=50) == hashlib.shake_256(written_out).digest(50)


def test_kdf_keeps_purposes_and_parts_apart() -> None:
    made = [
        kdf("a", b"bc"),
        kdf("ab", b"c"),
        kdf("a", b"b", b"c"),
        kdf("a", b"bc", b""),
        kdf("a", b"", b"bc"),
        kdf("a"),
        kdf(""),
    ]
    assert len(set(made)) == len(made)
    assert kdf("a", b"bc", length=64)[:32] == made[0]


def test_hashes_join_their_parts() -> None:
    assert sha3_256(b"a", b"bc") == hashlib.sha3_256(b"abc").digest()
    assert sha3_512(b"a", b"bc") == hashlib.sha3_512(b"abc").digest()
    assert equal(b"abc", b"abc")
    assert not equal(b"abc", b"abd")


def test_aead_refuses_whatever_was_not_sealed() -> None:
    sealed = aead_seal(KEY, NONCE, b"whisper", b"aad")
    assert aead_open(KEY, NONCE, sealed, b"aad") == b"whisper"
    for key, nonce, data, aad in [
        (bytes(32), NONCE, sealed, b"aad"),
        (KEY, b"\1" + bytes(11), sealed, b"aad"),
        (KEY, NONCE, sealed, b""),
        (KEY, NONCE, sealed[:-1], b"aad"),
        (KEY, NONCE, sealed + b"\0", b"aad"),
        (KEY, NONCE, bytes((sealed[0] ^ 1,)) + sealed[1:], b"aad"),
        (KEY, NONCE, b"", b"aad"),
        (KEY[:16], NONCE, sealed, b"aad"),
        (KEY, bytes(11), sealed, b"aad"),
        (KEY, bytes(16), sealed, b"aad"),
    ]:
        with pytest.raises(CryptoError):
            aead_open(key, nonce, data, aad)
    for key, nonce in [(KEY[:16], NONCE), (KEY, bytes(16))]:
        with pytest.raises(CryptoError):
            aead_seal(key, nonce, b"")


def test_dh_agrees() -> None:
    random = seeded(1)
    a, b = KeyPair.generate(random), KeyPair.generate(random)
    assert dh(a.private, b.public) == dh(b.private, a.public)
    assert KeyPair.from_private(a.private) == a


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_dh_refuses_small_order_points(point: bytes) -> None:
    with pytest.raises(CryptoError):
        dh(KeyPair.generate(seeded(1)).private, point)


def test_dh_does_not_rely_on_the_library_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A libsodium built to let zero through would be no excuse."""
    monkeypatch.setattr(sodium, "crypto_scalarmult", lambda private, public: bytes(32))
    with pytest.raises(CryptoError):
        dh(KEY, KEY)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_wrong_key_lengths(size: int) -> None:
    with pytest.raises(CryptoError):
        dh(KEY, bytes([9]) * size)
    with pytest.raises(CryptoError):
        KeyPair.from_private(bytes(size))
    with pytest.raises(CryptoError):
        FrameCipher(bytes(size))


def test_no_private_key_in_repr() -> None:
    pair = KeyPair.generate(seeded(2))
    assert repr(pair.private) not in repr(pair)
    assert KEY.hex() not in repr(FrameCipher(KEY))


def test_frames_cross_many_changes_of_key() -> None:
    sender, receiver = (FrameCipher(KEY, frames_per_key=3) for _ in range(2))
    for turn in range(11):
        assert receiver.open(sender.seal(bytes([turn]), b"aad"), b"aad") == bytes([turn])


def test_the_frame_key_changes_when_it_should() -> None:
    """SPEC 5: key' = KDF("rekey", key), and the counter runs on."""
    cipher = FrameCipher(KEY, frames_per_key=2)
    frames = [cipher.seal(b"x", b"") for _ in range(4)]
    for turn, frame in enumerate(frames):
        key = KEY if turn < 2 else kdf("rekey", KEY)
        assert aead_open(key, bytes(4) + turn.to_bytes(8), frame) == b"x"


def test_frames_come_in_order_or_never_again() -> None:
    sender, receiver = FrameCipher(KEY), FrameCipher(KEY)
    first, second = sender.seal(b"1", b""), sender.seal(b"2", b"")
    with pytest.raises(CryptoError):
        receiver.open(second, b"")
    for frame in (second, first):  # the second frame is now the one whose turn it is
        with pytest.raises(CryptoError):
            receiver.open(frame, b"")


def test_a_frame_is_bound_to_its_length_bytes() -> None:
    with pytest.raises(CryptoError):
        FrameCipher(KEY).open(FrameCipher(KEY).seal(b"1", b"\0\1"), b"\0\2")
