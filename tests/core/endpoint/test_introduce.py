"""Introductions from both sides: what is sealed, what is refused (SPEC 11)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh import geometry as g
from onionshh.core.endpoint.introduce import (
    Introduction,
    Opened,
    answer,
    fits_introduction,
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
RECORD = b"record" * 40


class Endpoint:
    """The keys of one period."""

    def __init__(self, seed: int = 1) -> None:
        self.seal = SealKey.generate(seeded(seed))
        self.rendezvous = KeyPair.generate(seeded(seed + 100))

    def open(self, message: bytes, subcredential: bytes = SUBCREDENTIAL) -> Opened:
        return open_introduction_untrusted(Introduce.decode_untrusted(message), self.seal, subcredential)


def introduce(
    endpoint: Endpoint, record: bytes = RECORD, *, seed: int = 5, period: int = 700
) -> Introduction:
    return Introduction(
        auth_key=AUTH,
        period=period,
        subcredential=SUBCREDENTIAL,
        rendezvous_key=endpoint.rendezvous.public,
        seal_key=endpoint.seal.public,
        rendezvous_point=POINT,
        privacy_class=1,
        record=record,
        random_bytes=seeded(seed),
    )


def meet(endpoint: Endpoint, opened: Opened) -> bytes:
    message, _ = answer(
        opened, rendezvous_keys=endpoint.rendezvous, subcredential=SUBCREDENTIAL, random_bytes=seeded(9)
    )
    return message


@pytest.mark.parametrize("record", [b"", b"x", RECORD, bytes(range(1, 173)) * 2 + b"z"])
def test_both_ends_come_to_the_same_keys(record: bytes) -> None:
    endpoint = Endpoint()
    introduction = introduce(endpoint, record)
    opened = endpoint.open(introduction.message)
    assert (opened.auth_key, opened.privacy_class, opened.rendezvous_point) == (AUTH, 1, POINT)
    assert opened.record == record
    assert opened.seed == introduction.seed
    message, keys = answer(
        opened, rendezvous_keys=endpoint.rendezvous, subcredential=SUBCREDENTIAL, random_bytes=seeded(9)
    )
    reply = Rendezvous1.decode_untrusted(message)
    assert reply.cookie == introduction.cookie == kdf("cookie", introduction.seed)
    assert introduction.finish(reply.sealed) == keys
    assert (len(keys.forward), len(keys.backward), len(keys.root)) == (80, 80, 32)
    assert len({keys.forward, keys.backward}) == 2


def test_it_has_one_size_whether_a_record_rides_along_or_not() -> None:
    endpoint = Endpoint()
    messages = [introduce(endpoint, record).message for record in (b"", RECORD, bytes(345))]
    assert {len(message) for message in messages} == {2934}
    assert RECORD not in messages[1]


def test_what_the_introducer_sees_names_neither_point_nor_seed() -> None:
    introduction = introduce(Endpoint())
    for secret in (POINT, introduction.seed, introduction.cookie):
        assert secret not in introduction.message


def test_a_record_that_does_not_fit_is_never_cut() -> None:
    assert fits_introduction(bytes(345))
    assert not fits_introduction(bytes(346))
    with pytest.raises(ValueError):
        introduce(Endpoint(), bytes(346))


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


def test_junk_after_the_record_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A visitor that fills up with something else than zeros, or says more than there is room for."""
    endpoint = Endpoint()
    for change in (
        lambda plain: plain[:-1] + b"\1",
        lambda plain: plain[: -345 - 2] + (346).to_bytes(2, "big") + plain[-345:],
    ):
        monkeypatch.setattr(
            "onionshh.core.endpoint.introduce.seal",
            lambda key, info, plain, c=change: seal(key, info, c(plain)),
        )
        message = introduce(endpoint, b"x").message
        with pytest.raises(ProtocolError, match=Reason.INTRODUCE_RECORD):
            endpoint.open(message)


def test_no_secret_shows() -> None:
    endpoint = Endpoint()
    introduction = introduce(endpoint)
    opened = endpoint.open(introduction.message)
    _, keys = answer(
        opened, rendezvous_keys=endpoint.rendezvous, subcredential=SUBCREDENTIAL, random_bytes=seeded(9)
    )
    shown = repr(opened) + repr(keys) + repr(introduction)
    for secret in (opened.seed, opened.record, keys.root, keys.forward, keys.backward):
        assert repr(secret)[2:-1] not in shown
