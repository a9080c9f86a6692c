"""What costs a role much is served between reads, in its order."""

from __future__ import annotations

import pytest

from onionshh.reasons import Reason
from onionshh.relay import costly
from onionshh.wire.cell import DESTROY
from simulations.world import ANSWER, PureCircuit, PureNetwork
from tests.relay.library import COPY, LEND, Library


class Desk:
    def __init__(self) -> None:
        self.net = PureNetwork()
        self.relay = self.net.relay(Library())
        self.client = self.net.client(self.relay)

    def circuit(self) -> PureCircuit:
        circuit = self.client.build(self.relay)
        circuit.machine.accept(frozenset((ANSWER,)))
        return circuit


def heard(circuit: PureCircuit) -> list[bytes]:
    return [body for _, _, body in circuit.messages]


def test_a_costly_message_waits_for_a_moment_between_reads_and_others_do_not() -> None:
    desk = Desk()
    circuit, other = desk.circuit(), desk.circuit()
    desk.net.serving = False
    desk.client.send(circuit, COPY, b"one")
    desk.client.send(other, COPY, b"two")
    desk.client.send(circuit, LEND, bytes((3,)))
    assert heard(circuit) == [b"book 3"]
    switch = desk.relay.switch
    assert switch.serve_costly(1.0)
    assert switch.control.costly
    assert switch.serve_costly(1.0)
    assert not switch.serve_costly(1.0)
    desk.net.settle()
    assert heard(circuit) == [b"book 3", b"one"]
    assert heard(other) == [b"two"]


def test_the_message_of_a_circuit_that_has_ended_is_forgotten() -> None:
    desk = Desk()
    gone, stays = desk.circuit(), desk.circuit()
    desk.net.serving = False
    desk.client.send(gone, COPY, b"gone")
    desk.client.send(stays, COPY, b"stays")
    desk.client.raw(gone.circuit_id, DESTROY)
    assert desk.relay.switch.serve_costly(1.0)
    assert not desk.relay.switch.serve_costly(1.0)
    desk.net.settle()
    assert heard(stays) == [b"stays"]


def test_what_is_wrong_with_it_ends_its_circuit_then() -> None:
    desk = Desk()
    circuit = desk.circuit()
    desk.net.serving = False
    desk.client.send(circuit, COPY, b"")
    assert not desk.relay.drops.counts[Reason.MESSAGE_SIZE]
    desk.net.serving = True
    desk.net.settle()
    assert circuit.machine.failed == Reason.DESTROYED
    assert desk.relay.drops.counts[Reason.MESSAGE_SIZE] == 1


def test_when_too_many_wait_one_more_is_served_on_the_spot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(costly, "COSTLY_MOST", 2)
    desk = Desk()
    circuit = desk.circuit()
    desk.net.serving = False
    for number in range(3):
        desk.client.send(circuit, COPY, b"%d" % number)
    assert heard(circuit) == [b"2"]
    desk.net.serving = True
    desk.net.settle()
    assert heard(circuit) == [b"2", b"0", b"1"]
