"""The proof of work of one introduction (SPEC 15)."""

from __future__ import annotations

import hashlib
from dataclasses import replace

from onionshh import geometry as g
from onionshh.core.base.work import tries_for
from onionshh.core.endpoint.toll import SEED_HEAD, intro_task, pays_untrusted
from onionshh.core.mailbox.work import Search
from onionshh.ids import AuthKey
from onionshh.wire.messages import INTRODUCE_NEW, Introduce, Paid
from tests.seeded import seeded

SEED, KEY, SEALED = b"s" * 32, AuthKey(b"k" * 32), b"v" * g.INTRODUCE_SEALED
EFFORT = 64
TASK = intro_task(SEED, KEY, EFFORT, SEALED)
SEARCH = Search(TASK, EFFORT, seeded(1))
SEARCH.look(100_000)
PAID = Paid(EFFORT, SEARCH.nonce, SEED[:SEED_HEAD])
MESSAGE = Introduce(KEY, INTRODUCE_NEW, 1, PAID.encode(), SEALED)


def test_the_task_is_what_is_written_in_the_specification() -> None:
    said = b"onionshh proof v1 intro" + b"s" * 32 + b"k" * 32 + (64).to_bytes(4, "big")
    assert hashlib.sha3_256(said + hashlib.sha3_256(SEALED).digest()).digest() == TASK


def test_a_proof_is_good_for_one_introduction_through_one_introducer_and_one_seed() -> None:
    assert pays_untrusted(PAID, SEED, MESSAGE)
    assert not pays_untrusted(PAID, b"t" * 32, MESSAGE)
    assert not pays_untrusted(PAID, SEED, replace(MESSAGE, auth_key=b"l" * 32))
    assert not pays_untrusted(PAID, SEED, replace(MESSAGE, sealed=b"w" + SEALED[1:]))
    others = {
        intro_task(b"t" * 32, KEY, EFFORT, SEALED),
        intro_task(SEED, AuthKey(b"l" * 32), EFFORT, SEALED),
        intro_task(SEED, KEY, EFFORT + 1, SEALED),
        intro_task(SEED, KEY, EFFORT, b"w" + SEALED[1:]),
    }
    assert len(others | {TASK}) == 5


def test_the_effort_that_is_claimed_is_part_of_the_task() -> None:
    """Nobody can search with a small claim and raise it when the nonce turns out to be worth more."""
    worth = tries_for(TASK, SEARCH.nonce)
    assert worth >= EFFORT
    assert [pays_untrusted(replace(PAID, effort=claim), SEED, MESSAGE) for claim in (65, 128, worth)] == [
        tries_for(intro_task(SEED, KEY, claim, SEALED), SEARCH.nonce) >= claim for claim in (65, 128, worth)
    ]
    assert not pays_untrusted(replace(PAID, effort=0xFFFFFFFF), SEED, MESSAGE)
