"""Identities, addresses, openings and blinded keys (SPEC 9)."""

from __future__ import annotations

import hashlib

import nacl.bindings as sodium
import pytest

from onionshh import geometry as g
from onionshh.crypto import bech32m, ed25519
from onionshh.crypto.identity import (
    IdentityKeys,
    blind_public,
    check_opening_untrusted,
    check_point_untrusted,
    decode_address_untrusted,
    encode_address,
    subcredential,
    verify_pq_untrusted,
    verify_untrusted,
)
from onionshh.crypto.primitives import sha3_256, sha3_512
from onionshh.errors import BadAddress, CryptoError
from tests.crypto.test_ed25519 import BAD_POINTS, ORDER, mixed_order
from tests.seeded import seeded

PERIOD_SECONDS = 86_400


@pytest.fixture(scope="module")
def identity() -> IdentityKeys:
    return IdentityKeys.generate(seeded(1))


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=BAD_POINTS.keys())
def test_bad_points_are_no_keys(point: bytes, identity: IdentityKeys) -> None:
    with pytest.raises(CryptoError):
        check_point_untrusted(point)
    with pytest.raises(CryptoError):
        # Under the identity, R = sB and any s would verify: 1 and its B.
        verify_untrusted(point, ed25519.base(b"\1" + bytes(31)) + b"\1" + bytes(31), b"anything")
    with pytest.raises(CryptoError):
        blind_public(point, 1, PERIOD_SECONDS)
    with pytest.raises(CryptoError):
        check_opening_untrusted(point, identity.P, identity.pq_public)
    with pytest.raises(CryptoError):
        check_opening_untrusted(identity.A, point, identity.pq_public)


def test_points_of_mixed_order_are_no_keys(identity: IdentityKeys) -> None:
    bad = mixed_order(identity.A)
    with pytest.raises(CryptoError):
        check_point_untrusted(bad)
    with pytest.raises(CryptoError):
        blind_public(bad, 1, PERIOD_SECONDS)
    with pytest.raises(BadAddress, match="does not contain a valid key"):
        decode_address_untrusted(encode_address(bad))


# The address as a commitment


def test_the_opening_is_what_the_specification_says(identity: IdentityKeys) -> None:
    digest = sha3_512(b"onionshh address v1", identity.P, sha3_256(identity.pq_public))
    c = (int.from_bytes(digest, "little") % ORDER).to_bytes(32, "little")
    assert sodium.crypto_core_ed25519_add(identity.P, ed25519.base(c)) == identity.A
    check_opening_untrusted(identity.A, identity.P, identity.pq_public)


def test_no_other_keys_open_an_address(identity: IdentityKeys) -> None:
    other = IdentityKeys.generate(seeded(2))
    for P, pq in [
        (other.P, identity.pq_public),
        (identity.P, other.pq_public),
        (other.P, other.pq_public),
        (identity.A, identity.pq_public),
        (mixed_order(identity.P), identity.pq_public),
        (identity.P, identity.pq_public[:-1]),
        (identity.P, b""),
    ]:
        with pytest.raises(CryptoError):
            check_opening_untrusted(identity.A, P, pq)


def test_post_quantum_signatures(identity: IdentityKeys) -> None:
    signature = identity.sign_pq(b"onionshh test v1")
    assert len(signature) == g.PQ_SIGNATURE
    assert len(identity.pq_public) == g.PQ_KEY
    verify_pq_untrusted(identity.pq_public, signature, b"onionshh test v1")
    other = IdentityKeys.generate(seeded(2)).pq_public
    for public, signed, message in [
        (identity.pq_public, signature, b"onionshh test v2"),
        (identity.pq_public, signature[:-1], b"onionshh test v1"),
        (identity.pq_public, bytes(g.PQ_SIGNATURE), b"onionshh test v1"),
        (identity.pq_public, b"", b"onionshh test v1"),
        (identity.pq_public[:-1], signature, b"onionshh test v1"),
        (b"", signature, b"onionshh test v1"),
        (other, signature, b"onionshh test v1"),
    ]:
        with pytest.raises(CryptoError):
            verify_pq_untrusted(public, signed, message)


