"""What a stranger can make a relay hold, and what a silent circuit costs it (SPEC 7, 17)."""

from __future__ import annotations

import pytest

from onionshh.core.base.params import Params
from onionshh.core.base.reasons import Drops
from onionshh.core.link.outbox import Memory
from onionshh.core.link.port import REFUSALS_HELD_LEAST, LinkPort
from onionshh.errors import ProtocolError
from onionshh.geometry import BODY, CELL
from onionshh.relay import create
from onionshh.relay.create import REFUSALS_WAITING_MOST
from onionshh.relay.forward import Switch
from onionshh.relay.resting import REST_SECONDS
from onionshh.wire.cell import CREATE, INITIATOR_BIT, RELAY, pack_cell
from simulations.world import ANSWER, ASK, PureNetwork
from tests.core.networks import relay_id
from tests.seeded import seeded


def test_refusals_that_nobody_reads_end_the_link() -> None:
    """Every refused CREATE is answered by a DESTROY; who only asks and never reads is cut off."""
    memory = Memory(1 << 28)
    switch = Switch(
        identity=relay_id(1),
        onion_keys=lambda: (),
        knows=lambda identity: False,
        params=Params,
        roles=(),
        memory=memory,
        drops=Drops(),
        random_bytes=seeded(1),
        wall=lambda: 0,
    )
    port = LinkPort(memory, [], peer=None, initiated=False, host="10.0.0.1", now=0.0)
    switch.link_opened(port, 0.0)
    with pytest.raises(ProtocolError, match="refusals-unread"):
        for number in range(1, 10_000):
            switch.receive_frame(port, pack_cell(INITIATOR_BIT | number, CREATE, bytes(BODY)), 0.0)
    assert memory.used_bytes <= (REFUSALS_WAITING_MOST + 1) * CELL
    switch.link_closed(port, 0.0)
    assert memory.used_bytes == 0


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


def test_circuits_that_end_honestly_are_no_refusals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger hangs up with many circuits; the next CREATE of anybody else must not end the link."""
    monkeypatch.setattr(create, "REFUSALS_WAITING_MOST", 8)
    net = PureNetwork()
    a, b = net.relay(), net.relay()
    stranger, other = net.client(a), net.client(b)
    for _ in range(20):
        stranger.build(a, b, pad=False)
    link = a.links[b.identity]
    net.stuck.add(link)  # A's socket to B is full for a moment
    net.cut(stranger.port)
    net.settle()
    assert len(link.control.cells) == 20
    circuit = other.circuit()
    other.extend(circuit, b)
    other.extend(circuit, a)  # over the very same link
    net.stuck.clear()
    net.settle()
    assert circuit.machine.failed is None
    assert [reason for _, reason in net.ended_links] == ["cut", "cut"]


def test_half_made_circuits_that_run_out_fill_no_link_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(create, "REFUSALS_WAITING_MOST", 64)
    net = PureNetwork()
    relay = net.relay()
    client = net.client(relay)
    net.stuck.add(client.guard_port)
    for number in range(1, 301):
        client.raw(INITIATOR_BIT | number, CREATE, bytes(BODY))
    net.tick(11)
    assert relay.drops.counts["create-unfinished"] == 300
    assert len(client.guard_port.refusals.cells) == 65
    assert not client.guard_port.creating


def test_past_the_quota_a_link_that_reads_no_refusals_goes_before_younger_circuits() -> None:
    net = PureNetwork()
    a, b = net.relay(), net.relay()
    culprit, other = net.client(a), net.client(a)
    circuit = other.build(a, b)
    net.stuck.add(culprit.guard_port)
    net.stuck.add(a.links[b.identity])
    a.links[b.identity].destroy(7, seeded(7))  # older than all, and nobody's fault
    for number in range(REFUSALS_HELD_LEAST + 1):
        culprit.guard_port.refuse(number, seeded(number))
    net.now = a.memory.now = net.now + 1
    other.raw(circuit.circuit_id, RELAY)
    a.memory.most_bytes = 10 * CELL
    assert a.switch.relieve() is culprit.guard_port
    net.cut(culprit.guard_port)
    assert a.switch.relieve() is None
    assert circuit.machine.failed is None


def test_who_asks_for_much_at_once_and_reads_is_refused_and_not_cut_off() -> None:
    """Refusals leave at the end of a pass; a pass may hold as many CREATEs as fit a read and a frame."""
    net = PureNetwork(Params().with_overrides({"create_rate": 1, "create_burst": 1}))
    relay = net.relay()
    client = net.client(relay)
    cells = [pack_cell(INITIATOR_BIT | number, CREATE, bytes(BODY)) for number in range(1, 319)]
    relay.switch.receive_frame(client.guard_port, b"".join(cells), net.now)
    assert relay.drops.counts["create-rate"] == 317
