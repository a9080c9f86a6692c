"""Ed25519 against RFC 8032, against plain integers, and against points that are no keys (SPEC 9)."""

from __future__ import annotations

import json

import nacl.bindings as sodium
import pytest

from onionshh.crypto import ed25519
from onionshh.crypto.ed25519 import (
    SigningKey,
    check_point_untrusted,
    check_scalar_untrusted,
    sign_with_scalar,
    verify_untrusted,
)
from onionshh.errors import CryptoError
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason
from tests.seeded import seeded
from tests.vectors.make import FOLDER

ORDER = 2**252 + 27742317777372353535851937790883648493
BASE_POINT = bytes.fromhex("58" + "66" * 31)
"""RFC 8032, 5.1: y is 4/5, and x is even."""
# Ed25519 points that are no keys: the identity, orders 2, 4 and 8, a non-canonical identity, off the curve.
BAD_POINTS = {
    "identity": b"\1" + bytes(31),
    "order 2": (2**255 - 20).to_bytes(32, "little"),
    "order 4": bytes(32),
    "order 8": bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    "not canonical": (2**255 - 18).to_bytes(32, "little"),
    "off the curve": b"\2" + bytes(31),
    "short": bytes(31),
    "long": bytes(33),
}

# RFC 8032, 7.1: TEST 1 to 3. Seed, public key, message, signature.
PUBLISHED = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e06522490155"
        "5fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac"
        "18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


def number(scalar: bytes) -> int:
    return int.from_bytes(scalar, "little")


def scalar(value: int) -> bytes:
    return value.to_bytes(32, "little")


def drawn(random: RandomBytes) -> bytes:
    """A scalar below the group order, and not zero."""
    return ed25519.reduce(random(64))


def mixed_order(point: bytes) -> bytes:
    """A good key plus the point of order 2: on the curve, outside the prime-order group."""
    return sodium.crypto_core_ed25519_add(point, BAD_POINTS["order 2"])


# Signatures.


@pytest.mark.parametrize(("seed", "public", "message", "signature"), PUBLISHED)
def test_what_rfc_8032_signs(seed: str, public: str, message: str, signature: str) -> None:
    key = SigningKey(bytes.fromhex(seed))
    assert key.public.hex() == public
    assert key.sign(bytes.fromhex(message)).hex() == signature
    verify_untrusted(bytes.fromhex(public), bytes.fromhex(signature), bytes.fromhex(message))


def test_our_own_known_answer() -> None:
    kept = json.loads((FOLDER / "identity.json").read_text(encoding="utf-8"))["ed25519"]
    assert SigningKey(bytes(range(32))).sign(b"onionshh test v1").hex() == kept


def test_sign_and_verify() -> None:
    key = SigningKey.generate(seeded(1))
    signature = key.sign(b"onionshh test v1 hello")
    assert SigningKey(key.seed).public == key.public
    verify_untrusted(key.public, signature, b"onionshh test v1 hello")
    other = SigningKey.generate(seeded(2)).public
    for public, signed, message in [
        (key.public, signature, b"onionshh test v1 hallo"),
        (key.public, signature, b""),
        (key.public, signature[:-1], b"onionshh test v1 hello"),
        (key.public, signature + b"\0", b"onionshh test v1 hello"),
        (key.public, b"", b"onionshh test v1 hello"),
        (key.public, bytes(64), b"onionshh test v1 hello"),
        (key.public, bytes((signature[0] ^ 1,)) + signature[1:], b"onionshh test v1 hello"),
        (other, signature, b"onionshh test v1 hello"),
    ]:
        with pytest.raises(CryptoError):
            verify_untrusted(public, signed, message)


def test_a_signature_has_one_form() -> None:
    """s + L would verify by the formula alone: two signatures, one message."""
    key = SigningKey.generate(seeded(1))
    signature = key.sign(b"m")
    s = int.from_bytes(signature[32:], "little") + ORDER
    with pytest.raises(CryptoError):
        verify_untrusted(key.public, signature[:32] + s.to_bytes(32, "little"), b"m")


