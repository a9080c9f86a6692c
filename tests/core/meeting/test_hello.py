"""Hellos and answers, byte by byte, and the session that both have from them (SPEC 14)."""

from __future__ import annotations

import pytest

from onionshh import geometry as g
from onionshh.core.board.topic import Topic
from onionshh.core.meeting.hello import (
    HELLO,
    PERIOD_MOST,
    REPLY,
    Agreed,
    Hello,
    agreed_untrusted,
    answer_untrusted,
    answers,
    is_answer_to,
    meeting_topic,
)
from onionshh.crypto.primitives import kdf
from onionshh.crypto.refresh import SEED, Offer
from onionshh.errors import ProtocolError
from onionshh.geometry import BOARD_CHUNK
from onionshh.reasons import Reason
from tests.seeded import seeded

SECRET, OTHER_SECRET = bytes(range(32)), bytes(32)
LOW, HIGH = b"\x01" * 16, b"\x02" * 16
PERIOD = 20_000
OFFER = Offer.of_seed(seeded(1)(SEED))
ASKED = Hello.of(SECRET, LOW, OFFER.public)


def answered(
    *, secret: bytes = SECRET, hello: Hello = ASKED, instance: bytes = HIGH, period: int = PERIOD
) -> tuple[bytes, Agreed]:
    return answer_untrusted(secret, hello, instance, period, seeded(2))


ANSWER, ANSWERED = answered()


def signed_anew(head: bytes, secret: bytes = SECRET, hello: Hello = ASKED) -> bytes:
    """An answer with this beginning, from somebody who knows the secret."""
    return head + kdf("meet answer", secret, hello.encoded, head)


def changed(body: bytes, at: int) -> bytes:
    return body[:at] + bytes((body[at] ^ 1,)) + body[at + 1 :]


def test_a_hello_is_written_as_it_is_specified() -> None:
    assert HELLO == len(ASKED.encoded) == 16 + 32 + 1184 + 32
    said, mac = ASKED.encoded[:-32], ASKED.encoded[-32:]
    assert said == LOW + OFFER.public
    assert len(OFFER.public) == 32 + 1184
    assert mac == kdf("meet hello", SECRET, said)
    assert Hello.decode_untrusted(SECRET, ASKED.encoded) == ASKED
    assert (ASKED.instance, ASKED.offer) == (LOW, OFFER.public)


def test_an_answer_is_written_as_it_is_specified() -> None:
    assert REPLY == len(ANSWER) == 16 + 16 + 8 + 32 + 1088 + 32
    head, mac = ANSWER[:-32], ANSWER[-32:]
    assert head[:40] == HIGH + LOW + PERIOD.to_bytes(8, "big")
    assert len(head[40:]) == 32 + 1088
    assert mac == kdf("meet answer", SECRET, ASKED.encoded, head)
    assert (HELLO, REPLY) == (1264, 1192)
    assert BOARD_CHUNK > HELLO, "a hello and an answer are one entry each"


def test_both_have_one_root_and_it_follows_from_all_that_was_said() -> None:
    agreed = agreed_untrusted(SECRET, ASKED, OFFER, ANSWER)
    assert agreed == ANSWERED
    assert (agreed.instance, agreed.period, len(agreed.root)) == (HIGH, PERIOD, 32)
    curve, kem = OFFER.finish_untrusted(ANSWER[40:-32])
    assert agreed.root == kdf("meet root", SECRET, curve, kem, ASKED.encoded, ANSWER)
    assert agreed.root != answered()[1].root, "each answer leads to another session"


def test_a_restart_has_the_same_hello_and_takes_the_same_answer() -> None:
    again = Offer.of_seed(seeded(1)(SEED))
    assert Hello.of(SECRET, LOW, again.public) == ASKED
    assert agreed_untrusted(SECRET, ASKED, again, ANSWER) == ANSWERED


def test_the_board_of_a_meeting_follows_from_its_secret_and_is_not_the_board_of_that_secret() -> None:
    assert meeting_topic(SECRET) == Topic(kdf("meet", SECRET))
    assert meeting_topic(SECRET) != meeting_topic(OTHER_SECRET)
    assert meeting_topic(SECRET) != Topic.of(SECRET)


