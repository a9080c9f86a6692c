"""Chunks under a passphrase: each at its place, and the last one last."""

from __future__ import annotations

import pytest

from onionshh.crypto.passphrase import CHUNK, SALT, SEALED_CHUNK, ChunkCipher, passphrase_key
from onionshh.errors import CryptoError

KEY = bytes(range(32))


def test_a_key_is_of_the_passphrase_and_the_salt() -> None:
    key = passphrase_key(b"passphrase", bytes(SALT))
    assert len(key) == 32
    assert key == passphrase_key(b"passphrase", bytes(SALT))
    assert key.hex() == KNOWN
    assert key != passphrase_key(b"passphrasf", bytes(SALT))
    assert key != passphrase_key(b"passphrase", b"\1" + bytes(SALT - 1))


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


KNOWN = "7a43105096f393671091c65f04de1dedd48d88cca5fdf7eadca4b19f2fbba6ca"
