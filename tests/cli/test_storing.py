"""How long a whisper is tried that relays may keep, and what is shown of it meanwhile."""

from __future__ import annotations

from math import inf

import pytest

from onionshh.cli.storing import (
    COPIES_SECONDS,
    GETS_ON_SECONDS,
    Patience,
    can_be_stored,
    drawn,
    is_being_stored,
    usual_tries,
    waiting_in_words,
    waits_for_copies,
)
from onionshh.client.receipt import Outcome, Receipt, Status
from onionshh.core.mailbox.price import price
from onionshh.geometry import WHISPER_MAX
from onionshh.wire.mailbox import INBOX

USUAL = 1000
WAIT = 30.0


class Whisper:
    """One that goes on as it is told."""

    def __init__(self) -> None:
        self.outcome = Outcome("ab" * 16)
        self.receipt = Receipt(self.outcome)

    def worked(self, tries: int, seconds: float = 1.0) -> None:
        self.outcome.course.proof_tries, self.outcome.course.proof_seconds = tries, seconds

    def copies(self, copies: int, status: Status = "queued") -> None:
        self.outcome.course.copies = copies
        self.outcome.tell(status)

    def refused(self, why: str) -> None:
        self.outcome.course.not_stored = why


def test_only_long_ttls_are_for_letters() -> None:
    assert [can_be_stored(ttl) for ttl in (1, 600, 601, 604_800)] == [False, False, True, True]


def test_the_usual_work_grows_with_time_and_parts() -> None:
    hour = price(INBOX, 3600, 0, relay_used=0, relay_most=1, mailbox_used=0)
    assert usual_tries(0, 3600) == hour
    assert usual_tries(5, 1000) == hour, "an hour is the least"
    assert usual_tries(4097, 3600) == 4 * hour
    assert usual_tries(WHISPER_MAX, 3600) == 16 * hour
    assert usual_tries(5, 100_000) == usual_tries(5, 259_200) > usual_tries(5, 86_400) > hour


def test_what_is_not_to_be_stored_is_tried_for_its_wait() -> None:
    whisper = Whisper()
    assert Patience(WAIT).until(whisper.receipt, 1.0) == WAIT
    whisper.worked(5)
    assert Patience(WAIT).until(whisper.receipt, 29.0) == WAIT
    assert Patience(inf).until(whisper.receipt, 29.0) == inf


def test_what_gets_on_is_tried_longer() -> None:
    whisper, patience = Whisper(), Patience(WAIT, USUAL)
    assert patience.until(whisper.receipt, 0.0) == GETS_ON_SECONDS
    assert patience.until(whisper.receipt, 50.0) == GETS_ON_SECONDS, "nothing has changed"
    whisper.worked(100)
    assert patience.until(whisper.receipt, 60.0) == 60 + GETS_ON_SECONDS
    whisper.copies(1)
    assert patience.until(whisper.receipt, 90.0) == 90 + GETS_ON_SECONDS
    assert Patience(1000.0, USUAL).until(whisper.receipt, 0.0) == 1000, "never shorter than the wait"


def test_what_cannot_be_stored_is_tried_for_its_wait() -> None:
    whisper, patience = Whisper(), Patience(WAIT, USUAL)
    patience.until(whisper.receipt, 0.0)
    whisper.refused("it takes none")
    assert patience.until(whisper.receipt, 10.0) == WAIT
    whisper.refused("")
    assert patience.until(whisper.receipt, 20.0) == GETS_ON_SECONDS


def test_all_copies_end_it_and_missing_ones_are_waited_for_once() -> None:
    whisper, patience = Whisper(), Patience(WAIT, USUAL)
    whisper.copies(2, "stored")
    assert patience.until(whisper.receipt, 100.0) == 100 + COPIES_SECONDS
    whisper.copies(3, "stored")
    assert patience.until(whisper.receipt, 150.0) == 100 + COPIES_SECONDS
    whisper.copies(4, "stored")
    assert patience.until(whisper.receipt, 151.0) == 151


def test_one_without_a_receipt_waits_for_its_copies_too() -> None:
    whisper = Whisper()
    whisper.outcome.conclude("sent")
    assert not waits_for_copies(whisper.receipt), "it went out live"
    whisper.outcome.course.copies = 2
    assert waits_for_copies(whisper.receipt)
    assert Patience(WAIT, USUAL).until(whisper.receipt, 100.0) == 100 + COPIES_SECONDS
    whisper.outcome.course.copies = 4
    assert not waits_for_copies(whisper.receipt)


def test_what_is_being_stored() -> None:
    whisper = Whisper()
    assert not is_being_stored(whisper.receipt), "nothing has begun"
    whisper.worked(5)
    assert is_being_stored(whisper.receipt)
    whisper.refused("no room")
    assert not is_being_stored(whisper.receipt)
    whisper.refused("")
    whisper.copies(1)
    assert is_being_stored(whisper.receipt)
    whisper.copies(2, "stored")
    assert not is_being_stored(whisper.receipt)


def test_what_is_drawn() -> None:
    whisper = Whisper()
    assert drawn(whisper.receipt, USUAL) is None
    whisper.worked(USUAL // 4, 2.2)
    assert drawn(whisper.receipt, USUAL) == (0.25, "proof of work: 2 s, 250 tries")
    whisper.worked(3 * USUAL)
    share, _ = drawn(whisper.receipt, USUAL) or (0.0, "")
    assert share == 1, "bad luck"
    whisper.copies(1)
    assert drawn(whisper.receipt, USUAL) == (0.25, "1 of 4 copies")


@pytest.mark.parametrize(
    "waiting, copies, said",
    [
        (2, [], "2 whispers in the outbox"),
        (1, [4], "1 whisper in the outbox, stored (4 of 4 copies)"),
        (4, [3, 4, 2], "4 whispers in the outbox, 3 of them stored (2 to 4 of 4 copies)"),
    ],
)
def test_what_waits_in_words(waiting: int, copies: list[int], said: str) -> None:
    assert waiting_in_words(waiting, copies) == said