def test_the_higher_instance_answers_the_lower_one_and_never_itself() -> None:
    assert answers(HIGH, LOW)
    assert not answers(LOW, HIGH)
    assert not answers(LOW, LOW)
    assert answers(b"\xff" + bytes(15), b"\x7f" * 16)
    assert answers(bytes(15) + b"\x01", bytes(16))


@pytest.mark.parametrize("at", [0, 15, 16, 47, 48, 1231, 1232, 1263])
def test_a_changed_hello_is_none(at: int) -> None:
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        Hello.decode_untrusted(SECRET, changed(ASKED.encoded, at))


@pytest.mark.parametrize("at", [0, 15, 32, 39, 40, 71, 72, 1159, 1160, 1175, 1191])
def test_a_changed_answer_is_none(at: int) -> None:
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        agreed_untrusted(SECRET, ASKED, OFFER, changed(ANSWER, at))


@pytest.mark.parametrize("size", [0, 1, HELLO - 1, HELLO + 1, REPLY])
def test_a_hello_of_another_size_is_none(size: int) -> None:
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        Hello.decode_untrusted(SECRET, ASKED.encoded.ljust(size, b"\0")[:size])


@pytest.mark.parametrize("size", [0, 31, 32, REPLY - 1, REPLY + 1, HELLO])
def test_an_answer_of_another_size_is_none(size: int) -> None:
    body = ANSWER.ljust(size, b"\0")[:size]
    assert not is_answer_to(body, LOW)
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        agreed_untrusted(SECRET, ASKED, OFFER, body)


def test_whoever_does_not_know_the_secret_cannot_take_part() -> None:
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        Hello.decode_untrusted(OTHER_SECRET, ASKED.encoded)
    forged, _ = answered(secret=OTHER_SECRET)
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        agreed_untrusted(SECRET, ASKED, OFFER, forged)


def test_an_answer_is_to_one_hello_alone() -> None:
    assert is_answer_to(ANSWER, LOW)
    assert not is_answer_to(ANSWER, HIGH)
    other = Offer.of_seed(seeded(3)(SEED))
    restarted = Hello.of(SECRET, LOW, other.public)
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        agreed_untrusted(SECRET, restarted, other, ANSWER)
    somebody = Hello.of(SECRET, b"\x00" * 16, OFFER.public)
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        agreed_untrusted(SECRET, somebody, OFFER, ANSWER)


@pytest.mark.parametrize("instance", [LOW, bytes(16), b"\x00" + b"\xff" * 15])
def test_an_answer_of_an_instance_that_is_not_higher_is_none(instance: bytes) -> None:
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        agreed_untrusted(SECRET, ASKED, OFFER, answered(instance=instance)[0])


def test_a_period_that_no_clock_shows_is_none() -> None:
    body, agreed = answered(period=PERIOD_MOST)
    assert agreed_untrusted(SECRET, ASKED, OFFER, body) == agreed
    body, _ = answered(period=PERIOD_MOST + 1)
    with pytest.raises(ProtocolError, match=Reason.MEETING_SHAPE):
        agreed_untrusted(SECRET, ASKED, OFFER, body)


def test_keys_that_are_none_are_refused_though_whoever_sent_them_knows_the_secret() -> None:
    """A hello with a point of small order, or a KEM key out of range; an answer with such a point."""
    for offer in (bytes(g.KEY) + OFFER.public[g.KEY :], OFFER.public[: g.KEY] + b"\xff" * g.KEM_KEY):
        hello = Hello.decode_untrusted(SECRET, Hello.of(SECRET, LOW, offer).encoded)
        with pytest.raises(ProtocolError):
            answer_untrusted(SECRET, hello, HIGH, PERIOD, seeded(4))
    head = ANSWER[:40] + bytes(g.KEY) + ANSWER[72:-32]
    with pytest.raises(ProtocolError):
        agreed_untrusted(SECRET, ASKED, OFFER, signed_anew(head))


def test_nothing_secret_is_shown() -> None:
    for shown in (repr(ASKED), repr(ANSWERED), repr(OFFER)):
        assert ANSWERED.root.hex() not in shown
        assert "root" not in shown
        assert "offer" not in shown.replace("Offer", "")
