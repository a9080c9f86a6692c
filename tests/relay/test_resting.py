"""What a silent circuit costs a relay."""

from __future__ import annotations

import pytest

from onionshh.relay.resting import REST_SECONDS
from simulations.world import ANSWER, ASK, PureNetwork


def test_a_silent_circuit_rests_and_wakes() -> None:
    net = PureNetwork()
    guard, last = net.relay(), net.relay()
    client = net.client(guard)
    circuit = client.build(guard, last)
    circuit.machine.accept(frozenset((ANSWER,)))
    client.send(circuit, ASK, b"before")
    layers = [relay.circuit.layers for relay in (guard, last)]
    net.tick(REST_SECONDS + 1)
    assert not layers[0].resting  # used since the switch last looked
    net.tick(REST_SECONDS + 1)
    assert all(one.resting for one in layers)
    client.send(circuit, ASK, b"after")
    assert [body for _, _, body in circuit.messages] == [b"before", b"after"]
    assert not layers[0].resting


def test_so_many_rest_at_a_tick_and_all_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onionshh.relay.resting.REST_A_TICK", 3)
    net = PureNetwork()
    relay, last = net.relay(), net.relay()
    client = net.client(relay)
    for _ in range(8):
        client.build(relay, last)
    counts = []
    for seconds in (REST_SECONDS + 1, 1, 1, REST_SECONDS + 1, 1, 1, 1):
        net.tick(seconds)
        counts.append(sum(circuit.layers.resting for circuit in relay.switch.circuits))
    assert counts == [0, 0, 0, 3, 6, 8, 8]
    assert relay.switch.rested == 8


def test_however_many_there_are_none_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onionshh.relay.resting.REST_A_TICK", 1)
    net = PureNetwork()
    relay, last = net.relay(), net.relay()
    client = net.client(relay)
    for _ in range(5):
        client.build(relay, last)
    for _ in range(10):  # each look comes when the next minute has begun
        net.tick(REST_SECONDS + 1)
    assert relay.switch.rested == 5
