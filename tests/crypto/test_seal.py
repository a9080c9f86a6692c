"""HPKE seals: one key and one info open them, nothing else does (SPEC 11)."""

from __future__ import annotations

import pytest

from onionshh import geometry as g
from onionshh.crypto.seal import SealKey, seal
from onionshh.errors import CryptoError
from tests.crypto.test_primitives import SMALL_ORDER
from tests.seeded import seeded

KEY = SealKey.generate(seeded(1))
INFO = b"onionshh intro v1 and what it is bound to"


def test_what_is_sealed_opens() -> None:
    sealed = seal(KEY.public, INFO, b"whisper")
    assert KEY.open_untrusted(INFO, sealed) == b"whisper"
    assert len(sealed) == g.HPKE_ENC + 7 + g.AEAD_TAG
    assert len(KEY.public) == g.HPKE_KEY
    assert len(KEY.to_bytes()) == 96


def test_a_kept_key_still_opens() -> None:
    again = SealKey.from_bytes(KEY.to_bytes())
    assert again.public == KEY.public
    assert again.open_untrusted(INFO, seal(KEY.public, INFO, b"")) == b""


@pytest.mark.parametrize("place", [0, 1087, 1088, 1119, 1120, 1126, 1127, 1142])
def test_every_byte_counts(place: int) -> None:
    sealed = seal(KEY.public, INFO, b"whisper")
    broken = sealed[:place] + bytes((sealed[place] ^ 1,)) + sealed[place + 1 :]
    with pytest.raises(CryptoError):
        KEY.open_untrusted(INFO, broken)


def test_another_key_info_or_length_does_not_open() -> None:
    sealed = seal(KEY.public, INFO, b"whisper")
    with pytest.raises(CryptoError):
        SealKey.generate(seeded(2)).open_untrusted(INFO, sealed)
    for info, data in [
        (b"", sealed),
        (INFO + b"!", sealed),
        (INFO, sealed[:-1]),
        (INFO, sealed + b"\0"),
        (INFO, b""),
        (INFO, sealed[: g.HPKE_ENC]),
        (INFO, sealed[: g.HPKE_ENC - 1]),
    ]:
        with pytest.raises(CryptoError):
            KEY.open_untrusted(info, data)


@pytest.mark.parametrize("point", SMALL_ORDER, ids=lambda point: point.hex()[:8])
def test_small_order_points_are_refused_both_ways(point: bytes) -> None:
    with pytest.raises(CryptoError):
        seal(KEY.public[: g.KEM_KEY] + point, INFO, b"")
    sealed = seal(KEY.public, INFO, b"whisper")
    with pytest.raises(CryptoError):
        KEY.open_untrusted(INFO, sealed[:1088] + point + sealed[1120:])


def test_bad_keys_are_refused() -> None:
    for public in (b"", KEY.public[:-1], KEY.public + b"\0", b"\xff" * g.KEM_KEY + KEY.public[g.KEM_KEY :]):
        with pytest.raises(CryptoError):
            seal(public, INFO, b"")
    for kept in (b"", KEY.to_bytes()[:-1], KEY.to_bytes() + b"\0"):
        with pytest.raises(CryptoError):
            SealKey.from_bytes(kept)


def test_no_secret_in_repr() -> None:
    assert repr(KEY) == "SealKey()"
