"""One cell goes on with a session, and what meets after it has keys of its own (SPEC 12)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from onionshh import geometry as g
from onionshh.core.endpoint.introduce import EndToEndKeys
from onionshh.core.session.chains import Step, tag_of
from onionshh.core.session.resumption import LEGS, Resumption, SpentStep, record_most
from onionshh.crypto.layers import ClientLayers, RelayLayers
from onionshh.errors import CryptoError, ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import RELAY
from onionshh.wire.messages import Resume
from tests.core.session import plain
from tests.core.session.sides import AUTH, POINTS
from tests.crypto.test_known import h, known
from tests.seeded import seeded

STEP = Step(seeded(1)(g.KEY))
SALT, OTHER_SALT = seeded(2)(g.RESUME_SALT), seeded(3)(g.RESUME_SALT)
ANSWER, OTHER_ANSWER = seeded(4)(32), seeded(5)(32)
SPENT = SpentStep(STEP, SALT)


def opened(message: bytes, step: Step = STEP) -> Resumption:
    """As whoever finds the tag does it."""
    cell = Resume.decode_untrusted(message)
    return SpentStep(step, cell.salt).open_untrusted(cell)


def sealed(text: bytes) -> bytes:
    """Any plaintext, sealed as a RESUME's."""
    cell = Resume(AUTH, tag_of(STEP), SALT, b"")
    text = text.ljust(g.RESUME_PLAIN, b"\0")
    return cell.header + AESGCM(plain.resume_key(STEP, SALT)).encrypt(SALT, text, cell.header)


def refused(message: bytes) -> Reason:
    with pytest.raises(ProtocolError) as caught:
        opened(message)
    return caught.value.reason


# Known answers.


def test_a_resumption_is_the_known_bytes() -> None:
    kept = known("session.json")
    rows = zip(kept["steps"], kept["resumptions"], strict=True)
    for (step, tag), (salt, auth_key, privacy_class, names, record, message) in rows:
        points = [h(point) for point in names]
        assert plain.resume(h(step), h(salt), h(auth_key), privacy_class, points, h(record)) == h(message)
        said = Resumption(privacy_class, tuple(map(RelayId, points)), h(record))
        assert SpentStep(Step(h(step)), h(salt)).seal(AuthKey(h(auth_key)), said) == h(message)
        assert opened(h(message), Step(h(step))) == said
        assert Resume.decode_untrusted(h(message)).tag == h(tag)


def test_the_legs_are_the_known_ones() -> None:
    kept = known("session.json")
    step, salt, answer_salt = (
        Step(h(kept["steps"][-1][0])),
        h(kept["resumptions"][-1][0]),
        h(kept["answer_salt"]),
    )
    for number, row in enumerate(kept["legs"]):
        seed, cookie, reply_key, rendezvous1, forward, backward = map(h, row)
        assert plain.leg(step, salt, number) == (seed, cookie, reply_key)
        assert plain.rendezvous1(step, salt, number, answer_salt) == rendezvous1
        assert plain.layers(step, salt, number, answer_salt) == (forward, backward)
        spent = SpentStep(step, salt)
        leg = spent.leg(number)
        assert (leg.seed, leg.cookie, leg.reply_key) == (seed, cookie, reply_key)
        keys = EndToEndKeys(forward, backward, b"")
        assert spent.answer(number, answer_salt) == (rendezvous1, keys)
        assert spent.finish_untrusted(number, rendezvous1[g.COOKIE :]) == keys


# What a RESUME may say.


@pytest.mark.parametrize("legs", LEGS)
def test_what_is_sealed_opens(legs: int) -> None:
    for size in {0, record_most(legs)}:
        said = Resumption(2, POINTS[:legs], seeded(6)(size))
        message = SPENT.seal(AUTH, said)
        assert len(message) == g.RESUME == g.DATA, "one cell"
        assert opened(message) == said


def test_how_large_a_record_may_be() -> None:
    assert [record_most(legs) for legs in LEGS] == [408, 376, 0]


