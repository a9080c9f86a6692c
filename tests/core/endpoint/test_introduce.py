"""Introductions from both sides: what is sealed, what is refused (SPEC 11)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from onionshh import geometry as g
from onionshh.core.endpoint.introduce import (
    Introduction,
    Opened,
    answer,
    fits_introduction,
    leg_of,
    open_introduction_untrusted,
    period_byte,
)
from onionshh.crypto.primitives import KeyPair, kdf
from onionshh.crypto.seal import SealKey, seal
from onionshh.errors import ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from onionshh.wire.messages import INTRODUCE_RESUME, Introduce, Rendezvous1
from tests.seeded import seeded

AUTH = AuthKey(b"a" * 32)
SUBCREDENTIAL = b"s" * 32
POINT = RelayId(b"p" * 32)
THREE = (POINT, RelayId(b"q" * 32), RelayId(b"r" * 32))
RECORD = b"record" * 40


class Endpoint:
    """The keys of one period."""

    def __init__(self, seed: int = 1) -> None:
        self.seal = SealKey.generate(seeded(seed))
        self.rendezvous = KeyPair.generate(seeded(seed + 100))

    def open(self, message: bytes, subcredential: bytes = SUBCREDENTIAL) -> Opened:
        return open_introduction_untrusted(Introduce.decode_untrusted(message), self.seal, subcredential)


def introduce(
    endpoint: Endpoint,
    record: bytes = RECORD,
    *,
    seed: int = 5,
    period: int = 700,
    points: Sequence[RelayId] = (POINT,),
    privacy_class: int = 1,
    keep_session: bool = False,
) -> Introduction:
    return Introduction(
        auth_key=AUTH,
        period=period,
        subcredential=SUBCREDENTIAL,
        rendezvous_key=endpoint.rendezvous.public,
        seal_key=endpoint.seal.public,
        rendezvous_points=points,
        privacy_class=privacy_class,
        keep_session=keep_session,
        record=record,
        random_bytes=seeded(seed),
    )


def meet(endpoint: Endpoint, opened: Opened, leg: int = 0) -> bytes:
    message, _ = answer(
        opened, leg, rendezvous_keys=endpoint.rendezvous, subcredential=SUBCREDENTIAL, random_bytes=seeded(9)
    )
    return message


@pytest.mark.parametrize("record", [b"", b"x", RECORD, bytes(range(1, 173)) * 2])
def test_both_ends_come_to_the_same_keys(record: bytes) -> None:
    endpoint = Endpoint()
    introduction = introduce(endpoint, record)
    opened = endpoint.open(introduction.message)
    assert (opened.auth_key, opened.privacy_class, opened.rendezvous_points) == (AUTH, 1, (POINT,))
    assert opened.record == record
    assert opened.seed == introduction.seed
    message, keys = answer(
        opened, rendezvous_keys=endpoint.rendezvous, subcredential=SUBCREDENTIAL, random_bytes=seeded(9)
    )
    reply = Rendezvous1.decode_untrusted(message)
    leg_seed = kdf("leg seed", introduction.seed, bytes(8))
    assert reply.cookie == introduction.cookie == kdf("cookie", leg_seed)
    assert introduction.legs == (leg_of(leg_seed),)
    assert introduction.finish(reply.sealed) == keys
    assert (len(keys.forward), len(keys.backward), len(keys.root)) == (80, 80, 32)
    assert len({keys.forward, keys.backward}) == 2


def test_it_has_one_size_whether_a_record_rides_along_or_not() -> None:
    endpoint = Endpoint()
    messages = [introduce(endpoint, record).message for record in (b"", RECORD, bytes(344))]
    messages.append(introduce(endpoint, b"", points=THREE).message)
    assert {len(message) for message in messages} == {2934}
    assert RECORD not in messages[1]


def test_what_the_introducer_sees_names_neither_point_nor_seed() -> None:
    introduction = introduce(Endpoint())
    for secret in (POINT, introduction.seed, introduction.legs[0].seed, introduction.cookie):
        assert secret not in introduction.message


def test_a_record_that_does_not_fit_is_never_cut() -> None:
    assert fits_introduction(bytes(344))
    assert not fits_introduction(bytes(345))
    with pytest.raises(ValueError):
        introduce(Endpoint(), bytes(345))
    with pytest.raises(ValueError):
        introduce(Endpoint(), b"x", points=THREE)


def test_the_period_is_named_by_its_last_byte() -> None:
    assert period_byte(0x1234) == 0x34
    assert Introduce.decode_untrusted(introduce(Endpoint(), period=0x1FF).message).period_byte == 0xFF


@pytest.mark.parametrize("at", [32 + 2 + 40, 32 + 2 + 40 + 1120, g.INTRODUCE - 1])
def test_a_flipped_bit_in_the_seal(at: int) -> None:
    endpoint = Endpoint()
    message = bytearray(introduce(endpoint).message)
    message[at] ^= 1
    with pytest.raises(ProtocolError):
        endpoint.open(bytes(message))


@pytest.mark.parametrize("change", [{"auth_key": b"b" * 32}, {"period_byte": 3}])
def test_everything_outside_the_seal_is_bound_to_it(change: dict[str, object]) -> None:
    endpoint = Endpoint()
    message = replace(Introduce.decode_untrusted(introduce(endpoint).message), **change)  # type: ignore[arg-type]
    with pytest.raises(ProtocolError):
        open_introduction_untrusted(message, endpoint.seal, SUBCREDENTIAL)


def test_a_kind_that_is_not_spoken() -> None:
    endpoint = Endpoint()
    message = replace(Introduce.decode_untrusted(introduce(endpoint).message), kind=INTRODUCE_RESUME)
    with pytest.raises(ProtocolError, match=Reason.INTRODUCE_KIND):
        open_introduction_untrusted(message, endpoint.seal, SUBCREDENTIAL)


def test_another_endpoint_or_another_period_opens_nothing() -> None:
    message = introduce(Endpoint()).message
    with pytest.raises(ProtocolError):
        Endpoint(2).open(message)
    with pytest.raises(ProtocolError):
        Endpoint().open(message, b"t" * 32)


def test_an_answer_by_someone_else_is_refused() -> None:
    endpoint, other = Endpoint(), Endpoint(2)
    introduction = introduce(endpoint)
    opened = endpoint.open(introduction.message)
    with pytest.raises(ProtocolError):
        answer(opened, rendezvous_keys=other.rendezvous, subcredential=SUBCREDENTIAL, random_bytes=seeded(9))
    strange = introduce(endpoint, seed=6)
    reply = Rendezvous1.decode_untrusted(meet(endpoint, endpoint.open(strange.message)))
    with pytest.raises(ProtocolError):
        introduction.finish(reply.sealed)


@pytest.mark.parametrize("at", [0, 40, 1151, 1167])
def test_a_flipped_bit_in_the_answer(at: int) -> None:
    endpoint = Endpoint()
    introduction = introduce(endpoint)
    message = meet(endpoint, endpoint.open(introduction.message))
    sealed = bytearray(Rendezvous1.decode_untrusted(message).sealed)
    sealed[at] ^= 1
    with pytest.raises(ProtocolError):
        introduction.finish(bytes(sealed))


@pytest.mark.parametrize("size", [0, 1167, 1169])
def test_an_answer_of_wrong_size(size: int) -> None:
    with pytest.raises(ProtocolError):
        introduce(Endpoint()).finish(bytes(size))


@pytest.mark.parametrize("points", [(), THREE[:2], (POINT, POINT, THREE[2]), (*THREE, RelayId(b"s" * 32))])
def test_an_introduction_has_one_point_or_three_different_ones(points: tuple[RelayId, ...]) -> None:
    with pytest.raises(ValueError, match="rendezvous point"):
        introduce(Endpoint(), b"", points=points)


def test_each_of_three_legs_has_a_cookie_and_keys_of_its_own() -> None:
    endpoint = Endpoint()
    introduction = introduce(endpoint, b"", points=THREE, privacy_class=2)
    opened = endpoint.open(introduction.message)
    assert (opened.privacy_class, opened.rendezvous_points, opened.record) == (2, THREE, b"")
    random_bytes = seeded(9)
    seen: set[bytes] = set()
    for number, leg in enumerate(introduction.legs):
        assert leg == leg_of(kdf("leg seed", introduction.seed, number.to_bytes(8, "big")))
        message, keys = answer(
            opened,
            number,
            rendezvous_keys=endpoint.rendezvous,
            subcredential=SUBCREDENTIAL,
            random_bytes=random_bytes,
        )
        reply = Rendezvous1.decode_untrusted(message)
        assert reply.cookie == leg.cookie
        assert introduction.finish(reply.sealed, number) == keys
        for other in {0, 1, 2} - {number}:
            with pytest.raises(ProtocolError):
                introduction.finish(reply.sealed, other)
        seen |= {leg.seed, leg.cookie, leg.reply_key, keys.forward, keys.backward, keys.root}
    assert len(seen) == 3 * 6
    assert introduction.cookie == introduction.legs[0].cookie


@pytest.mark.parametrize("keep_session", [False, True])
@pytest.mark.parametrize("privacy_class", range(4))
def test_the_class_byte_also_asks_for_a_session(privacy_class: int, keep_session: bool) -> None:
    endpoint = Endpoint()
    for points in ((POINT,), THREE):
        message = introduce(
            endpoint, b"", points=points, privacy_class=privacy_class, keep_session=keep_session
        ).message
        opened = endpoint.open(message)
        assert (opened.privacy_class, opened.keep_session) == (privacy_class, keep_session)


@pytest.mark.parametrize("wrong", [4, 0x80, -1])
def test_a_class_has_two_bits(wrong: int) -> None:
    with pytest.raises(ValueError, match="two bits"):
        introduce(Endpoint(), privacy_class=wrong)


class Forger:
    """A visitor that seals what it likes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.endpoint = Endpoint()
        self._patch = monkeypatch

    def opened(self, change: Callable[[bytes], bytes], points: Sequence[RelayId] = (POINT,)) -> Opened:
        """What the endpoint reads of an introduction whose plain text is changed before it is sealed."""
        self._patch.setattr(
            "onionshh.core.endpoint.introduce.seal", lambda key, info, plain: seal(key, info, change(plain))
        )
        record = b"x" if len(points) == 1 else b""
        return self.endpoint.open(introduce(self.endpoint, record, points=points).message)


