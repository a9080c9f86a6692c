"""The proof of work of a deposit (SPEC 15)."""

from __future__ import annotations

import hashlib

from onionshh.core.mailbox.work import NO_PROOF, Search, holds_untrusted, put_task
from onionshh.wire.mailbox import BOARD, INBOX, Mailbox
from tests.seeded import seeded

BOX = Mailbox(INBOX, b"n" * 32, 20_000)
TASK = put_task(b"r" * 32, BOX, b"i" * 32, 1_728_000_000, b"v" * 5328)


def test_the_task_is_what_is_written_in_the_specification() -> None:
    said = b"onionshh proof v1 put" + b"r" * 32 + b"\x01" + b"n" * 32 + (20_000).to_bytes(8, "big")
    said += b"i" * 32 + (1_728_000_000).to_bytes(4, "big") + hashlib.sha3_256(b"v" * 5328).digest()
    assert hashlib.sha3_256(said).digest() == TASK


def test_a_proof_is_for_one_deposit() -> None:
    others = {
        put_task(b"s" * 32, BOX, b"i" * 32, 1_728_000_000, b"v" * 5328),
        put_task(b"r" * 32, Mailbox(BOARD, b"n" * 32, 20_000), b"i" * 32, 1_728_000_000, b"v" * 5328),
        put_task(b"r" * 32, Mailbox(INBOX, b"m" * 32, 20_000), b"i" * 32, 1_728_000_000, b"v" * 5328),
        put_task(b"r" * 32, Mailbox(INBOX, b"n" * 32, 20_001), b"i" * 32, 1_728_000_000, b"v" * 5328),
        put_task(b"r" * 32, BOX, b"j" * 32, 1_728_000_000, b"v" * 5328),
        put_task(b"r" * 32, BOX, b"i" * 32, 1_728_000_001, b"v" * 5328),
        put_task(b"r" * 32, BOX, b"i" * 32, 1_728_000_000, b"w" * 5328),
    }
    assert len(others | {TASK}) == 8
    search = Search(TASK, 512, seeded(3))
    assert search.look(100_000)
    assert holds_untrusted(TASK, search.nonce, 512)
    assert not any(holds_untrusted(other, search.nonce, 512) for other in others)


def test_holds_means_that_the_number_times_the_effort_stays_below_2_to_the_32() -> None:
    for number in range(40):
        nonce = number.to_bytes(16, "big")
        drawn = int.from_bytes(hashlib.scrypt(nonce, salt=TASK, n=64, r=8, p=1, dklen=4), "big")
        for effort in (0, 1, 2, 3, 10, 0xFFFFFFFF):
            assert holds_untrusted(TASK, nonce, effort) == (drawn * effort < 2**32)


def test_a_search_goes_on_from_piece_to_piece_and_stops_when_it_has_found() -> None:
    whole, pieces = Search(TASK, 200, seeded(4)), Search(TASK, 200, seeded(4))
    assert whole.look(100_000)
    while not pieces.look(7):
        assert pieces.nonce == NO_PROOF
    assert (pieces.nonce, pieces.tries) == (whole.nonce, whole.tries)
    assert pieces.look(100)
    assert pieces.tries == whole.tries
    assert len(pieces.nonce) == 16


def test_no_effort_needs_no_proof() -> None:
    search = Search(TASK, 0, seeded(5))
    assert search.look(0)
    assert (search.nonce, search.tries) == (NO_PROOF, 0)
    assert holds_untrusted(TASK, NO_PROOF, 0)


def test_the_count_of_nonces_goes_round() -> None:
    search = Search(TASK, 1 << 32, lambda size: b"\xff" * size)  # nothing is worth so much
    assert not search.look(3)
    assert search.tries == 3