@pytest.mark.parametrize(
    "said",
    [
        Resumption(1, POINTS[:2]),
        Resumption(1, (*POINTS, RelayId(bytes(32)))),
        Resumption(1, (POINTS[0], POINTS[1], POINTS[0])),
        Resumption(1, (), bytes(409)),
        Resumption(1, POINTS[:1], bytes(377)),
        Resumption(1, POINTS, b"x"),
        Resumption(4, ()),
        Resumption(256, ()),
        Resumption(-1, ()),
    ],
)
def test_what_would_be_refused_is_not_sealed(said: Resumption) -> None:
    with pytest.raises(ValueError, match=r"RESUME|class"):
        SPENT.seal(AUTH, said)


def test_every_byte_counts() -> None:
    message = SPENT.seal(AUTH, Resumption(1, POINTS[:1], b"record"))
    for at in range(len(message)):
        wrong = message[:at] + bytes((message[at] ^ 1,)) + message[at + 1 :]
        with pytest.raises(ProtocolError):
            opened(wrong)


def test_another_step_salt_or_auth_key_does_not_open() -> None:
    message = SPENT.seal(AUTH, Resumption(1, ()))
    cell = Resume.decode_untrusted(message)
    for step, other in (
        (Step(seeded(9)(32)), cell),
        (STEP, replace(cell, auth_key=bytes(32))),
        (STEP, replace(cell, salt=OTHER_SALT)),
        (STEP, replace(cell, tag=bytes(16))),
    ):
        with pytest.raises(CryptoError) as caught:
            SpentStep(step, other.salt).open_untrusted(other)
        assert caught.value.reason is Reason.AEAD_OPEN


def test_a_sealed_part_of_another_size_does_not_open() -> None:
    cell = Resume(AUTH, tag_of(STEP), SALT, b"")
    for size in (0, g.RESUME_PLAIN - 1, g.RESUME_PLAIN + 1):
        sealed_part = AESGCM(plain.resume_key(STEP, SALT)).encrypt(SALT, bytes(size), cell.header)
        with pytest.raises(ProtocolError):
            SPENT.open_untrusted(replace(cell, sealed=sealed_part))


@pytest.mark.parametrize("count", [2, 4, 5, 12, 255])
def test_zero_one_or_three_points_and_no_other_number(count: int) -> None:
    points = b"".join(bytes((number,)) * 32 for number in range(1, count + 1))
    assert refused(sealed((bytes((1, count)) + points)[: g.RESUME_PLAIN])) is Reason.RESUME_SHAPE


@pytest.mark.parametrize(
    "text",
    [
        bytes((4, 0)),
        bytes((0x80, 0)),
        bytes((0x40, 0)),
        bytes((1, 0)) + (409).to_bytes(2, "big"),
        bytes((1, 1)) + POINTS[0] + (377).to_bytes(2, "big"),
        bytes((1, 0)) + b"\xff\xff",
        bytes((1, 3)) + b"".join(POINTS) + b"\0\1x",
        bytes((1, 3)) + POINTS[0] + POINTS[1] + POINTS[0],
        bytes((1, 3)) + POINTS[0] + POINTS[1] + POINTS[1],
        bytes((1, 0)) + b"\0\1xy",
        (bytes((1, 0)) + b"\0\1x").ljust(g.RESUME_PLAIN - 1, b"\0") + b"\1",
        bytes((1, 1)) + POINTS[0] + b"\0\0\1",
    ],
)
def test_what_no_encoder_makes_is_refused(text: bytes) -> None:
    assert refused(sealed(text)) is Reason.RESUME_SHAPE


# Keys.


def all_keys(spent: SpentStep, number: int, answer_salt: bytes) -> set[bytes]:
    """All that seals, names or moves cells in one leg, except what opens the leg."""
    rendezvous1, keys = spent.answer(number, answer_salt)
    forward, backward = keys.forward, keys.backward
    layer_parts = {half[start : start + 16] for half in (forward, backward) for start in range(0, 80, 16)}
    return {
        plain.kdf("answer", spent.leg(number).reply_key, answer_salt),
        rendezvous1[g.COOKIE :],
        *layer_parts,
    }


