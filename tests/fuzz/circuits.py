"""Circuits: one layer's messages, the client's end, and the relay's switch with its real roles on it."""

from __future__ import annotations

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.circuit.conversation import Conversation
from onionshh.core.circuit.window import Flow
from onionshh.core.link.outbox import Memory
from onionshh.crypto.layers import ClientLayers
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.relay.mirror import Mirror
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.meeting import Meeting
from onionshh.rendezvous.ring import Ring
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    CREATE,
    CREATED,
    CREATED_MORE,
    DESTROY,
    RELAY,
    RELAY_EARLY,
)
from onionshh.wire.framing import build_payload, split_handshake
from simulations.stranger import Stranger
from simulations.world import PureNetwork, PureRelay, relay_id
from tests.core import networks
from tests.core.circuit.test_circuit import Path
from tests.fuzz.target import Left, Script, Target, given_back, string
from tests.seeded import seeded

SMALL = Params(ack_every=2, window=4, queue_cap=8, create_queue=2, introduction_keys=2, cookies=2)
"""Caps so low that a short script comes to them."""


def _head(message_type: int, remaining: int) -> bytes:
    return (message_type << 24 | remaining).to_bytes(g.HEAD, "big")


def _payload(script: Script) -> bytes:
    """Any head, any data."""
    return script.number(g.HEAD).to_bytes(g.HEAD, "big") + script.filled(g.DATA)


# One layer's messages.


def _converse(data: bytes) -> None:
    """Both directions: what we send and in which order, and what comes, true ACKs among it."""
    script, memory = Script(data), Memory(1 << 20)
    talk = Conversation(
        Flow(SMALL.ack_every, SMALL.window),
        accepts=frozenset((m.RECORD, m.PUBLISH)),
        echoes=3,
        memory=memory,
        random_bytes=seeded(7),
    )
    tags: list[bytes] = []
    try:
        while not script.over:
            step = script.number(1)
            if step == 1:
                talk.send(m.RECORD, script.string()[: m.MOST[m.RECORD]])
            elif step == 2:
                talk.send(m.DROP, m.DROP_ECHO)
            elif step == 3:
                talk.pause()
            elif step == 4:
                talk.resume()
            elif step == 5 and len(tags) >= SMALL.ack_every:
                due, tags = tags[SMALL.ack_every - 1], tags[SMALL.ack_every :]
                talk.receive(_head(m.ACK, g.TAG) + due.ljust(g.DATA, b"\0"), bytes(g.TAG))
            else:
                talk.receive(_payload(script), bytes((step,)) * g.TAG, early=step > 200)
            while (outgoing := talk.next_payload()) is not None:
                if outgoing.counts:
                    tags.append(outgoing.payload[: g.TAG])
                    talk.sent(tags[-1])
    finally:
        talk.close()
        given_back(memory)


# The client's end. Its relays, and once it is joined the other end, hold the keys.


def _client_raw(data: bytes) -> None:
    script, path = Script(data), Path()
    path.ask()
    try:
        while not script.over:
            path.circuit.receive_cell(script.number(1), script.filled(g.BODY))
    finally:
        path.circuit.fail(Reason.CLOSED)
        given_back(path.memory)


def _client_keyed(data: bytes) -> None:
    """How many relays, whether the circuit is joined; then cells, each from whichever of them."""
    script = Script(data)
    relays, joined = script.number(1) % 3 + 1, script.number(1) & 1
    path = Path(relays)
    other = ClientLayers()
    if joined:
        forward, backward = seeded(8)(g.LAYER_STATE), seeded(9)(g.LAYER_STATE)
        other.join_as_endpoint(forward, backward)
        path.circuit.join(forward, backward, as_visitor=True, accepts=frozenset((m.RECORD,)))
    else:
        path.circuit.pad_setup(1)
        path.circuit.accept(frozenset((m.FOUND, m.CONSENSUS, m.RENDEZVOUS2)))
    try:
        while not script.over:
            hop, command = script.number(1), RELAY
            if hop & 0x80:
                command, body = script.number(1), script.filled(g.BODY)
            elif joined and hop == relays:
                body, hop = other.send(0, RELAY, _payload(script))[0], relays
            else:
                hop %= relays
                body = b"".join(path.relays[hop].originate(RELAY, _payload(script)))
            for relay in reversed(path.relays[:hop]):
                body = b"".join(relay.inbound(RELAY, body[: g.TAG], body[g.TAG :]))
            path.circuit.receive_cell(command, body)
            path.circuit.take_cells()
    finally:
        path.circuit.fail(Reason.CLOSED)
        given_back(path.memory)


def _created_cells() -> bytes:
    """The true answer to the CREATE of `_client_raw`."""
    answer = Path().ask().reply
    bodies = split_handshake(answer, seeded(2))
    return b"".join(
        bytes((CREATED_MORE if at else CREATED,)) + string(body) for at, body in enumerate(bodies)
    )


def _said(*cells: tuple[int, int, int, bytes]) -> bytes:
    """(Hop, type, remaining, data) of each."""
    return b"".join(bytes((hop,)) + _head(kind, left) + string(data) for hop, kind, left, data in cells)


# The switch, two relays, and a client that keeps to nothing.


_IDS = (0x8000_0001, 0x8000_0002, 0x8000_0003)
_CREATE, _EXTEND, _CELL, _MESSAGE, _PAYLOAD, _TICK, _STUCK = range(7)


