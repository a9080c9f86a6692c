"""The client's circuit against relays that misbehave (SPEC 2, 6, 7)."""

from __future__ import annotations

import pytest

from onionshh.core.circuit.circuit import ClientCircuit, HopAdded, MessageIn, RoundsDone
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import Memory
from onionshh.crypto.handshake import CIRCUIT, Responded, respond
from onionshh.crypto.layers import ClientLayers, RelayLayers
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import (
    BODY,
    CIRCUIT_CLIENT,
    CIRCUIT_KEYSTREAM,
    CIRCUIT_MESSAGE,
    DATA,
    LAYER_STATE,
    TAG,
)
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    CREATE,
    CREATE_MORE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    LINK_AUTH,
    PADDING,
    RELAY,
    RELAY_EARLY,
)
from onionshh.wire.framing import HandshakeParts, build_payload, split_handshake
from tests.seeded import seeded

IDS = [RelayId(bytes((number,)) * 32) for number in range(5)]
KEYS = [KeyPair.generate(seeded(number)) for number in range(5)]


class Path:
    """A client's circuit and the layers of its relays, which say what a test makes them say."""

    def __init__(self, relays: int = 0, seed: int = 1) -> None:
        self.memory = Memory(1 << 20)
        self.circuit = ClientCircuit(
            flow=Flow(31, 124), memory=self.memory, random_bytes=seeded(seed), privacy_class=1, now=0.0
        )
        self.relays: list[RelayLayers] = []
        for _ in range(relays):
            self.add()

    def respond(self, number: int, message: bytes) -> Responded:
        return respond(
            message,
            server_id=IDS[number],
            keys=[KEYS[number]],
            ver=CIRCUIT,
            client_message_bytes=CIRCUIT_MESSAGE,
            server_message=bytes(CIRCUIT_MESSAGE),
            keystream_bytes=CIRCUIT_KEYSTREAM,
            random_bytes=seeded(number + 70),
        )

    def ask(self) -> Responded:
        """The client asks for the next relay; what that one answers."""
        number = len(self.relays)
        self.circuit.add_relay(IDS[number], KEYS[number].public)
        cells = self.circuit.take_cells()
        if number == 0:
            assert [command for command, _ in cells] == [CREATE, CREATE_MORE, CREATE_MORE]
            parts = HandshakeParts(CIRCUIT_CLIENT, 0.0)
            *_, whole = [parts.add(body, first=not at) for at, (_, body) in enumerate(cells)]
            assert whole is not None
            return self.respond(0, whole)
        assert [command for command, _ in cells] == [RELAY_EARLY] * 3
        message = b"".join(self.read(command, body) for command, body in cells)[:CIRCUIT_CLIENT]
        return self.respond(number, message)

    def add(self) -> list[object]:
        answer = self.ask()
        if not self.relays:
            events = self.created(answer.reply)
        else:
            events = self.says(len(self.relays) - 1, m.EXTENDED, answer.reply)
        keys = answer.keystream
        self.relays.append(RelayLayers(keys[:LAYER_STATE], keys[LAYER_STATE : 2 * LAYER_STATE]))
        return events

    def created(self, reply: bytes) -> list[object]:
        events: list[object] = []
        for number, body in enumerate(split_handshake(reply, seeded(2))):
            events += self.circuit.receive_cell(CREATED_MORE if number else CREATED, body)
        return events

    def read(self, command: int, body: bytes) -> bytes:
        """The data of a cell that is for the last relay."""
        for relay in self.relays:
            *parts, mine = relay.outbound(command, body[:TAG], body[TAG:])
            body = b"".join(parts)
        assert mine
        return body[TAG + 4 :]

    def says(self, hop: int, message_type: int, body: bytes, command: int = RELAY) -> list[object]:
        """A message of that relay, as the client gets it."""
        events: list[object] = []
        for offset in range(0, max(1, len(body)), DATA):
            payload = build_payload(message_type, body, offset, seeded(3))
            cell = b"".join(self.relays[hop].originate(command, payload))
            for relay in reversed(self.relays[:hop]):
                cell = b"".join(relay.inbound(command, cell[:TAG], cell[TAG:]))
            events += self.circuit.receive_cell(command, cell)
        return events


def dies(path: Path, reason: Reason) -> None:
    """It failed for that reason, once and for all, and gave everything back."""
    assert path.circuit.failed == reason
    assert path.circuit.take_cells() == []
    assert path.memory.used_bytes == 0
    with pytest.raises(ProtocolError, match=reason):
        path.circuit.receive_cell(RELAY, bytes(BODY))


