"""Both ends of a link as machines: handshake, LINK_AUTH, frames, deadlines, padding (SPEC 5)."""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import replace
from types import FunctionType, ModuleType

import pytest

from onionshh import geometry as g
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.certificate import RelaySigner
from onionshh.core.link.link import (
    Link,
    LinkClosed,
    LinkEvent,
    LinkInitiator,
    LinkOpen,
    LinkResponder,
    Timer,
)
from onionshh.core.link.opening import link_auth_text
from onionshh.crypto import handshake
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import FrameCipher, KeyPair
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import LINK_AUTH, PADDING, RELAY, pack_cell, split_cells
from tests.seeded import seeded

PARAMS = Params()
SERVER = SigningKey(b"server".ljust(32))
SERVER_ID = RelayId(SERVER.public)
ONION = KeyPair.generate(seeded(2))
DIALLER = SigningKey(b"dialler".ljust(32))
CELL = pack_cell(7, RELAY, bytes(g.BODY))


def initiator(
    identity: SigningKey | None = None,
    *,
    now: float = 0.0,
    key: bytes = ONION.public,
    seed: int = 3,
    params: Params = PARAMS,
) -> LinkInitiator:
    return LinkInitiator(
        responder=SERVER_ID,
        onion_key=key,
        identity=RelaySigner.of(identity) if identity is not None else None,
        params=params,
        chance=Chance(seeded(seed)),
        now=now,
    )


def responder(
    *, known: bool = True, now: float = 0.0, seed: int = 4, keys: tuple[KeyPair, ...] = (ONION,)
) -> LinkResponder:
    return LinkResponder(
        identity=SERVER_ID,
        onion_keys=keys,
        is_relay=lambda identity: known and identity == DIALLER.public,
        earliest=0,
        params=PARAMS,
        chance=Chance(seeded(seed)),
        now=now,
    )


def holds(link: Link, kind: type) -> bool:
    """Whether an object of that kind hangs on the link, however deep."""
    seen: set[int] = set()
    looked_at: list[object] = [link]
    while looked_at:
        one = looked_at.pop()
        if isinstance(one, kind):
            return True
        if id(one) not in seen and not isinstance(one, (type, ModuleType, FunctionType)):
            seen.add(id(one))
            looked_at += gc.get_referents(one)
    return False


def events(link: Link) -> list[LinkEvent]:
    found: list[LinkEvent] = []
    while (event := link.next_event()) is not None:
        found.append(event)
    return found


def whole(link: Link, data: bytes, now: float = 0.0) -> None:
    link.receive_data(data, now)


def byte_by_byte(link: Link, data: bytes, now: float = 0.0) -> None:
    for at in range(len(data)):
        link.receive_data(data[at : at + 1], now)


FEEDS = [whole, byte_by_byte]
Feed = Callable[[Link, bytes, float], None]


def opened(
    identity: SigningKey | None = None, *, known: bool = True, now: float = 0.0, feed: Feed = whole
) -> tuple[LinkInitiator, LinkResponder]:
    """Both ends of an open link, their LinkOpen events taken."""
    one, other = initiator(identity, now=now), responder(known=known, now=now)
    feed(other, one.data_to_send(), now)
    feed(one, other.data_to_send(), now)
    feed(other, one.data_to_send(), now)
    proven = RelayId(DIALLER.public) if identity is not None and known else None
    assert events(one) == [LinkOpen(SERVER_ID)]
    assert events(other) == [LinkOpen(proven)]
    return one, other


def closed(link: Link, reason: Reason) -> None:
    """It says so once and takes nothing more."""
    assert events(link) == [LinkClosed(reason)]
    assert link.is_closed
    assert not link.is_open
    link.receive_data(bytes(5000), 1.0)
    link.receive_data(b"", 1.0)
    link.send_failed()
    link.close(Reason.LINK_IDLE)
    assert link.tick(1e9) is None
    assert events(link) == []
    assert link.data_to_send() == b""
    assert link.timers.next() == float("inf")
    with pytest.raises(ProtocolError):
        link.seal(CELL)


# The handshake.


@pytest.mark.parametrize("feed", FEEDS)
@pytest.mark.parametrize("identity, known", [(None, True), (DIALLER, True), (DIALLER, False)])
def test_a_link_opens_and_carries_cells_both_ways(
    feed: Feed, identity: SigningKey | None, known: bool
) -> None:
    one, other = opened(identity, known=known, feed=feed)
    for sender, receiver in ((one, other), (other, one), (one, other)):
        for count in (1, 2, 127):
            cells = seeded(count)(count * g.CELL)
            feed(receiver, sender.seal(cells), 0.0)
            assert events(receiver) == [cells]