def test_a_step_that_is_spent_twice_repeats_no_key() -> None:
    """The spender's disk was put back: same step, other salt."""
    again = SpentStep(STEP, OTHER_SALT)
    assert plain.resume_key(STEP, SALT) != plain.resume_key(STEP, OTHER_SALT)
    for number in range(3):
        ours, other = SPENT.leg(number), again.leg(number)
        assert not {ours.seed, ours.cookie, ours.reply_key} & {other.seed, other.cookie, other.reply_key}
        assert not all_keys(SPENT, number, ANSWER) & all_keys(again, number, ANSWER)


def test_a_step_that_is_answered_twice_repeats_no_key() -> None:
    """The answering side's disk was put back, and the same cell came again: other answer salt."""
    for number in range(3):
        assert not all_keys(SPENT, number, ANSWER) & all_keys(SPENT, number, OTHER_ANSWER)


def test_no_two_legs_have_a_key_in_common() -> None:
    found = [all_keys(SPENT, number, ANSWER) for number in range(3)]
    assert len(set.union(*found)) == sum(map(len, found))
    assert len({SPENT.leg(number).cookie for number in range(3)}) == 3


def test_a_second_try_sends_the_same_bytes() -> None:
    assert SPENT.answer(0, ANSWER) == SpentStep(STEP, SALT).answer(0, ANSWER)


def test_an_answer_has_the_size_of_any_other_and_no_known_bytes() -> None:
    rendezvous1, _ = SPENT.answer(0, ANSWER)
    assert len(rendezvous1) == g.RENDEZVOUS1
    assert rendezvous1[: g.COOKIE] == SPENT.leg(0).cookie
    assert bytes(8) not in rendezvous1


def test_both_ends_fit_together() -> None:
    """What the spender sends `forward` is what the other side takes off, and the other way round."""
    rendezvous1, theirs = SPENT.answer(0, ANSWER)
    ours = SPENT.finish_untrusted(0, rendezvous1[g.COOKIE :])
    assert (ours.forward, ours.backward) == (theirs.forward, theirs.backward)
    assert ours.forward != ours.backward
    client, relay = ClientLayers(), RelayLayers(theirs.forward, theirs.backward)
    client.add_hop(ours.forward, ours.backward)
    body, _ = client.send(0, RELAY, bytes(g.PAYLOAD))
    _, payload, mine = relay.outbound(RELAY, body[: g.TAG], body[g.TAG :])
    assert (payload, mine) == (bytes(g.PAYLOAD), True)
    tag, rest = relay.originate(RELAY, b"\1" * g.PAYLOAD)
    received = client.receive(RELAY, tag + rest)
    assert received is not None
    assert received[:2] == (0, b"\1" * g.PAYLOAD)


def test_junk_in_an_answer_is_refused() -> None:
    rendezvous2 = SPENT.answer(1, ANSWER)[0][g.COOKIE :]
    places = [*range(0, 32), 32, 700, 1151, 1152, 1167]
    wrong = [rendezvous2[:at] + bytes((rendezvous2[at] ^ 1,)) + rendezvous2[at + 1 :] for at in places]
    wrong += [b"", rendezvous2[:-1], rendezvous2 + b"\0", bytes(len(rendezvous2))]
    for message in wrong:
        with pytest.raises(ProtocolError):
            SPENT.finish_untrusted(1, message)
    for number in (0, 2):
        with pytest.raises(CryptoError):
            SPENT.finish_untrusted(number, rendezvous2)
    with pytest.raises(CryptoError):
        SpentStep(STEP, OTHER_SALT).finish_untrusted(1, rendezvous2)


def test_an_answer_that_says_anything_is_refused() -> None:
    """Only the other side can seal it, and it has nothing to say."""
    key = plain.kdf("answer", SPENT.leg(0).reply_key, ANSWER)
    message = ANSWER + AESGCM(key).encrypt(bytes(12), bytes(1119) + b"\1", b"")
    with pytest.raises(CryptoError) as caught:
        SPENT.finish_untrusted(0, message)
    assert caught.value.reason is Reason.RESUME_SHAPE


def test_no_secret_shows_in_a_repr() -> None:
    said = repr((SPENT, SPENT.leg(0), SPENT.answer(0, ANSWER)[1], Resumption(1, (), b"the record")))
    leg = SPENT.leg(0)
    for secret in (STEP, leg.seed, leg.reply_key, leg.cookie, b"the record"):
        assert repr(secret)[2:-1] not in said