def refuses(path: Path, reason: Reason, command: int, body: bytes = bytes(BODY)) -> None:
    with pytest.raises(ProtocolError, match=reason):
        path.circuit.receive_cell(command, body)
    dies(path, reason)


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_relays_are_added_one_by_one(count: int) -> None:
    path = Path()
    for number in range(count):
        assert path.add() == [HopAdded(IDS[number])]
    assert path.circuit.relays == IDS[:count]


def test_a_fifth_relay_is_refused_here_already() -> None:
    path = Path(4)
    with pytest.raises(ValueError):
        path.circuit.add_relay(IDS[4], KEYS[4].public)


def test_one_relay_at_a_time() -> None:
    path = Path(1)
    path.ask()
    with pytest.raises(ValueError):
        path.circuit.add_relay(IDS[2], KEYS[2].public)


def test_each_relay_learns_the_class_and_nothing_else() -> None:
    path = Path()
    assert path.ask().client_message == b"\x01" + bytes(CIRCUIT_MESSAGE - 1)


@pytest.mark.parametrize("order", [[CREATED_MORE], [CREATED, CREATED], [CREATED, CREATED_MORE, CREATED]])
def test_created_out_of_order(order: list[int]) -> None:
    path = Path()
    reply = split_handshake(path.ask().reply, seeded(2))
    for number, command in enumerate(order[:-1]):
        path.circuit.receive_cell(command, reply[number])
    refuses(path, Reason.CREATE_ORDER, order[-1])


@pytest.mark.parametrize("at", [0, 40, 1130])
def test_a_created_that_does_not_verify(at: int) -> None:
    path = Path()
    reply = bytearray(path.ask().reply)
    reply[at] ^= 1
    with pytest.raises(ProtocolError):
        path.created(bytes(reply))
    assert path.circuit.failed
    dies(path, path.circuit.failed)


def test_a_created_of_wrong_size() -> None:
    path = Path()
    with pytest.raises(ProtocolError, match=Reason.CREATE_SIZE):
        path.created(path.ask().reply + b"x")
    dies(path, Reason.CREATE_SIZE)


def test_created_before_anything_was_asked() -> None:
    refuses(Path(), Reason.CREATED_NOT_DUE, CREATED)


@pytest.mark.parametrize("command", [CREATED, CREATED_MORE])
def test_created_again(command: int) -> None:
    refuses(Path(1), Reason.CREATED_NOT_DUE, command)


@pytest.mark.parametrize("command", [PADDING, CREATE, CREATE_MORE, LINK_AUTH, 77])
def test_a_command_that_no_relay_sends(command: int) -> None:
    refuses(Path(1), Reason.COMMAND_NOT_DUE, command)


def test_relay_before_created() -> None:
    path = Path()
    path.ask()
    refuses(path, Reason.LAYER_UNRECOGNISED, RELAY)


def test_early_inbound() -> None:
    path = Path(2)
    with pytest.raises(ProtocolError, match=Reason.EARLY_INBOUND):
        path.says(1, m.DROP, m.DROP_PLAIN, command=RELAY_EARLY)
    dies(path, Reason.EARLY_INBOUND)


@pytest.mark.parametrize("relays", [0, 1, 2])
def test_destroy(relays: int) -> None:
    path = Path(relays)
    path.ask()
    refuses(path, Reason.DESTROYED, DESTROY)


def test_a_message_of_a_relay_that_is_not_the_last() -> None:
    path = Path(3)
    path.circuit.accept(frozenset((m.FOUND,)))
    assert path.says(2, m.FOUND, b"x") == [MessageIn(2, m.FOUND, b"x")]
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_NOT_ACCEPTED):
        path.says(1, m.FOUND, b"x")
    dies(path, Reason.MESSAGE_NOT_ACCEPTED)


def test_nothing_is_accepted_unasked() -> None:
    path = Path(1)
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_NOT_ACCEPTED):
        path.says(0, m.FOUND, b"x")


def test_extended_that_nobody_asked_for() -> None:
    path = Path(2)
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_NOT_ACCEPTED):
        path.says(1, m.EXTENDED, bytes(1168))


def test_extended_by_a_relay_that_was_not_asked() -> None:
    path = Path(2)
    answer = path.ask()
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_NOT_ACCEPTED):
        path.says(0, m.EXTENDED, answer.reply)


