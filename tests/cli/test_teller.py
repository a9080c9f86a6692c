"""What became of a whisper is told once, and truly, to people and to programs."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import pytest

from onionshh.cli.teller import AWAY, GOES_ON, LEFT, MAYBE, NOT_SEEN, SEEN_LATER, UNWRITTEN, Teller
from onionshh.client.receipt import Outcome, PathInfo, Receipt, Route, Status
from onionshh.core.delivery.record import new_whisper
from tests.cli.conftest import seen, terminal
from tests.seeded import seeded

Captured = pytest.CaptureFixture[str]
PATH = PathInfo(3, tuple(f"{number:064x}" for number in range(4)))
DELIVERED = "delivered over 3 hops, connected in 0.40 s, receipt after 0.12 s"


def receipt(status: Status, why: str = "", answer: bytes | None = None) -> Receipt:
    """One that stands so."""
    route = Route(paths=(PATH,), connect_seconds=0.4)
    outcome = Outcome("ab" * 16, route=route, round_trip_seconds=0.1234567)
    if answer is not None:
        outcome.answer = new_whisper(answer, expires=600, privacy_class=1, random_bytes=seeded(1))
    if status in ("queued", "sent"):
        outcome.status, outcome.why = status, why
    else:
        outcome.conclude(status, why)
    return Receipt(outcome)


@pytest.mark.parametrize(
    "status, why, wait, exit_status, said",
    [
        (
            "delivered",
            "",
            30,
            0,
            f"{DELIVERED}; no reply came.",
        ),
        ("delivered", "", 0, 0, f"{DELIVERED}."),
        ("expired", "its time is over", 30, 1, "not delivered (expired): its time is over."),
        ("failed", "two\nlines", 30, 1, "not delivered (failed): two lines."),
        ("sent", "x", 30, 1, "sent without a receipt: x; it may have arrived, nothing more is sent."),
        ("queued", "x", 30, 1, "not delivered (failed): x; given up, nothing more is sent."),
    ],
)
def test_every_status_for_people(
    status: Status, why: str, wait: float, exit_status: int, said: str, capsys: Captured
) -> None:
    teller = Teller("talk", wait, as_json=False)
    assert teller.tell(receipt(status, why), why) == exit_status
    assert teller.is_told
    assert capsys.readouterr() == ("", f"onionshh: {said}\n")


@pytest.mark.parametrize("answer, key, value", [(b"yes", "reply", "yes"), (b"\xff", "reply_base64", "/w==")])
def test_one_object_for_programs(answer: bytes, key: str, value: str, capsys: Captured) -> None:
    teller = Teller("talk", 30, as_json=True)
    teller.meanwhile("what only people are told")
    assert teller.tell(receipt("delivered", answer=answer), "") == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert json.loads(out) == {
        "status": "delivered",
        "why": "",
        "id": "ab" * 16,
        "hops": 3,
        "class": "talk",
        "resumed": False,
        "copies": 0,
        "proof_seconds": 0.0,
        "paths": [{"hops": 3, "relays": list(PATH.relays)}],
        "connect_seconds": 0.4,
        "round_trip_seconds": 0.123457,
        key: value,
    }


def test_a_reply_comes_byte_by_byte(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    assert Teller("talk", 30, as_json=False).tell(receipt("delivered", answer=b"a\0\xff\x1b[2J"), "") == 0
    assert capfdbinary.readouterr().out == b"a\0\xff\x1b[2J"


@pytest.mark.parametrize("as_json", [False, True])
def test_who_was_interrupted_is_not_told_that_no_reply_came(as_json: bool, capsys: Captured) -> None:
    teller = Teller("talk", 30, as_json=as_json)
    assert teller.tell(receipt("delivered"), "interrupted", interrupted=True) == 0
    assert "no reply came" not in capsys.readouterr().err


def test_nothing_was_sent(capsys: Captured) -> None:
    teller = Teller("talk", 30, as_json=True)
    teller.nothing_was_sent()
    assert teller.is_told
    out, err = capsys.readouterr()
    assert json.loads(out) == {"error": "interrupted before the whisper was sent."}
    assert err == "onionshh: interrupted before the whisper was sent.\n"


def test_without_stdout_a_reply_is_no_reason_to_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert Teller("talk", 30, as_json=False).tell(receipt("delivered", answer=b"x"), "") == 0


@pytest.mark.parametrize("as_json", [False, True])
@pytest.mark.parametrize("status, exit_status", [("delivered", UNWRITTEN), ("expired", 1)])
def test_what_stdout_does_not_take(
    as_json: bool, status: Status, exit_status: int, monkeypatch: pytest.MonkeyPatch, capsys: Captured
) -> None:
    """A reply that is lost must not have the whisper sent again; what was not delivered fails as ever."""
    teller = Teller("talk", 30, as_json=as_json)
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        if status == "delivered":
            assert teller.tell(receipt(status, answer=b"x"), "") == exit_status
        elif as_json:
            with pytest.raises(OSError, match="No space left"):
                teller.tell(receipt(status), "late")
        else:
            assert teller.tell(receipt(status), "late") == exit_status
        monkeypatch.undo()
        with suppress(OSError):
            full.close()
    said = capsys.readouterr().err
    assert ("Do not send it again for that" in said) == (status == "delivered")


def test_a_session_that_went_on_is_told_of(capsys: Captured) -> None:
    resumed = Receipt(Outcome("ab" * 16, route=Route(paths=(PATH,), resumed=True)))
    resumed._outcome.conclude("delivered")
    assert Teller("talk", 0, as_json=False).tell(resumed, "") == 0
    assert capsys.readouterr().err == "onionshh: delivered over 3 hops, the session resumed.\n"


def test_a_named_whisper_stays_in_the_outbox(capsys: Captured) -> None:
    teller = Teller("talk", 0, as_json=True, named=True)
    assert teller.kept(receipt("queued")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["why"]) == ("queued", GOES_ON)
    assert Teller("talk", 0, as_json=False, named=True).kept(receipt("queued")) == 0
    assert capsys.readouterr().err == f"onionshh: accepted: {GOES_ON}.\n"
    assert Teller("talk", 30, as_json=False, named=True).tell(receipt("sent"), "no answer") == 1
    assert GOES_ON in capsys.readouterr().err


def stored(copies: int, status: Status = "stored", *, seconds: float = 1.25, tries: int = 5000) -> Receipt:
    """One that so many relays keep."""
    outcome = Outcome("ab" * 16, status)
    course = outcome.course
    course.copies, course.proof_seconds, course.proof_tries = copies, seconds, tries
    return Receipt(outcome)


@pytest.mark.parametrize("named, then", [(True, SEEN_LATER), (False, NOT_SEEN)])
def test_a_stored_whisper_is_done(named: bool, then: str, capsys: Captured) -> None:
    assert Teller("talk", 30, as_json=False, named=named).tell(stored(3), "") == 0
    said = f"stored, 3 of 4 copies; the proof of work took 1.2 s. {AWAY[0].upper()}{AWAY[1:]}; {then}."
    assert capsys.readouterr() == ("", f"onionshh: {said}\n")
    assert Teller("talk", 30, as_json=True, named=named).tell(stored(4), "x", interrupted=True) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["status"], told["copies"], told["proof_seconds"]) == ("stored", 4, 1.25)
    assert told["why"] == f"{AWAY}; {then}"


def test_work_that_an_earlier_run_did_costs_nothing_now(capsys: Captured) -> None:
    Teller("talk", 30, as_json=False).tell(stored(4, seconds=0.0, tries=0), "")
    assert "onionshh: stored, 4 of 4 copies. The" in capsys.readouterr().err


def test_too_few_copies_may_still_arrive(capsys: Captured) -> None:
    assert Teller("talk", 30, as_json=False).tell(stored(1, "queued"), "its relays have no room") == 1
    said = capsys.readouterr().err
    assert said.endswith(f": its relays have no room; 1 of 4 copies, so {MAYBE}.\n")
    assert Teller("talk", 30, as_json=True).tell(stored(1, "queued"), "no room") == 1
    assert json.loads(capsys.readouterr().out)["status"] == "sent"


def test_how_far_it_is_is_said_once_without_a_terminal(capsys: Captured) -> None:
    teller = Teller("talk", 30, as_json=False)
    teller.storing(stored(0, "queued", tries=0), 1000)
    assert capsys.readouterr().err == ""
    for tries in (100, 200):
        teller.storing(stored(0, "queued", tries=tries), 1000)
    assert capsys.readouterr().err == f"onionshh: {LEFT}\n"
    Teller("talk", 30, as_json=True).storing(stored(0, "queued"), 1000)
    Teller("talk", 30, as_json=False).storing(stored(0, "queued"), 0)
    assert capsys.readouterr().err == ""


def test_on_a_terminal_it_is_drawn_and_cleared() -> None:
    with terminal() as screen:
        teller = Teller("talk", 30, as_json=False)
        teller.storing(stored(0, "queued", tries=500), 1000)
        teller.storing(stored(2), 1000)
        teller.tell(stored(2), "")
        shown = ""
        while "4 copies; the proof" not in shown:
            shown += seen(screen, 1).decode()
    assert f"[{15 * '#'}{15 * '-'}] proof of work: 1 s, 500 tries\r\x1b[K" in shown
    assert "2 of 4 copies\r\x1b[Konionshh: stored, 2 of 4" in shown


def test_what_became_of_whispers_of_earlier_runs(capsys: Captured) -> None:
    teller = Teller("talk", 30, as_json=False, named=True)
    for status in ("delivered", "expired", "sent", "stored"):
        teller.earlier(receipt(status, "too late") if status != "stored" else stored(4))
    teller.waiting([stored(4), stored(2), receipt("queued")])
    teller.waiting([receipt("queued")])
    teller.waiting([])
    assert capsys.readouterr().err.splitlines() == [
        "onionshh: a whisper of an earlier run was delivered.",
        "onionshh: a whisper of an earlier run was not delivered (expired): too late.",
        "onionshh: still waiting from earlier runs: 3 whispers in the outbox, 2 of them stored (2 to 4 of 4"
        " copies).",
        "onionshh: still waiting from earlier runs: 1 whisper in the outbox.",
    ]
    teller = Teller("talk", 30, as_json=True, named=True)
    teller.waiting([stored(4)])
    teller.earlier(receipt("expired", "too late"))
    told = json.loads(capsys.readouterr().out)
    assert told == {
        "event": "earlier",
        "id": "ab" * 16,
        "status": "expired",
        "why": "too late",
        "copies": 0,
    }


def test_a_whisper_that_was_read_from_the_inbox_took_no_way_of_ours(capsys: Captured) -> None:
    read = Outcome("ab" * 16)
    read.conclude("delivered")
    assert Teller("talk", 0, as_json=False).tell(Receipt(read), "") == 0
    assert capsys.readouterr().err == "onionshh: delivered: the endpoint took it from its inbox.\n"


def test_a_whisper_without_a_receipt_ends_as_sent(capsys: Captured) -> None:
    sent = Receipt(Outcome("ab" * 16, route=Route(paths=(PATH,))))
    sent._outcome.conclude("sent")
    assert Teller("talk", 30, as_json=False).tell(sent, "") == 0
    assert "no receipt comes for it" in capsys.readouterr().err
