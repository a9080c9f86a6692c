"""What only the holder of a passphrase opens: a secret, and chunks, each at its place."""

from __future__ import annotations

import pytest

from onionshh.crypto.passphrase import (
    CHUNK,
    SALT,
    SEALED_CHUNK,
    ChunkCipher,
    open_under,
    passphrase_key,
    seal_under,
)
from onionshh.errors import CryptoError
from tests.seeded import seeded

SEALED = seal_under("Fähre am Morgen", b"secret" * 5, b"about", seeded(1))


def test_the_same_passphrase_opens_it_however_it_was_typed() -> None:
    assert open_under("Fähre am Morgen", SEALED, b"about") == b"secret" * 5
    assert open_under("Fa\u0308hre am Morgen", SEALED, b"about") == b"secret" * 5
    assert len(SEALED) == SALT + 30 + 16
    assert b"secret" not in SEALED


@pytest.mark.parametrize("change", ["passphrase", "about", "salt", "tag", "short"])
def test_anything_else_does_not(change: str) -> None:
    passphrase = "fähre am Morgen" if change == "passphrase" else "Fähre am Morgen"
    data = bytearray(SEALED)
    if change in ("salt", "tag"):
        data[0 if change == "salt" else -1] ^= 1
    if change == "short":
        del data[SALT + 3 :]
    with pytest.raises(CryptoError):
        open_under(passphrase, bytes(data), b"other" if change == "about" else b"about")


def test_each_sealing_has_a_salt_of_its_own() -> None:
    draw = seeded(2)
    one, other = (seal_under("passphrase", b"s" * 32, b"", draw) for _ in range(2))
    assert one[:SALT] != other[:SALT]
    assert one[SALT:] != other[SALT:]


KEY = bytes(range(32))


def test_a_key_is_of_the_passphrase_and_the_salt() -> None:
    key = passphrase_key("passphrase", bytes(SALT))
    assert len(key) == 32
    assert key == passphrase_key("passphrase", bytes(SALT))
    assert key.hex() == KNOWN
    assert key != passphrase_key("passphrasf", bytes(SALT))
    assert key != passphrase_key("passphrase", b"\1" + bytes(SALT - 1))


def test_chunks_open_in_their_order() -> None:
    sealing, opening = ChunkCipher(KEY, b"head"), ChunkCipher(KEY, b"head")
    for chunk, last in ((bytes(CHUNK), False), (b"b" * CHUNK, False), (b"", True)):
        sealed = sealing.seal(chunk, last=last)
        assert len(sealed) == len(chunk) + SEALED_CHUNK - CHUNK
        assert opening.open_untrusted(sealed, last=last) == chunk
    assert repr(sealing) == "ChunkCipher()"


def test_nothing_else_opens() -> None:
    sealing = ChunkCipher(KEY, b"head")
    first, second = sealing.seal(b"one", last=False), sealing.seal(b"two", last=True)
    for key, head, sealed, last in (
        (KEY, b"head", second, True),  # at another place
        (KEY, b"head", first, True),  # cut off
        (KEY, b"heat", first, False),
        (KEY[::-1], b"head", first, False),
        (KEY, b"head", first[:-1], False),
        (KEY, b"head", first + b"\0", False),
        (KEY, b"head", b"", False),
    ):
        with pytest.raises(CryptoError):
            ChunkCipher(key, head).open_untrusted(sealed, last=last)


KNOWN = "3a44c7274141ab2d35ec1748e3bae923e2ae176e269f2a299cc4df92a55df312"
