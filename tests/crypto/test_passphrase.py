"""A secret under a passphrase: what opens it, and what does not."""

from __future__ import annotations

import pytest

from onionshh.crypto.passphrase import SALT, open_under, seal_under
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