@pytest.mark.parametrize("points", [(POINT,), THREE], ids=["one point", "three points"])
def test_every_class_byte(points: Sequence[RelayId], monkeypatch: pytest.MonkeyPatch) -> None:
    """Its unused bits are zeros."""
    forger = Forger(monkeypatch)
    for byte in range(256):
        change = lambda plain, b=byte: bytes((b,)) + plain[1:]  # noqa: E731
        if byte & 0b0111_1100:
            with pytest.raises(ProtocolError, match=Reason.INTRODUCE_CLASS):
                forger.opened(change, points)
        else:
            opened = forger.opened(change, points)
            assert (opened.privacy_class, opened.keep_session) == (byte & 3, byte >= 0x80)


@pytest.mark.parametrize("points", [(POINT,), THREE], ids=["one point", "three points"])
def test_every_other_number_of_points(points: Sequence[RelayId], monkeypatch: pytest.MonkeyPatch) -> None:
    forger = Forger(monkeypatch)
    for count in range(256):
        if count in (1, 3):
            continue
        change = lambda plain, n=count: plain[:1] + bytes((n,)) + plain[2:]  # noqa: E731
        with pytest.raises(ProtocolError, match=Reason.INTRODUCE_POINTS):
            forger.opened(change, points)


@pytest.mark.parametrize("one, other", [(0, 1), (0, 2), (1, 2)])
def test_a_point_that_is_named_twice(one: int, other: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(plain: bytes) -> bytes:
        changed = bytearray(plain)
        changed[2 + 32 * other : 34 + 32 * other] = plain[2 + 32 * one : 34 + 32 * one]
        return bytes(changed)

    with pytest.raises(ProtocolError, match=Reason.INTRODUCE_POINTS):
        Forger(monkeypatch).opened(change, THREE)


def with_length(plain: bytes, room: int, length: int) -> bytes:
    return plain[: -room - 2] + length.to_bytes(2, "big") + plain[-room:]


@pytest.mark.parametrize(
    "points, change",
    [
        ((POINT,), lambda plain: plain[:-1] + b"\1"),
        ((POINT,), lambda plain: with_length(plain, 344, 345)),
        ((POINT,), lambda plain: with_length(plain, 344, 0xFFFF)),
        ((POINT,), lambda plain: with_length(plain, 344, 0)),
        (THREE, lambda plain: plain[:-1] + b"\1"),
        (THREE, lambda plain: with_length(plain, 280, 1)),
        (THREE, lambda plain: with_length(plain, 280, 280)),
        (THREE, lambda plain: with_length(plain, 280, 0xFFFF)),
    ],
)
def test_junk_after_the_record_is_refused(
    points: Sequence[RelayId], change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A visitor that fills up with something else than zeros, or says more than there is room for."""
    with pytest.raises(ProtocolError, match=Reason.INTRODUCE_RECORD):
        Forger(monkeypatch).opened(change, points)


@pytest.mark.parametrize("change", [lambda plain: plain[:-1], lambda plain: plain + b"\0"])
def test_a_plain_text_of_another_size(
    change: Callable[[bytes], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ProtocolError):
        Forger(monkeypatch).opened(change)


def test_no_secret_shows() -> None:
    endpoint = Endpoint()
    introduction = introduce(endpoint)
    opened = endpoint.open(introduction.message)
    _, keys = answer(
        opened, rendezvous_keys=endpoint.rendezvous, subcredential=SUBCREDENTIAL, random_bytes=seeded(9)
    )
    (leg,) = introduction.legs
    shown = repr(opened) + repr(keys) + repr(introduction) + repr(leg)
    of_leg = (leg.seed, leg.cookie, leg.reply_key)
    for secret in (opened.seed, opened.record, keys.root, keys.forward, keys.backward, *of_leg):
        assert repr(secret)[2:-1] not in shown
