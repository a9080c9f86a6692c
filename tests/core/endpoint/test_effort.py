"""The price of a place on the ring: one definition for who pays and who looks (SPEC 10)."""

from __future__ import annotations

import hashlib

from onionshh.core.base.work import tries_for
from onionshh.core.endpoint.effort import EFFORT_LEAST, NO_PROOF, Search, effort, publish_task
from tests.seeded import seeded

TASK = publish_task(b"r" * 32, b"b" * 32, 20_000)


def test_it_is_what_is_written_in_the_specification() -> None:
    task = hashlib.sha3_256(
        b"onionshh proof v1 publish" + b"r" * 32 + b"b" * 32 + (20_000).to_bytes(8, "big")
    ).digest()
    assert task == TASK
    for number in range(1, 40):
        nonce = number.to_bytes(8, "big")
        assert effort(TASK, nonce) in (0, tries_for(TASK, nonce))


def test_it_is_for_one_random_value_name_and_period() -> None:
    others = [
        publish_task(b"s" * 32, b"b" * 32, 20_000),
        publish_task(b"r" * 32, b"c" * 32, 20_000),
        publish_task(b"r" * 32, b"b" * 32, 20_001),
    ]
    search = Search(TASK, seeded(1))
    search.look(100_000, 512)
    assert effort(TASK, search.nonce) == search.effort >= 512
    assert all(effort(other, search.nonce) == 0 for other in others)


def test_zeros_claim_nothing_and_what_is_below_the_least_counts_as_nothing() -> None:
    assert effort(TASK, NO_PROOF) == 0
    worth = [effort(TASK, number.to_bytes(8, "big")) for number in range(1, 500)]
    assert 0 in worth
    assert min(one for one in worth if one) >= EFFORT_LEAST


def test_the_best_found_is_kept_from_piece_to_piece() -> None:
    search = Search(TASK, seeded(2))
    assert (search.effort, search.nonce) == (0, NO_PROOF)
    best = [0]
    while search.effort < 1000:
        search.look(50, 1000)
        best.append(search.effort)
    assert best == sorted(best)
    search.look(10**9, 1000)  # enough already
    assert search.effort == best[-1]
