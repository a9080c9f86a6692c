"""What is mounted on a relay: a script says which circuit brings which message, and which ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from onionshh import geometry as g
from onionshh.core.base.params import Params
from onionshh.core.roles import Role
from onionshh.relay.mirror import Mirror
from onionshh.rendezvous.introducer import Introducer
from onionshh.rendezvous.mailbox_index import ITEM_BYTES
from onionshh.rendezvous.mailbox_store import ItemsInMemory
from onionshh.rendezvous.meeting import Meeting
from onionshh.rendezvous.ring import Ring
from onionshh.rendezvous.shelf import Erase, Row
from onionshh.rendezvous.toll_gate import SEED_MOST_SECONDS
from onionshh.wire import messages as m
from tests.core import networks
from tests.fuzz.circuits import SMALL
from tests.fuzz.target import Left, Script, Target, string
from tests.rendezvous import test_introducer, test_introducer_gate, test_ring, test_toll_gate
from tests.rendezvous.circuits import Circuit, Relay
from tests.rendezvous.mailbox_world import BOARD, PAIR, House
from tests.seeded import seeded

_TIME, _END, _SIGNED, _DISK, _COMMIT = 250, 251, 252, 253, 254
_CIRCUITS = 4


class _Rows:
    """A disk of a ring, in memory. While it fails, nothing can be written."""

    def __init__(self) -> None:
        self.fails = False
        self.rows: dict[object, Row] = {}

    def commit(self, rows: Sequence[object]) -> None:
        if self.fails:
            raise OSError("No space left on device")
        for row in rows:
            if isinstance(row, Row):
                self.rows[row.name] = row
            elif isinstance(row, Erase):
                self.rows = {name: old for name, old in self.rows.items() if old.serial not in row.serials}
            else:
                raise Left(f"a row {row!r}")


def _play(role: Role, data: bytes, disk: _Rows | None = None) -> Relay:
    """A script of at most four circuits at once; all have ended when it is over. With a `disk`, the script
    says when it is written to and whether it fails; at the end it does not, and all is written."""
    script, relay = Script(data), Relay(role, wall=test_ring.WALL, committing=disk is None)
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
        elif step == _DISK and disk is not None:
            disk.fails = not disk.fails
        elif step == _COMMIT:
            relay.commit()
        elif step == _SIGNED:
            relay.send(circuit, m.PUBLISH, _document(script))
        elif step in role.accepts:
            relay.send(circuit, step, script.string())
    for circuit in circuits.values():
        relay.end(circuit)
    if disk is not None:
        disk.fails = False
        relay.commit()
        relay.tick()
        relay.commit()
    return relay


def _document(script: Script) -> bytes:
    """A descriptor whose numbers are hostile, and whose signatures hold."""
    number, *numbers = (script.number(1), *(script.number(8) for _ in range(3)))
    revision, period, expiry = numbers
    return test_ring.document(
        number, revision=revision, period=period, expiry=expiry, salt=script.take(16).ljust(16, b"\0")
    )


def _introducer(data: bytes) -> None:
    slow = replace(SMALL, introduce_rate=1, introduce_burst=1)
    role = Introducer(test_introducer.OWN, lambda: slow)
    _play(role, data)
    if role.established or role.circuits:
        raise Left(f"{role.established} keys, {role.circuits} circuits that are over")
    role.tick(1e9, test_ring.WALL + SEED_MOST_SECONDS)
    if role.is_due_soon:
        raise Left("somebody waits at a gate of circuits that are over")
    if role.proofs_spent:
        raise Left(f"{role.proofs_spent} proofs for seeds that are over")


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


def _ring_on_disk(data: bytes) -> None:
    view, most, disk = networks.view(networks.plain(3)), 2, _Rows()
    params = Params(descriptor_bytes=most * g.DESCRIPTOR)
    role = Ring(test_ring.OWN, lambda: view, lambda: params, store=disk)
    relay = _play(role, data, disk)
    if role.waiting or role.kept > most or len(disk.rows) > role.kept:
        raise Left(f"{role.waiting} waiting, {role.kept} kept, {len(disk.rows)} on disk")
    again = Ring(test_ring.OWN, lambda: view, lambda: params, store=disk, rows=disk.rows.values())
    again.tick(relay.now, relay.wall)
    if again.kept != len(disk.rows):
        raise Left(f"{again.kept} of {len(disk.rows)} after a restart")


def _mailboxes(data: bytes) -> None:
    """Circuits that leave and list, signed and not, at a relay with room for two items; at the end all time
    is over, and nothing is left."""
    store, script = ItemsInMemory(), Script(data)
    house = House(store, params=Params(mailbox_bytes=2 * ITEM_BYTES))
    relay = house.relay
    relay.committing = relay.reading = False
    circuits: dict[int, Circuit] = {}
    while not script.over:
        step, number = script.number(1), script.number(1) % _CIRCUITS
        circuit = circuits.get(number)
        if circuit is None or circuit.ended_for:
            circuit = circuits[number] = relay.circuit(f"192.0.2.{number % 2}")
        if step == _TIME:
            house.pass_time(16 * script.number(1))
        elif step == _END:
            relay.end(circuit)
        elif step == _COMMIT:
            relay.commit()
            relay.look()
        elif step == _SIGNED:
            kind, item, revision, hours = (script.number(1) for _ in range(4))
            put = house.put(
                item % 3,
                _BOXES[kind % 2],
                seconds=3600 * (1 + hours % 2),
                revision=revision,
                content=item % 5,
                effort=48,
                empty=hours > _TIME,
            )
            relay.send(circuit, m.PUT, put.encode())
        elif step == _DISK:
            kind, mode, after, wait = (script.number(1) for _ in range(4))
            house.asks(circuit, _BOXES[kind % 2], mode=mode % 2, after=after << 43, wait=wait)
        elif step in house.role.accepts:
            relay.send(circuit, step, script.string())
        if house.role.kept > 2:
            raise Left(f"{house.role.kept} items where 2 may be")
    for circuit in circuits.values():
        relay.end(circuit)
    relay.commit()
    relay.look()
    house.pass_time(8 * networks.DAY)
    relay.commit()
    counts = house.role.statistics()
    if any(store.read(range(1000))) or counts["mailboxes"] or counts["mailbox_readers_waiting"]:
        raise Left(f"{counts} after all has expired")


_BOXES = (PAIR, BOARD)


def _step(step: int, circuit: int, body: bytes) -> bytes:
    return bytes((step, circuit)) + string(body)


def _signed(
    circuit: int,
    number: int,
    revision: int = 5,
    period: int = networks.START // networks.DAY,
    expiry: int = test_ring.WALL + 3600,
) -> bytes:
    numbers = (revision, period, expiry)
    return bytes((_SIGNED, circuit, number)) + b"".join(one.to_bytes(8, "big") for one in numbers) + bytes(16)


_ESTABLISH = test_introducer.establish(test_introducer.KEY, Circuit(1))
_INTRODUCE1 = _step(m.INTRODUCE1, 1, test_introducer.introduction(test_introducer.KEY))
_RESUME1 = _step(m.INTRODUCE1, 2, test_introducer.resumption(test_introducer.KEY))
_WANTED = _step(m.INTRO_PROOF, 0, test_toll_gate.WANTED.encode())
_NOTHING = _step(m.INTRO_PROOF, 0, m.IntroProof(bytes(g.SEED), 0, 0).encode())
_PAID = b"".join(
    _step(m.INTRODUCE1, 1 + number, test_introducer_gate.entry(number, 2 + number)) for number in range(3)
)
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
            _step(m.ESTABLISH_INTRO, 0, _ESTABLISH)
            + _WANTED
            + _PAID
            + bytes((_TIME, 0, 0, 1, _END, 2))
            + _NOTHING
            + _RESUME1
            + bytes((_TIME, 0, 0, 9, _END, 0)),
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
        "rendezvous.ring.Ring.handle:disk",
        _ring_on_disk,
        (
            b"".join(_signed(number, number, expiry=test_ring.WEEK) for number in range(4))
            + bytes((_COMMIT, 0))
            + bytes((_TIME, 0, 1, 0))
            + _FETCH,
            _signed(0, 1, expiry=test_ring.WEEK)
            + bytes((_DISK, 0, _COMMIT, 0, _DISK, 0))
            + _signed(1, 1, 6, expiry=test_ring.WEEK)
            + _signed(2, 1, 7)
            + bytes((_COMMIT, 0, _END, 1)),
        ),
    ),
    Target(
        "relay.mirror.Mirror.handle",
        lambda data: _play(Mirror(lambda: (7, b"document")), data),
        (_step(m.FETCH_CONSENSUS, 0, m.encode_fetch_consensus(0)) * 2,),
    ),
    Target(
        "rendezvous.mailboxes.Mailboxes.handle",
        _mailboxes,
        (
            bytes((_SIGNED, 0, 0, 1, 0, 0, _SIGNED, 1, 0, 1, 0, 0, _COMMIT, 0, _SIGNED, 0, 0, 1, 1, 1))
            + bytes((_DISK, 2, 0, 0, 0, 0, _DISK, 3, 0, 1, 0, 9, _COMMIT, 0, _TIME, 0, 255))
            + bytes((_SIGNED, 0, 0, 1, 2, 251, _COMMIT, 0, _DISK, 2, 0, 1, 255, 0, _END, 2)),
            _step(m.PUT, 0, bytes(g.PUT)) + _step(m.LIST, 1, bytes(g.LIST)),
        ),
    ),
)