def test_each_flight_has_its_size_and_auth_looks_the_same_for_all() -> None:
    lengths = []
    for identity in (None, DIALLER):
        one, other = initiator(identity), responder()
        first = one.data_to_send()
        other.receive_data(first, 0.0)
        second = other.data_to_send()
        one.receive_data(second, 0.0)
        third = one.data_to_send()
        lengths.append((len(first), len(second), len(third)))
    assert lengths == [(1542, 1542, 2 + 514 + 16)] * 2


def test_no_end_is_open_before_its_proof() -> None:
    one, other = initiator(), responder()
    other.receive_data(one.data_to_send(), 0.0)
    assert events(other) == []
    assert not other.is_open
    with pytest.raises(ProtocolError):
        other.seal(CELL)
    with pytest.raises(ProtocolError):
        one.seal(CELL)


def test_what_comes_with_the_last_flight_is_read_too() -> None:
    """Trailing bytes after a flight are the next thing, not junk to forget."""
    one, other = initiator(), responder()
    other.receive_data(one.data_to_send(), 0.0)
    one.receive_data(other.data_to_send(), 0.0)
    auth = one.data_to_send()
    other.receive_data(auth + one.seal(CELL) + one.seal(CELL)[:9], 0.0)
    assert events(other) == [LinkOpen(None), CELL]


def test_junk_after_the_first_flight_ends_the_link() -> None:
    one, other = initiator(), responder()
    other.receive_data(one.data_to_send() + bytes(600), 0.0)
    closed(other, Reason.FRAME_SIZE)


@pytest.mark.parametrize("at", [0, 31, 32, 64, 100, 96 + 1184, 1500, 1541])
def test_a_flipped_bit_in_the_first_flight(at: int) -> None:
    one, other = initiator(), responder()
    flight = bytearray(one.data_to_send())
    flight[at] ^= 1
    other.receive_data(bytes(flight), 0.0)
    (event,) = events(other)
    assert isinstance(event, LinkClosed)
    assert other.data_to_send() == b""


@pytest.mark.parametrize("at", [0, 31, 32, 1119, 1120, 1151, 1152, 1541])
def test_a_flipped_bit_in_the_second_flight(at: int) -> None:
    one, other = initiator(), responder()
    other.receive_data(one.data_to_send(), 0.0)
    flight = bytearray(other.data_to_send())
    flight[at] ^= 1
    one.receive_data(bytes(flight), 0.0)
    (event,) = events(one)
    assert isinstance(event, LinkClosed)
    assert one.data_to_send() == b""


def test_a_server_with_other_keys_is_no_server() -> None:
    one, other = initiator(key=KeyPair.generate(seeded(9)).public), responder()
    other.receive_data(one.data_to_send(), 0.0)
    closed(other, Reason.HANDSHAKE_UNKNOWN_KEY)


def test_a_key_in_grace_opens_a_link() -> None:
    one, other = initiator(), responder(keys=(KeyPair.generate(seeded(9)), ONION))
    other.receive_data(one.data_to_send(), 0.0)
    one.receive_data(other.data_to_send(), 0.0)
    assert events(one) == [LinkOpen(SERVER_ID)]


def test_a_replayed_first_flight_gets_no_further_than_the_answer() -> None:
    one, first, second = initiator(), responder(), responder(seed=44)
    flight = one.data_to_send()
    first.receive_data(flight, 0.0)
    one.receive_data(first.data_to_send(), 0.0)
    auth = one.data_to_send()
    second.receive_data(flight, 0.0)
    assert len(second.data_to_send()) == 1542
    second.receive_data(auth, 0.0)
    closed(second, Reason.FRAME_OPEN)


def test_the_end_of_the_stream_ends_the_link_in_any_state() -> None:
    for link in (initiator(), responder(), *opened()):
        link.receive_data(b"", 0.0)
        closed(link, Reason.LINK_ENDED)


# LINK_AUTH, made by hand.


class Dialler:
    """A dialling end by hand, which says in its frames whatever it likes."""

    def __init__(self, answer: LinkResponder, seed: int) -> None:
        flight = handshake.ClientHandshake(
            server_id=SERVER_ID,
            server_key=ONION.public,
            ver=handshake.LINK,
            client_message=bytes(g.LINK_CLIENT_MESSAGE),
            random_bytes=seeded(seed),
        )
        answer.receive_data(flight.message, 0.0)
        finished = flight.finish(
            answer.data_to_send(),
            server_message_bytes=g.LINK_SERVER_MESSAGE,
            keystream_bytes=g.LINK_KEYSTREAM,
        )
        self._key = FrameCipher(finished.keystream[: g.KEY])
        self.binding = finished.keystream[2 * g.KEY :]

    def seal(self, cells: bytes) -> bytes:
        header = (len(cells) + g.AEAD_TAG).to_bytes(g.FRAME_HEADER, "big")
        return header + self._key.seal(cells, header)


