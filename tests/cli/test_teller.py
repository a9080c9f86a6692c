"""What became of a whisper is told once, and truly, to people and to programs."""

from __future__ import annotations

import json
import sys
from contextlib import suppress

import pytest

from onionshh.cli.teller import GOES_ON, UNWRITTEN, Teller
from onionshh.client.receipt import Outcome, PathInfo, Receipt, Route, Status
from onionshh.core.delivery.record import new_whisper
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


def test_a_whisper_without_a_receipt_ends_as_sent(capsys: Captured) -> None:
    sent = Receipt(Outcome("ab" * 16, route=Route(paths=(PATH,))))
    sent._outcome.conclude("sent")
    assert Teller("talk", 30, as_json=False).tell(sent, "") == 0
    assert "no receipt comes for it" in capsys.readouterr().err
