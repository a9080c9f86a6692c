"""What is mounted on a relay: a script says which circuit brings which message, and which ends."""

from __future__ import annotations

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.roles import Role
from onionshh.relay.mirror import Mirror
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.meeting import Meeting
from onionshh.rendezvous.ring import Ring
from onionshh.wire import messages as m
from tests.core import networks
from tests.fuzz.circuits import SMALL
from tests.fuzz.target import Left, Script, Target, string
from tests.rendezvous import test_introducer, test_ring
from tests.rendezvous.circuits import Circuit, Relay
from tests.seeded import seeded

_TIME, _END, _SIGNED = 250, 251, 252
_CIRCUITS = 4


def _play(role: Role, data: bytes) -> Relay:
    """A script of at most four circuits at once; all have ended when it is over."""
    script, relay = Script(data), Relay(role, wall=test_ring.WALL)
    circuits: dict[int, Circuit] = {}
    while not script.over:
        step, number = script.number(1), script.number(1) % _CIRCUITS
        circuit = circuits.get(number)
        if circuit is None or circuit.ended_for:
            circuit = circuits[number] = relay.circuit(f"192.0.2.{number % 2}")
        if step == _TIME:
            relay.now += script.number(2)
            relay.tick()
        elif step == _END:
            relay.end(circuit)
        elif step == _SIGNED:
            relay.send(circuit, m.PUBLISH, _document(script))
        elif step in role.accepts:
            relay.send(circuit, step, script.string())
    for circuit in circuits.values():
        relay.end(circuit)
    return relay


def _document(script: Script) -> bytes:
    """A descriptor whose numbers are hostile, and whose signatures hold."""
    number, *numbers = (script.number(1), *(script.number(8) for _ in range(3)))
    revision, period, expiry = numbers
    return test_ring.document(
        number, revision=revision, period=period, expiry=expiry, salt=script.take(16).ljust(16, b"\0")
    )


def _introducer(data: bytes) -> None:
    role = Introducer(test_introducer.OWN, lambda: SMALL)
    _play(role, data)
    if role.established:
        raise Left(f"{role.established} keys of circuits that are over")


def _meeting(data: bytes) -> None:
    role = Meeting(lambda: SMALL)
    _play(role, data)
    if role.waiting:
        raise Left(f"{role.waiting} cookies of circuits that are over")


def _ring(data: bytes) -> None:
    view, most = networks.view(networks.plain(3)), 2
    params = Params(descriptor_bytes=most * g.DESCRIPTOR)
    role = Ring(test_ring.OWN, lambda: view, lambda: params)
    _play(role, data)
    if role.kept > most:
        raise Left(f"{role.kept} descriptors where {most} may be")


def _step(step: int, circuit: int, body: bytes) -> bytes:
    return bytes((step, circuit)) + string(body)


def _signed(
    circuit: int, number: int, revision: int = 5, period: int = networks.START // networks.DAY
) -> bytes:
    numbers = (revision, period, test_ring.WALL + 3600)
    return bytes((_SIGNED, circuit, number)) + b"".join(one.to_bytes(8, "big") for one in numbers) + bytes(16)


_ESTABLISH = test_introducer.establish(test_introducer.KEY, Circuit(1))
_INTRODUCE1 = _step(m.INTRODUCE1, 1, test_introducer.introduction(test_introducer.KEY))
_RESUME1 = _step(m.INTRODUCE1, 2, test_introducer.resumption(test_introducer.KEY))
_COOKIE = seeded(1)(g.COOKIE)
_RENDEZVOUS1 = _step(m.RENDEZVOUS1, 1, m.Rendezvous1(_COOKIE, bytes(g.RENDEZVOUS_SEALED)).encode())
_PUBLISH = _step(m.PUBLISH, 0, test_ring.document())
_FETCH = _step(m.FETCH, 1, m.Fetch(test_ring.name(1).public, networks.START // networks.DAY).encode())

ROLES = (
    Target(
        "rendezvous.introducer.Introducer.handle",
        _introducer,
        (
            _step(m.ESTABLISH_INTRO, 0, _ESTABLISH)
            + _INTRODUCE1
            + _RESUME1
            + _INTRODUCE1
            + bytes((_END, 0))
            + _INTRODUCE1
            + _RESUME1,
        ),
    ),
    Target(
        "rendezvous.meeting.Meeting.handle",
        _meeting,
        (
            _step(m.ESTABLISH_RENDEZVOUS, 0, _COOKIE) + _RENDEZVOUS1,
            b"".join(
                _step(m.ESTABLISH_RENDEZVOUS, number, bytes((number,)) * g.COOKIE) for number in range(4)
            )
            + bytes((_TIME, 0, 255, 255)),
        ),
    ),
    Target(
        "rendezvous.ring.Ring.handle",
        _ring,
        (
            _PUBLISH + _FETCH,
            b"".join(_signed(number, number) for number in range(4)) + bytes((_TIME, 0, 1, 0)) + _FETCH,
        ),
    ),
    Target(
        "relay.mirror.Mirror.handle",
        lambda data: _play(Mirror(lambda: (7, b"document")), data),
        (_step(m.FETCH_CONSENSUS, 0, m.encode_fetch_consensus(0)) * 2,),
    ),
)
