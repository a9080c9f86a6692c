"""The cipher in Python: what it shares within a thread. Its bytes are tested with those of the compiled one,
in `test_uiv.py` (SPEC 3)."""

from __future__ import annotations

from onionshh.crypto.uiv_python import UIVDecryptor, UIVEncryptor
from onionshh.geometry import LAYER_KEYS, PAYLOAD, TAG
from tests.crypto.ciphers import in_threads
from tests.seeded import seeded


def test_ciphers_made_in_many_threads_keep_to_their_own_keys() -> None:
    """They share what they are made with, within a thread alone."""
    tweak, cell = bytes(17), (bytes(TAG), bytes(PAYLOAD))
    keys = [seeded(number)(LAYER_KEYS) for number in range(4)]
    expected = [UIVEncryptor(key).encrypt(tweak, *cell) for key in keys]
    wrong: list[int] = []

    def make(number: int) -> None:
        for _ in range(300):
            if UIVEncryptor(keys[number]).encrypt(tweak, *cell) != expected[number]:
                wrong.append(number)
            if UIVDecryptor(keys[number]).decrypt(tweak, *expected[number]) != cell:
                wrong.append(number)

    in_threads(make, len(keys))
    assert not wrong
