"""A relay that leaves, without a clock: what it refuses, what goes on, and which circuits end as silent."""

from __future__ import annotations

import pytest

from onionshh.reasons import Reason
from onionshh.relay.draining import SILENT_SECONDS
from simulations.world import ANSWER, ASK, PureNetwork


def test_a_new_circuit_is_refused_and_counted() -> None:
    net = PureNetwork()
    relay = net.relay()
    client = net.client(relay)
    old = client.build(relay)
    relay.switch.drain(net.now)
    refused = relay.switch.control.creates.refused
    circuit = client.circuit()
    client.extend(circuit, relay)
    assert relay.drops.by_name()[Reason.RELAY_LEAVING] == 1
    assert relay.switch.control.creates.refused == refused + 1
    assert len(relay.switch.circuits) == 1
    old.machine.accept(frozenset((ANSWER,)))
    client.send(old, ASK, b"still there")
    assert [body for *_, body in old.messages] == [b"still there"]


def test_a_circuit_that_exists_is_still_extended() -> None:
    net = PureNetwork()
    leaving, last = net.relay(), net.relay()
    client = net.client(leaving)
    circuit = client.build(leaving, pad=False)
    leaving.switch.drain(net.now)
    client.extend(circuit, last)
    assert len(last.switch.circuits) == 1
    assert last.switch.control.creates.closed is None


@pytest.mark.parametrize("place", [0, 1, 2])
def test_silent_circuits_end_and_busy_ones_go_on(place: int) -> None:
    net = PureNetwork()
    path = [net.relay() for _ in range(3)]
    client = net.client(path[0])
    busy, silent = client.build(*path), client.build(*path)
    busy.machine.accept(frozenset((ANSWER,)))
    leaving = path[place]
    leaving.switch.drain(net.now)
    for number in range(2 * int(SILENT_SECONDS)):
        net.tick(1.0)
        client.send(busy, ASK, bytes((number,)))
    assert len(leaving.switch.circuits) == 1
    assert leaving.drops.by_name()[Reason.SILENT_AT_LEAVING] == 1
    assert len(busy.messages) == 2 * int(SILENT_SECONDS)
    assert silent.circuit_id not in client.port.legs
    assert leaving.switch.busy
    net.tick(1.0)
    net.tick(SILENT_SECONDS)
    assert not leaving.switch.busy


def test_so_many_end_at_a_tick_and_all_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onionshh.relay.draining.ENDED_A_TICK", 3)
    net = PureNetwork()
    relay = net.relay()
    client = net.client(relay)
    for _ in range(8):
        client.build(relay)
    relay.switch.drain(net.now)
    counts = []
    for seconds in (SILENT_SECONDS, 1, 1):
        net.tick(seconds)
        counts.append(len(relay.switch.circuits))
    assert counts == [5, 2, 0]
