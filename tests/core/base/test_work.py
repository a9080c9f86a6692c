"""How many tries a nonce is worth: one definition for everything that costs work (SPEC 15)."""

from __future__ import annotations

import hashlib

from onionshh.core.base.work import MOST, tries_for

TASK = b"t" * 32


def test_it_is_what_is_written_in_the_specification() -> None:
    for number in range(1, 40):
        nonce = number.to_bytes(16, "big")
        drawn = int.from_bytes(hashlib.scrypt(nonce, salt=TASK, n=64, r=8, p=1, dklen=4), "big")
        worth = tries_for(TASK, nonce)
        assert worth == (2**32 - 1) // max(drawn, 1) <= MOST
        for effort in (1, worth - 1, worth, worth + 1, MOST):
            assert (drawn * effort < 2**32) == (worth >= effort)


def test_it_is_how_many_tries_it_takes_on_average() -> None:
    tries = [tries_for(TASK, number.to_bytes(8, "big")) for number in range(1, 4001)]
    for least in (2, 8, 64):
        assert 0.6 * 4000 / least < sum(one >= least for one in tries) < 1.5 * 4000 / least