def nearly(seed: int = 3) -> tuple[Dialler, LinkResponder, bytes]:
    """A link whose LINK_AUTH has not been sent, and its binding."""
    other = responder(seed=seed + 50)
    one = Dialler(other, seed)
    return one, other, one.binding


def auth(proof: bytes, circuit_id: int = 0, command: int = LINK_AUTH) -> bytes:
    return pack_cell(circuit_id, command, proof.ljust(g.BODY, b"\x55"))


def proof(binding: bytes, key: SigningKey = DIALLER, server: bytes = SERVER_ID) -> bytes:
    return b"\x01" + key.public + key.sign(link_auth_text(binding, server))


def test_a_relay_proves_its_identity() -> None:
    one, other, binding = nearly()
    other.receive_data(one.seal(auth(proof(binding))), 0.0)
    assert events(other) == [LinkOpen(RelayId(DIALLER.public))]


def test_an_identity_that_no_consensus_lists_is_nobody() -> None:
    one, other, binding = nearly()
    other.receive_data(one.seal(auth(proof(binding, SigningKey(b"unknown".ljust(32))))), 0.0)
    assert events(other) == [LinkOpen(None)]


def test_a_proof_of_another_link_proves_nothing_here() -> None:
    _, _, elsewhere = nearly(seed=8)
    one, other, binding = nearly()
    assert binding != elsewhere
    other.receive_data(one.seal(auth(proof(elsewhere))), 0.0)
    (event,) = events(other)
    assert isinstance(event, LinkClosed)


def test_a_proof_for_another_responder_proves_nothing_here() -> None:
    one, other, binding = nearly()
    other.receive_data(one.seal(auth(proof(binding, server=b"x" * 32))), 0.0)
    assert isinstance(events(other)[0], LinkClosed)


@pytest.mark.parametrize("at", [1, 32, 33, 96])
def test_a_flipped_bit_in_a_proof(at: int) -> None:
    one, other, binding = nearly()
    wrong = bytearray(proof(binding))
    wrong[at] ^= 1
    other.receive_data(one.seal(auth(bytes(wrong))), 0.0)
    assert isinstance(events(other)[0], LinkClosed)


@pytest.mark.parametrize(
    "cells",
    [
        auth(b"\x03"),
        auth(b"\xff"),
        auth(b"\x00", circuit_id=1),
        auth(b"\x00", command=PADDING),
        auth(b"\x00", command=RELAY),
        auth(b"\x00") * 2,
        auth(b"\x00") + CELL,
    ],
)
def test_a_link_auth_of_any_other_shape(cells: bytes) -> None:
    one, other, _ = nearly()
    other.receive_data(one.seal(cells), 0.0)
    closed(other, Reason.LINK_AUTH_SHAPE)


def test_a_responder_proves_nothing_by_link_auth() -> None:
    """It proved itself in the handshake; afterwards LINK_AUTH is a cell that no sink takes."""
    one, other = opened()
    one.receive_data(other.seal(auth(b"\x00")), 0.0)
    (event,) = events(one)
    assert isinstance(event, bytes)
    assert split_cells(event)[0][:2] == (0, LINK_AUTH)


# Frames.


@pytest.mark.parametrize(
    "size",
    [0, 1, 16, 514, 529, 531, 514 * 2 + 15, 514 * 127 + 17, 65535],
)
def test_a_frame_of_odd_size_is_refused_at_its_header(size: int) -> None:
    _, other = opened()
    other.receive_data(size.to_bytes(2, "big"), 0.0)
    closed(other, Reason.FRAME_SIZE)


@pytest.mark.parametrize("at", [2, 100, 514, 2 + 514, 2 + 514 + 15])
def test_a_flipped_bit_in_a_frame(at: int) -> None:
    one, other = opened()
    frame = bytearray(one.seal(CELL))
    frame[at] ^= 1
    other.receive_data(bytes(frame), 0.0)
    closed(other, Reason.FRAME_OPEN)


def test_the_length_is_authenticated() -> None:
    one, other = opened()
    frame = one.seal(CELL * 2)
    other.receive_data((514 + 16).to_bytes(2, "big") + frame[2:], 0.0)
    assert isinstance(events(other)[0], LinkClosed)


