"""Random cells through both ciphers, which must give the same bytes.

`make compare` does ten million: `python -m tests.crypto.comparing 10000000`.
"""

from __future__ import annotations

import random
import sys

from onionshh.crypto.uiv import PYTHON, Cipher, compiled
from onionshh.geometry import LAYER_KEYS, LAYER_STATE, PAYLOAD, TAG

CELLS_A_KEY = 16


def compare(other: Cipher, cells: int, seed: int) -> None:
    """So many cells in each direction, and the next keys after each 16. AssertionError, with the keys, at the
    first that differs."""
    draw = random.Random(seed).randbytes
    for begun in range(0, cells, CELLS_A_KEY):
        keys = draw(LAYER_KEYS)
        ours, theirs = PYTHON.encryptor(keys), other.encryptor(keys)
        back, their_back = PYTHON.decryptor(keys), other.decryptor(keys)
        for _ in range(min(CELLS_A_KEY, cells - begun)):
            tweak, left, right = draw(TAG + 1), draw(TAG), draw(PAYLOAD)
            wire = ours.encrypt(tweak, left, right)
            assert theirs.encrypt(tweak, left, right) == wire, keys.hex()
            assert their_back.decrypt(tweak, *wire) == back.decrypt(tweak, *wire) == (left, right), keys.hex()
        seed_of_next = draw(TAG)
        state = ours.next_state(seed_of_next)
        assert len(state) == LAYER_STATE
        assert state == theirs.next_state(seed_of_next) == their_back.next_state(seed_of_next), keys.hex()


def main() -> None:
    other = compiled()
    if other is None:
        sys.exit("there is no compiled cipher to compare with")
    cells = int(sys.argv[1])
    compare(other, cells, random.SystemRandom().getrandbits(64))
    print(f"{cells} cells in each direction: both ciphers gave the same bytes")


if __name__ == "__main__":
    main()