@pytest.mark.parametrize("size", [0, 1167, 1169])
def test_extended_of_wrong_size(size: int) -> None:
    path = Path(1)
    path.ask()
    with pytest.raises(ProtocolError, match=Reason.CREATE_SIZE):
        path.says(0, m.EXTENDED, bytes(size))
    dies(path, Reason.CREATE_SIZE)


def test_extended_by_another_relay_than_the_one_wanted() -> None:
    """The relay asked to extend cannot put itself, or a friend, in the place of the next."""
    path = Path(1)
    path.circuit.add_relay(IDS[1], KEYS[1].public)
    path.circuit.take_cells()
    reply = Path(1, seed=99).ask().reply  # to another client's question
    with pytest.raises(ProtocolError, match=Reason.HANDSHAKE_AUTH):
        path.says(0, m.EXTENDED, reply)
    dies(path, Reason.HANDSHAKE_AUTH)


# Cells that nobody asked for. Each would be seen at the first link, and so be a signal to who watches it.


@pytest.mark.parametrize("hop", [0, 1])
@pytest.mark.parametrize("asked", [False, True])
def test_an_echo_is_never_asked_of_a_client(hop: int, asked: bool) -> None:
    path = Path(2)
    if asked:
        path.circuit.pad_setup(1)
    with pytest.raises(ProtocolError, match=Reason.ECHOES_TOO_MANY):
        path.says(hop, m.DROP, m.DROP_ECHO)
    dies(path, Reason.ECHOES_TOO_MANY)


@pytest.mark.parametrize("hop", [0, 1, 2])
def test_no_echo_comes_unasked_from_any_hop(hop: int) -> None:
    path = Path(3)
    with pytest.raises(ProtocolError, match=Reason.DROP_NOT_DUE):
        path.says(hop, m.DROP, m.DROP_PLAIN)
    dies(path, Reason.DROP_NOT_DUE)


@pytest.mark.parametrize("rounds", [1, 2, 3])
def test_as_many_echoes_as_were_asked_for_and_no_more(rounds: int) -> None:
    path = Path(1)
    path.circuit.pad_setup(rounds)
    for _ in range(3 * rounds - 1):
        assert path.says(0, m.DROP, m.DROP_PLAIN) == []
    assert path.says(0, m.DROP, m.DROP_PLAIN) == [RoundsDone()]
    with pytest.raises(ProtocolError, match=Reason.DROP_NOT_DUE):
        path.says(0, m.DROP, m.DROP_PLAIN)
    dies(path, Reason.DROP_NOT_DUE)


def test_an_echo_from_another_hop_than_the_one_asked() -> None:
    path = Path(2)
    path.circuit.pad_setup(1)
    with pytest.raises(ProtocolError, match=Reason.DROP_NOT_DUE):
        path.says(0, m.DROP, m.DROP_PLAIN)
    dies(path, Reason.DROP_NOT_DUE)


@pytest.mark.parametrize("body", [b"", b"\2", b"\0\0"])
def test_an_echo_of_wrong_bytes(body: bytes) -> None:
    path = Path(1)
    path.circuit.pad_setup(1)
    payload = (m.DROP << 24 | len(body)).to_bytes(4, "big") + body.ljust(DATA, b"\0")
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_SHAPE):
        path.circuit.receive_cell(RELAY, b"".join(path.relays[0].originate(RELAY, payload)))
    dies(path, Reason.MESSAGE_SHAPE)


def test_a_question_has_one_answer() -> None:
    path = Path(2)
    path.circuit.expect(m.FOUND)
    assert path.says(1, m.FOUND, b"x") == [MessageIn(1, m.FOUND, b"x")]
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_NOT_ACCEPTED):
        path.says(1, m.FOUND, b"")
    dies(path, Reason.MESSAGE_NOT_ACCEPTED)


def test_what_may_come_again_and_again_comes() -> None:
    path = Path(1)
    path.circuit.expect(m.FOUND)
    path.circuit.accept(frozenset((m.FOUND,)))
    for _ in range(3):
        assert path.says(0, m.FOUND, b"") == [MessageIn(0, m.FOUND, b"")]


def test_a_partial_message_is_given_back_when_the_circuit_fails() -> None:
    path = Path(1)
    path.circuit.accept(frozenset((m.FOUND,)))
    payload = build_payload(m.FOUND, bytes(9000), 0, seeded(3))
    path.circuit.receive_cell(RELAY, b"".join(path.relays[0].originate(RELAY, payload)))
    assert path.memory.used_bytes == DATA
    path.circuit.fail(Reason.CLOSED)
    dies(path, Reason.CLOSED)