def test_an_identity_comes_back_from_its_bytes(identity: IdentityKeys) -> None:
    again = IdentityKeys.from_bytes_untrusted(identity.to_bytes())
    assert (again.A, again.P, again.pq_public) == (identity.A, identity.P, identity.pq_public)
    assert again.address == identity.address
    verify_pq_untrusted(identity.pq_public, again.sign_pq(b"m"), b"m")


def test_identity_bytes_that_are_none(identity: IdentityKeys) -> None:
    good = identity.to_bytes()
    zero, too_big = bytes(32), ORDER.to_bytes(32, "little")
    for data in (b"", good[:-1], good + b"\0", b"\2" + good[1:], good[:1] + zero + good[33:]):
        with pytest.raises(CryptoError):
            IdentityKeys.from_bytes_untrusted(data)
    unreduced = (int.from_bytes(good[1:33], "little") + ORDER).to_bytes(32, "little")
    for scalar in (too_big, unreduced, b"\xff" * 32):
        with pytest.raises(CryptoError):
            IdentityKeys.from_bytes_untrusted(good[:1] + scalar + good[33:])


def test_no_secret_in_repr(identity: IdentityKeys) -> None:
    assert repr(identity) == "IdentityKeys()"
    blinded = identity.blind(1, PERIOD_SECONDS)
    assert repr(blinded) == f"BlindedKey(public={blinded.public!r})"


# The address as text


def test_an_address_comes_back_from_its_text(identity: IdentityKeys) -> None:
    assert identity.address == encode_address(identity.A)
    assert identity.address.startswith("shh1")
    assert len(identity.address) == 63
    assert decode_address_untrusted(identity.address) == identity.A
    assert decode_address_untrusted(identity.address.upper()) == identity.A


def test_what_stands_around_a_pasted_address_is_taken_away(identity: IdentityKeys) -> None:
    good = identity.address
    for text in [
        f" {good}\n",
        f"\t{good}\r\n\u00a0",
        f"{good[:20]}\n{good[20:]}",
        f"{good[:20]}\n>  {good[20:]}".replace(">", ""),
        " ".join(good[place : place + 4] for place in range(0, 63, 4)),
        "\u200b".join(good),
        f"\ufeff{good[:9]}\u00ad{good[9:]}\u202e",
        f'"{good}"',
        f"“{good}”",
        f"'{good}',",
        f"<{good}>",
        f"(<{good}>).",
        f"`{good}`",
        f"**{good}**;",
        f"{good}.",
        f"{good},",
        f"shh:{good}",
        f"shh://{good}",
        f"shh://{good}/",
        f" <SHH://{good}>, ",
        good.upper(),
        f"shh:{good.upper()}",
    ]:
        assert decode_address_untrusted(text) == identity.A, text


def test_bad_addresses_say_what_is_wrong(identity: IdentityKeys) -> None:
    good = identity.address
    wrong_letter = good[:20] + ("q" if good[20] != "q" else "p") + good[21:]
    place = next(n for n in range(30, 63) if good[n].isalpha())
    for text, said in [
        (
            good[:place] + good[place].upper() + good[place + 1 :],
            f'one case.*"{good[place].upper()}".*{place + 1}',
        ),
        ("SH" + good[2:], 'capital and small letters: see the character "S", which is at place 1'),
        (good.upper()[:-1] + "q", 'see the character "q", which is at place 63'),
        (bech32m.encode("shy", b"\1" + identity.A), 'begins with "shh1", this one with "shy1"'),
        (bech32m.encode("shh", b"\2" + identity.A), "version"),
        (bech32m.encode("shh", b"\1" + identity.A[:-1]), "length"),
        (bech32m.encode("shh", b"\1" + identity.A + b"\0"), "length"),
        (bech32m.encode("shh", b""), "version"),
        (bech32m.encode("shh", b"\1" + BAD_POINTS["off the curve"]), "does not contain a valid key"),
        (bech32m.encode("shh", b"\1" + BAD_POINTS["order 4"]), "does not contain a valid key"),
        (wrong_letter, "checksum is wrong"),
        (good[:20] + good[21] + good[20] + good[22:], "checksum is wrong"),
        (good[:-1], "has 63 characters and this one has 62, 1 missing"),
        (good[:10], "53 missing"),
        (good[:8], "55 missing"),
        (good[:4], "59 missing"),
        (good + good[-1], "64, 1 too many"),
        (good + "q" * 40, "103, 40 too many"),
        (good + good[4:], "too many"),
        (good.replace("1", "", 1), 'begins with "shh1"'),
        (f"http://{good}", 'begins with "shh1", this one with "http"'),
        (
            good[:30] + "b" + good[31:],
            f'An address never has the character "b", .* place 31, after "{good[26:30]}"',
        ),
        (good[:30] + "1" + good[31:], 'An address never has the character "1", .* place 31'),
        (good[:30] + "-" + good[30:], 'An address never has the character "-", .* place 31'),
        (good[:30] + "\u0430" + good[31:], "not the character U[+]0430, which is at place 31"),
        (good[:30] + "\x1b" + good[31:], "not the character U[+]001B"),
        (good[:30] + "\udc9b" + good[31:], "not the character U[+]DC9B"),
        ("\u017fhh1", "not the character U[+]017F, which is at place 1[.]"),
        ("", "text is empty"),
        (" \n", "text is empty"),
        ("<>", "text is empty"),
        ("x" * 5000, "63 characters, and this text has 5000"),
    ]:
        with pytest.raises(BadAddress, match=said) as caught:
            decode_address_untrusted(text)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("wrong", [None, 5, b"shh1", ["shh1"]])
