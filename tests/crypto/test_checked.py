"""An unverified document opens for the right key at the right time only."""

from __future__ import annotations

import pytest

from onionshh.crypto.checked import Unverified
from onionshh.crypto.identity import SigningKey
from onionshh.errors import ProtocolError
from tests.seeded import seeded

KEY = SigningKey.generate(seeded(1))
OTHER = SigningKey.generate(seeded(2))


def wrapped(signature: bytes, claimed: bytes = KEY.public) -> Unverified[str]:
    return Unverified("the value", b"message", signature, claimed, not_before=100, not_after=200)


@pytest.mark.parametrize("wall", [100, 150, 199])
def test_signed_and_in_time(wall: int) -> None:
    document = wrapped(KEY.sign(b"message"))
    assert document.check_untrusted(KEY.public, wall=wall) == "the value"


@pytest.mark.parametrize(
    "signature, claimed, key, wall, reason",
    [
        (KEY.sign(b"message"), KEY.public, KEY.public, 99, "document-not-yet"),
        (KEY.sign(b"message"), KEY.public, KEY.public, 200, "document-expired"),
        (KEY.sign(b"massage"), KEY.public, KEY.public, 150, "signature"),
        (OTHER.sign(b"message"), KEY.public, KEY.public, 150, "signature"),
        (OTHER.sign(b"message"), OTHER.public, KEY.public, 150, "document-key"),
        (KEY.sign(b"message"), KEY.public, OTHER.public, 150, "document-key"),
        (b"", KEY.public, KEY.public, 150, "signature-size"),
    ],
)
def test_else_not(signature: bytes, claimed: bytes, key: bytes, wall: int, reason: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        wrapped(signature, claimed).check_untrusted(key, wall=wall)
    assert caught.value.reason == reason


def test_repr_shows_nothing() -> None:
    assert repr(wrapped(bytes(64))) == "Unverified()"