@pytest.mark.parametrize("change", ["replay", "swap", "lose", "reflect"])
def test_frames_come_once_in_order_and_from_the_other_side(change: str) -> None:
    one, other = opened()
    first, second = one.seal(CELL), one.seal(CELL)
    data = {"replay": first + first, "swap": second, "lose": second, "reflect": other.seal(CELL)}[change]
    other.receive_data(data, 0.0)
    found = events(other)
    assert found[-1] == LinkClosed(Reason.FRAME_OPEN)
    assert len(found) == (2 if change == "replay" else 1)


def test_good_frames_before_a_bad_one_are_delivered() -> None:
    one, other = opened()
    other.receive_data(one.seal(CELL) + b"\0\0", 0.0)
    assert events(other) == [CELL, LinkClosed(Reason.FRAME_SIZE)]


def test_what_nobody_took_is_forgotten_when_our_own_side_ends_the_link() -> None:
    one, other = opened()
    other.receive_data(one.seal(CELL) * 1 + one.seal(CELL), 0.0)
    assert isinstance(other.next_event(), bytes)
    other.close(Reason.LINK_COMMAND)
    closed(other, Reason.LINK_COMMAND)


def test_a_failed_send_ends_the_link() -> None:
    one, _ = opened()
    one.send_failed()
    closed(one, Reason.LINK_BROKEN)


def test_keys_go_when_the_link_does() -> None:
    for link in opened():
        assert holds(link, FrameCipher)
        link.close(Reason.NODE_CLOSED)
        assert not holds(link, FrameCipher)


# Deadlines.


def test_a_handshake_has_ten_seconds() -> None:
    for link in (initiator(now=50.0), responder(now=50.0)):
        assert link.timers.next() == 60.0
        link.receive_data(b"x", 59.0)  # a byte now and then buys no time
        assert link.tick(59.9) is None
        assert not link.is_closed
        link.tick(60.0)
        closed(link, Reason.LINK_SETUP_TIMEOUT)


def test_the_proof_falls_under_the_same_deadline() -> None:
    one, other = initiator(), responder()
    other.receive_data(one.data_to_send(), 9.0)
    assert other.timers.next() == 10.0
    other.tick(10.0)
    closed(other, Reason.LINK_SETUP_TIMEOUT)


def busy(link: Link, now: float) -> None:
    """It has circuits, and has just sent."""
    link.in_use()
    link.sent(now, blocked=False)


def test_a_frame_must_be_whole_ten_seconds_after_its_first_byte() -> None:
    one, other = opened()
    busy(other, 0.0)
    frame = one.seal(CELL)
    other.receive_data(frame[:1], 1.0)
    for second in range(2, 11):
        other.receive_data(frame[second - 1 : second], float(second))
        other.sent(float(second), blocked=False)
        other.tick(float(second))
        assert not other.is_closed
    assert other.timers.next() == 11.0
    other.tick(11.0)
    closed(other, Reason.FRAME_TIMEOUT)


def test_each_frame_has_ten_seconds_of_its_own() -> None:
    one, other = opened()
    busy(other, 0.0)
    first, second = one.seal(CELL), one.seal(CELL)
    other.receive_data(first[:1], 0.0)
    other.receive_data(first[1:] + second[:1], 9.0)
    other.sent(18.0, blocked=False)
    assert other.tick(18.9) is None
    assert not other.is_closed
    other.tick(19.0)
    assert events(other)[-1] == LinkClosed(Reason.FRAME_TIMEOUT)


def test_whole_frames_leave_no_deadline_behind() -> None:
    one, other = opened()
    busy(other, 0.0)
    frame = one.seal(CELL)
    other.receive_data(frame[:5], 0.0)
    other.receive_data(frame[5:], 1.0)
    other.sent(20.0, blocked=False)
    other.tick(20.0)
    assert not other.is_closed


def test_the_first_frame_of_an_initiator_is_timed_from_its_own_first_byte() -> None:
    one, other = initiator(), responder()
    other.receive_data(one.data_to_send(), 0.0)
    flight = other.data_to_send()
    one.receive_data(flight[:100], 0.0)
    auth_to_come = flight[100:]
    one.receive_data(auth_to_come + b"\x02", 9.0)
    busy(one, 18.0)
    one.tick(18.5)
    assert not one.is_closed
    one.tick(19.0)
    assert one.is_closed


def test_thirty_seconds_without_a_byte() -> None:
    one, other = opened()
    busy(other, 0.0)
    other.receive_data(one.seal(CELL), 10.0)
    events(other)
    busy(other, 39.9)
    assert other.tick(39.9) is None
    assert not other.is_closed
    assert other.timers.next() == 40.0
    other.tick(40.0)
    closed(other, Reason.LINK_SILENT)