def test_a_reader_that_pauses_gets_a_window_and_no_more() -> None:
    path = Path(2)
    path.circuit.accept(frozenset((m.FOUND,)))
    path.circuit.pause()
    for _ in range(124):
        path.says(1, m.FOUND, b"")
    assert path.circuit.take_cells() == []
    path.circuit.resume()
    assert [command for command, _ in path.circuit.take_cells()] == [RELAY] * 4
    path.circuit.pause()
    for _ in range(124):
        path.says(1, m.FOUND, b"")
    with pytest.raises(ProtocolError, match=Reason.WINDOW_OVERRUN):
        path.says(1, m.FOUND, b"")
    dies(path, Reason.WINDOW_OVERRUN)
    path.circuit.resume()
    assert path.circuit.take_cells() == []


def test_after_a_join_messages_come_from_the_other_end_alone() -> None:
    path = Path(2)
    path.circuit.accept(frozenset((m.RECORD, m.FOUND)))
    path.circuit.join(bytes(80), bytes(80), as_visitor=True, accepts=frozenset((m.RECORD,)))
    with pytest.raises(ValueError):
        path.circuit.add_relay(IDS[2], KEYS[2].public)
    with pytest.raises(ProtocolError, match=Reason.MESSAGE_NOT_ACCEPTED):
        path.says(1, m.RECORD, b"x")


# The other end may speak before our owner has read that it joined.

KEEPS = frozenset((m.RECORD,))


def other_end_says(path: Path, end: ClientLayers, body: bytes) -> list[bytes]:
    """The cells of a message of the other end, as they come to the client."""
    cells = []
    for offset in range(0, max(1, len(body)), DATA):
        cell, _ = end.send(0, RELAY, build_payload(m.RECORD, body, offset, seeded(4)))
        for relay in reversed(path.relays):
            cell = b"".join(relay.inbound(RELAY, cell[:TAG], cell[TAG:]))
        cells.append(cell)
    return cells


def waiting_to_join(relays: int) -> tuple[Path, ClientLayers]:
    path, end = Path(relays), ClientLayers()
    end.join_as_endpoint(seeded(8)(LAYER_STATE), seeded(9)(LAYER_STATE))
    path.circuit.expect_join(m.RENDEZVOUS2)
    return path, end


@pytest.mark.parametrize("relays", [1, 2, 3, 4])
def test_what_the_other_end_says_too_early_is_kept_until_the_join(relays: int) -> None:
    path, end = waiting_to_join(relays)
    answer = path.says(relays - 1, m.RENDEZVOUS2, b"answer")
    assert answer == [MessageIn(relays - 1, m.RENDEZVOUS2, b"answer")]
    cells = other_end_says(path, end, b"first") + other_end_says(path, end, bytes(2 * DATA))
    assert [path.circuit.receive_cell(RELAY, cell) for cell in cells] == [()] * len(cells)
    early = path.circuit.join(seeded(8)(LAYER_STATE), seeded(9)(LAYER_STATE), as_visitor=True, accepts=KEEPS)
    assert early == cells
    events = [event for cell in early for event in path.circuit.receive_cell(RELAY, cell)]
    assert events == [MessageIn(relays, m.RECORD, b"first"), MessageIn(relays, m.RECORD, bytes(2 * DATA))]
    (late,) = other_end_says(path, end, b"late")
    assert path.circuit.receive_cell(RELAY, late) == (MessageIn(relays, m.RECORD, b"late"),)


def test_what_comes_too_early_is_bounded_by_the_window() -> None:
    path, end = waiting_to_join(1)
    path.says(0, m.RENDEZVOUS2, b"answer")
    for _ in range(124):
        assert path.circuit.receive_cell(RELAY, other_end_says(path, end, b"")[0]) == ()
    refuses(path, Reason.WINDOW_OVERRUN, RELAY)


def test_nothing_is_kept_before_the_answer_or_after_another_one() -> None:
    path, end = waiting_to_join(1)
    with pytest.raises(ProtocolError):
        path.circuit.receive_cell(RELAY, other_end_says(path, end, b"too early")[0])
    path, end = waiting_to_join(1)
    path.circuit.expect(m.RENDEZVOUS2)  # said anew: an answer and no join
    path.says(0, m.RENDEZVOUS2, b"answer")
    with pytest.raises(ProtocolError):
        path.circuit.receive_cell(RELAY, other_end_says(path, end, b"unasked")[0])