def test_an_address_is_text(wrong: str) -> None:
    with pytest.raises(TypeError, match="An address is text"):
        decode_address_untrusted(wrong)


def test_the_pad_bit_is_zero(identity: IdentityKeys) -> None:
    prefix, groups = bech32m.split(identity.address)
    with pytest.raises(BadAddress, match="extra bits"):
        decode_address_untrusted(bech32m.join(prefix, [*groups[:-1], groups[-1] | 1]))


# Blinded keys


def test_the_blinded_key_signs_as_an_ordinary_one(identity: IdentityKeys) -> None:
    blinded = identity.blind(7, PERIOD_SECONDS)
    assert blinded.public == blind_public(identity.A, 7, PERIOD_SECONDS)
    assert blinded.subcredential == subcredential(identity.A, blinded.public)
    verify_untrusted(blinded.public, blinded.sign(b"m", seeded(1)), b"m")
    for public, message in [(blinded.public, b"n"), (identity.A, b"m")]:
        with pytest.raises(CryptoError):
            verify_untrusted(public, blinded.sign(b"m", seeded(1)), message)


def test_every_period_and_length_has_its_own_key(identity: IdentityKeys) -> None:
    other = IdentityKeys.generate(seeded(2))
    made = [
        blind_public(A, period, seconds)
        for A in (identity.A, other.A)
        for period in (1, 2)
        for seconds in (86_400, 3_600)
    ]
    assert len(set(made)) == 8
    assert identity.A not in made
    assert subcredential(identity.A, made[0]) != subcredential(identity.A, made[1])
    assert subcredential(identity.A, made[0]) != subcredential(other.A, made[0])


def test_nonces_differ_by_key_message_and_chance(identity: IdentityKeys) -> None:
    """One commitment R under two challenges would give the secret away."""
    one, two = identity.blind(1, PERIOD_SECONDS), identity.blind(2, PERIOD_SECONDS)
    signatures = [
        one.sign(b"m", seeded(1)),
        two.sign(b"m", seeded(1)),
        one.sign(b"n", seeded(1)),
        one.sign(b"m", seeded(2)),
    ]
    assert len({signature[:32] for signature in signatures}) == 4


def test_the_nonce_is_what_the_specification_says(identity: IdentityKeys) -> None:
    blinded = identity.blind(1, PERIOD_SECONDS)
    fresh = seeded(5)(32)
    nonce_secret = identity.to_bytes()[-32:]
    drawn = b"onionshh nonce v1" + nonce_secret + blinded.public + fresh + b"m"
    r = int.from_bytes(hashlib.sha3_512(drawn).digest(), "little") % ORDER
    assert blinded.sign(b"m", seeded(5))[:32] == ed25519.base(r.to_bytes(32, "little"))