def test_signing_key_lengths_and_repr() -> None:
    key = SigningKey(bytes(range(32)))
    assert key.seed.hex() not in repr(key)
    for size in (0, 31, 33):
        with pytest.raises(CryptoError):
            SigningKey(bytes(size))


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=BAD_POINTS.keys())
def test_a_point_that_is_no_key_is_refused_by_name(point: bytes) -> None:
    reason = Reason.KEY_POINT if len(point) == 32 else Reason.KEY_SIZE
    with pytest.raises(CryptoError, match=reason):
        check_point_untrusted(point)


def test_a_key_with_a_part_of_small_order_is_refused() -> None:
    """It would verify the same signatures as the key without that part: two addresses, one secret."""
    good = SigningKey.generate(seeded(1)).public
    check_point_untrusted(good)
    with pytest.raises(CryptoError, match=Reason.KEY_POINT):
        check_point_untrusted(mixed_order(good))


# Scalars and points.


def test_scalars_are_numbers_below_the_group_order() -> None:
    random = seeded(3)
    for _ in range(20):
        a, b, wide = drawn(random), drawn(random), random(64)
        assert number(ed25519.reduce(wide)) == number(wide) % ORDER
        assert number(ed25519.add_scalars(a, b)) == (number(a) + number(b)) % ORDER
        assert number(ed25519.multiply_scalars(a, b)) == number(a) * number(b) % ORDER


@pytest.mark.parametrize("wide", [0, ORDER, 7 * ORDER])
def test_a_draw_that_gives_zero_is_refused(wide: int) -> None:
    with pytest.raises(CryptoError, match=Reason.SCALAR_ZERO):
        ed25519.reduce(wide.to_bytes(64, "little"))


def test_a_scalar_from_outside_has_one_form() -> None:
    for good in (1, 2, ORDER - 1):
        check_scalar_untrusted(scalar(good))
    for bad in (scalar(0), scalar(ORDER), scalar(ORDER + 1), b"\xff" * 32, bytes(31), scalar(1) + b"\0", b""):
        with pytest.raises(CryptoError):
            check_scalar_untrusted(bad)


def test_points_add_up_as_their_scalars_do() -> None:
    assert ed25519.base(scalar(1)) == BASE_POINT
    random = seeded(4)
    for _ in range(5):
        a, b = drawn(random), drawn(random)
        assert ed25519.base(ed25519.add_scalars(a, b)) == ed25519.add_points(ed25519.base(a), ed25519.base(b))
        assert ed25519.base(ed25519.multiply_scalars(a, b)) == ed25519.multiply_point(a, ed25519.base(b))


def test_what_gives_no_point_is_refused() -> None:
    with pytest.raises(CryptoError, match=Reason.SCALAR_ZERO):
        ed25519.base(scalar(0))
    with pytest.raises(CryptoError, match=Reason.KEY_POINT):
        ed25519.multiply_point(scalar(0), BASE_POINT)
    with pytest.raises(CryptoError, match=Reason.KEY_POINT):
        ed25519.add_points(BAD_POINTS["off the curve"], BASE_POINT)


# A key without a seed.


def test_a_scalar_signs_as_a_seed_does() -> None:
    random = seeded(5)
    secret, nonce_secret = drawn(random), random(32)
    public = ed25519.base(secret)
    signature = sign_with_scalar(secret, public, nonce_secret, b"m", random(32))
    verify_untrusted(public, signature, b"m")
    for other, message in ((public, b"n"), (ed25519.base(drawn(random)), b"m")):
        with pytest.raises(CryptoError, match=Reason.SIGNATURE):
            verify_untrusted(other, signature, message)


def test_each_part_of_the_nonce_gives_another_one() -> None:
    """One commitment under two challenges would give the secret away."""
    secret = drawn(seeded(6))
    public = ed25519.base(secret)
    other = ed25519.base(drawn(seeded(7)))
    parts = [
        (public, b"n" * 32, b"m", b"r" * 32),
        (other, b"n" * 32, b"m", b"r" * 32),
        (public, b"o" * 32, b"m", b"r" * 32),
        (public, b"n" * 32, b"x", b"r" * 32),
        (public, b"n" * 32, b"m", b"s" * 32),
    ]
    signatures = [
        sign_with_scalar(secret, key, nonce_secret, message, fresh)
        for key, nonce_secret, message, fresh in parts
    ]
    assert len({signature[:32] for signature in signatures}) == len(parts)