def _switch(data: bytes) -> None:
    """One script of one client over two relays; then its link is cut, and nothing of it may be left."""
    script, net = Script(data), PureNetwork(SMALL)
    view = networks.view(networks.plain(3))
    relays = [
        net.relay(
            Introducer(relay_id(number), lambda: SMALL),
            Meeting(lambda: SMALL),
            Ring(relay_id(number), lambda: view, lambda: SMALL),
            Mirror(lambda: (7, bytes(3000))),
        )
        for number in range(2)
    ]
    stranger = Stranger(net, relays[0])
    try:
        while not script.over and not net.ended_links:
            _step(script, net, relays, stranger)
    except ProtocolError:
        pass  # the stranger's own: it cannot read what it spoiled
    net.cut(stranger.port)
    net.settle()
    for relay in relays:
        if relay.switch.circuits:
            raise Left(f"{len(relay.switch.circuits)} circuits of a client that is gone")
        given_back(relay.memory)


def _step(script: Script, net: PureNetwork, relays: list[PureRelay], stranger: Stranger) -> None:
    step, circuit_id = script.number(1), _IDS[script.number(1) % len(_IDS)]
    if step == _CREATE:
        stranger.create(circuit_id, relays[0])
    elif step == _EXTEND:
        stranger.extend(circuit_id, relays[1])
    elif step == _MESSAGE:
        hop, kind, body = script.number(1), script.number(1), script.string()
        for offset in range(0, max(1, len(body)), g.DATA):
            stranger.say_to(circuit_id, hop, build_payload(kind, body, offset, seeded(14)), early=False)
    elif step == _PAYLOAD:
        hop = script.number(1)
        stranger.say_to(circuit_id, hop & 0x7F, _payload(script), early=bool(hop & 0x80))
    elif step == _TICK:
        net.tick(script.number(1) / 10)
    elif step == _STUCK:  # the stranger reads nothing more
        net.stuck.add(stranger.guard_port)
    else:  # a cell, of a circuit of ours or of any
        other = script.number(4)
        stranger.say(other or circuit_id, script.number(1), script.filled(g.BODY))


def _create(circuit: int) -> bytes:
    return bytes((_CREATE, circuit))


def _extend(circuit: int) -> bytes:
    return bytes((_EXTEND, circuit))


def _message(circuit: int, hop: int, kind: int, body: bytes) -> bytes:
    return bytes((_MESSAGE, circuit, hop, kind)) + string(body)


def _cell(circuit: int, command: int, body: bytes = b"") -> bytes:
    return bytes((_CELL, circuit)) + bytes(4) + bytes((command,)) + string(body)


_COOKIE = seeded(15)(g.COOKIE)
_SWITCH_SEEDS = (
    _create(0) + _extend(0) + _message(0, 1, m.FETCH_CONSENSUS, bytes(8)) + _cell(0, DESTROY),
    # Two circuits meet at the second relay, and a cell goes over.
    _create(0)
    + _extend(0)
    + _message(0, 1, m.ESTABLISH_RENDEZVOUS, _COOKIE)
    + _create(1)
    + _extend(1)
    + _message(1, 1, m.RENDEZVOUS1, m.Rendezvous1(_COOKIE, bytes(g.RENDEZVOUS_SEALED)).encode())
    + _cell(1, RELAY, b"over"),
    _create(0) + bytes((_PAYLOAD, 0, 0x80)) + _head(m.DROP, 1) + string(m.DROP_ECHO) + bytes((_TICK, 0, 255)),
    bytes((_CELL, 0)) + bytes(3) + b"\7" + bytes((CREATE,)) + string(b"half") + _cell(2, CREATE),
    _create(0) + bytes((_STUCK, 0)) + _message(0, 0, m.FETCH_CONSENSUS, bytes(8)) * 2,
    _create(2) + _message(2, 0, m.FETCH, m.Fetch(bytes(g.KEY), 1).encode()) + _cell(2, RELAY_EARLY),
)

CIRCUITS = (
    Target(
        "core.conversation.Conversation.receive",
        _converse,
        (
            b"\0"
            + _head(m.RECORD, 600)
            + string(bytes(g.DATA))
            + b"\xff"
            + _head(m.CONTINUE, 600 - g.DATA)
            + string(b""),
            b"\1" + string(bytes(2000)) + b"\5\2" + b"\0" + _head(m.DROP, 1) + string(b"\0"),
            b"\3" + (b"\0" + _head(m.DROP, 1) + string(b"\1")) * 3 + b"\4",
        ),
    ),
    Target("core.circuit.ClientCircuit.receive_cell", _client_raw, (_created_cells(),)),
    Target(
        "core.circuit.ClientCircuit.receive_cell:keyed",
        _client_keyed,
        (
            b"\2\0" + _said((2, m.DROP, 1, b"\0"), (2, m.DROP, 1, b"\0"), (2, m.DROP, 1, b"\0")),
            b"\1\0" + _said((1, m.CONSENSUS, 700, bytes(g.DATA)), (1, m.CONTINUE, 700 - g.DATA, b"")),
            b"\0\1" + _said((1, m.RECORD, 300, b"record")),
        ),
    ),
    Target("relay.forward.Switch.receive_frame", _switch, _SWITCH_SEEDS),
)