def test_thirty_seconds_in_which_the_kernel_takes_nothing() -> None:
    one, other = opened()
    other.in_use()
    other.sent(5.0, blocked=True)
    for now in (10.0, 20.0, 30.0, 34.0):
        other.receive_data(one.seal(CELL), now)
        other.tick(now)
    assert not other.is_closed
    other.tick(35.0)
    assert events(other)[-1] == LinkClosed(Reason.LINK_STUCK)


def test_a_kernel_that_takes_again_clears_that() -> None:
    one, other = opened()
    other.in_use()
    other.sent(5.0, blocked=True)
    other.sent(30.0, blocked=False)
    other.receive_data(one.seal(CELL), 30.0)
    other.tick(36.0)
    assert not other.is_closed


def keep_alive(one: Link, other: Link, start: float, end: float) -> None:
    now = start
    while now < end:
        other.receive_data(one.seal(CELL), now)
        other.sent(now, blocked=False)
        other.tick(now)
        now += 5.0


def test_a_link_without_circuits_closes_after_three_minutes() -> None:
    one, other = opened()
    keep_alive(one, other, 0.0, 180.0)
    assert not other.is_closed
    other.tick(180.0)
    assert events(other)[-1] == LinkClosed(Reason.LINK_IDLE)


def test_three_minutes_count_from_the_last_circuit() -> None:
    one, other = opened()
    other.in_use()
    keep_alive(one, other, 0.0, 300.0)
    other.unused(300.0)
    other.unused(300.0)  # said again, it starts nothing anew
    keep_alive(one, other, 300.0, 480.0)
    assert not other.is_closed
    other.tick(480.0)
    assert other.is_closed


# Padding.


def waits(link: Link, count: int = 200) -> list[float]:
    """The silences after which PADDING went out."""
    found, now = [], 0.0
    for _ in range(count):
        link.sent(now, blocked=False)
        link.not_read(now)  # whatever else could be due is put off
        due = link.timers.at[Timer.PADDING]
        assert link.tick(due - 0.001) is None
        cell = link.tick(due)
        assert cell is not None
        ((circuit_id, command, _),) = split_cells(cell)
        assert (circuit_id, command) == (0, PADDING)
        found.append(due - now)
        now = due
    return found


@pytest.mark.parametrize("identity, known", [(None, True), (DIALLER, False)])
def test_a_client_s_link_pads_after_one_and_a_half_to_nine_and_a_half_seconds(
    identity: SigningKey | None, known: bool
) -> None:
    _, other = opened(identity, known=known)
    other.in_use()
    found = waits(other)
    assert 1.5 <= min(found) < 2.0
    assert 9.0 < max(found) <= 9.5


def test_the_client_pads_alike() -> None:
    one, _ = opened()
    one.in_use()
    found = waits(one)
    assert 1.5 <= min(found) < 2.0
    assert 9.0 < max(found) <= 9.5


def test_between_relays_one_cell_every_fifteen_seconds() -> None:
    for link in opened(DIALLER):
        link.in_use()
        assert set(waits(link, 5)) == {15.0}


def test_what_is_sent_puts_padding_off() -> None:
    _, other = opened(DIALLER)
    other.in_use()
    other.sent(10.0, blocked=False)
    assert other.tick(15.0) is None
    assert other.tick(25.0) is not None


def test_padding_says_nothing_twice() -> None:
    _, other = opened(DIALLER)
    other.in_use()
    one, two = other.tick(15.0), other.tick(29.9)
    assert one is not None
    assert two is None


def test_the_next_deadline_is_never_later_than_what_is_due() -> None:
    _, other = opened()
    for now in range(0, 40):
        due = other.timers.next()
        acted = other.tick(float(now)) is not None or other.is_closed
        assert acted == (due <= now)
        if other.is_closed:
            break
    assert other.is_closed


def test_parameters_are_the_consensus_s() -> None:
    link = initiator(params=replace(PARAMS, handshake_seconds=3))
    assert link.timers.next() == 3.0


def test_a_link_forgets_what_would_open_its_frames_again() -> None:
    """Keys are replaced by hashes of themselves; the handshake's secrets would give the first ones back."""
    one, other = initiator(), responder()
    other.receive_data(one.data_to_send(), 0.0)
    assert holds(one, handshake.ClientHandshake)
    one.receive_data(other.data_to_send(), 0.0)
    other.receive_data(one.data_to_send(), 0.0)
    for link in (one, other):
        assert link.is_open
        assert not holds(link, handshake.ClientHandshake)
        assert not holds(link, KeyPair)
