"""A receipt follows its outcome, ends once, and tells whoever brings the whisper over if somebody waits."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.client.receipt import Outcome, PathInfo, Receipt, Route, Status
from onionshh.core.delivery.record import Record, new_whisper
from tests.seeded import seeded

FINAL: tuple[Status, ...] = ("sent", "delivered", "expired", "failed")
NAMES = (
    "id",
    "status",
    "why",
    "hops",
    "paths",
    "resumed",
    "privacy",
    "connect_seconds",
    "round_trip_seconds",
    "reply_body",
    "is_final",
)


def record(body: bytes) -> Record:
    return new_whisper(body, expires=600, privacy_class=1, random_bytes=seeded(1))


class Asked:
    """Whoever brings the whisper over: what it is told of those who wait for the answer."""

    def __init__(self) -> None:
        self.outcome = Outcome("00" * 16)
        self.told: list[bool] = []
        self.receipt = Receipt(self.outcome, self.told.append)


def test_a_receipt_shows_its_outcome_as_it_changes_and_cannot_be_set() -> None:
    outcome = Outcome("ab" * 16)
    receipt = Receipt(outcome)
    assert [getattr(receipt, name) for name in NAMES] == [
        "ab" * 16,
        "queued",
        "",
        None,
        (),
        False,
        "",
        None,
        None,
        None,
        False,
    ]
    path = PathInfo(2, ("aa" * 32, "bb" * 32, "cc" * 32))
    outcome.why, outcome.route = "the way is being built", Route((path,), True)
    outcome.record = record(b"question")
    outcome.route, outcome.round_trip_seconds = Route((path,), True, 0.5), 0.25
    outcome.conclude("delivered")
    outcome.settle(record(b"answer"))
    assert [getattr(receipt, name) for name in NAMES[1:]] == [
        "delivered",
        "",
        2,
        (path,),
        True,
        "talk",
        0.5,
        0.25,
        b"answer",
        True,
    ]
    for name in NAMES:
        with pytest.raises(AttributeError):
            setattr(receipt, name, None)
    with pytest.raises(AttributeError):
        receipt.note = "mine"  # type: ignore[attr-defined]


@pytest.mark.parametrize("first", FINAL)
@pytest.mark.parametrize("second", FINAL)
def test_what_is_final_stays(first: Status, second: Status) -> None:
    outcome = Outcome("")
    outcome.conclude(first, "why it ended")
    outcome.conclude(second, "another reason")
    turns_out = (first, second) == ("sent", "delivered")
    expected = ("delivered", "another reason") if turns_out else (first, "why it ended")
    assert (outcome.status, outcome.why) == expected
    assert outcome.final.is_set()
    assert outcome.settled.is_set() == (first in ("expired", "failed"))  # else an answer may follow


def test_a_repr_says_the_status_and_why_and_nothing_of_the_answer() -> None:
    outcome = Outcome("cd" * 16)
    receipt = Receipt(outcome)
    assert repr(receipt) == "<Receipt queued>"
    outcome.settle(record(b"known to two alone"))
    outcome.conclude("failed", "the contact was closed")
    assert repr(receipt) == "<Receipt failed: the contact was closed>"
    assert "known" not in repr(outcome)


async def test_its_end_wakes_everyone_who_waits_for_it(autojump_clock: MockClock) -> None:
    one = Asked()
    ended: list[Receipt] = []

    async def wait() -> None:
        ended.append(await one.receipt.final())

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        one.outcome.status = "sent"
        await trio.sleep(1)
        assert ended == []
        one.outcome.conclude("delivered")
    assert ended == [one.receipt] * 3
    assert one.told == []  # nobody waits for an answer


async def test_the_first_who_waits_for_a_reply_is_told_of_and_the_last_who_leaves(
    autojump_clock: MockClock,
) -> None:
    one = Asked()

    async def wait(seconds: float) -> None:
        with trio.move_on_after(seconds):
            await one.receipt.reply()

    async with trio.open_nursery() as nursery:
        for seconds in (1, 5, 3):
            nursery.start_soon(wait, seconds)
        await trio.sleep(4)
        assert one.told == [True]
    assert one.told == [True, False]
    await wait(1)
    assert one.told == [True, False, True, False]


async def test_an_answer_is_given_to_all_and_again_to_whoever_asks_later(autojump_clock: MockClock) -> None:
    one = Asked()
    got: list[bytes | None] = []

    async def wait() -> None:
        got.append(await one.receipt.reply())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait)
        nursery.start_soon(wait)
        await wait_all_tasks_blocked()
        one.outcome.settle(record(b"answer"))
    one.outcome.settle(None)  # nothing more can come: what came stays
    one.outcome.settle(record(b"a second one"))
    await wait()
    assert got == [b"answer"] * 3
    assert one.told == [True, False]


@pytest.mark.parametrize("status", ["expired", "failed"])
async def test_a_whisper_that_ends_undelivered_keeps_nobody_waiting_for_its_reply(
    status: Status, autojump_clock: MockClock
) -> None:
    one = Asked()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def end() -> None:
            await trio.sleep(7)
            one.outcome.conclude(status, "nobody came")

        assert await one.receipt.reply() is None
        assert trio.current_time() == 7


def test_a_key_to_hand_over_is_that_of_the_whisper_and_of_no_other() -> None:
    outcome = Outcome("")
    receipt = Receipt(outcome)
    with pytest.raises(ValueError, match="for a reply, or for a whisper of an earlier run"):
        receipt.derive_key("a game")
    outcome.record = record(b"question")
    key = receipt.derive_key("a game")
    assert len(key) == 32
    assert receipt.derive_key("a game", 16) != receipt.derive_key("another", 16)
    other = Outcome("", record=record(b"question!"))
    assert Receipt(other).derive_key("a game") != key


async def test_it_is_awaited_as_long_as_somebody_waits_for_a_reply(autojump_clock: MockClock) -> None:
    one = Asked()
    async with trio.open_nursery() as nursery:
        awaited = [one.outcome.awaited]
        nursery.start_soon(one.receipt.reply)
        await wait_all_tasks_blocked()
        awaited.append(one.outcome.awaited)
        nursery.cancel_scope.cancel()
    assert [*awaited, one.outcome.awaited] == [False, True, False]


def test_the_first_look_at_an_answer_is_told_and_no_other() -> None:
    """By then the outbox need not keep it for a later run."""
    outcome, taken = Outcome(""), list[Record]()
    receipt = Receipt(outcome, took=taken.append)
    seen = [receipt.reply_body]
    assert taken == []
    outcome.settle(record(b"answer"))
    assert [*seen, receipt.reply_body, receipt.reply_body] == [None, b"answer", b"answer"]
    assert taken == [record(b"answer")]
