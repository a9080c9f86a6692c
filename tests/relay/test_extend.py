"""EXTEND at a relay: how it must come, where it may lead, how long it may take (SPEC 6)."""

from __future__ import annotations

import pytest

from onionshh.geometry import BODY
from onionshh.reasons import Reason
from onionshh.relay.extend import WantedLink
from onionshh.relay.state import Stage
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    CREATED,
    DESTROY,
    RELAY,
    RELAY_EARLY,
)
from simulations.stranger import Stranger
from simulations.world import PureRelay
from tests.relay.network import ID, everything_is_gone, network, payload


def taken_out(relay: PureRelay) -> WantedLink:
    """The one link that this relay wants: its driver has it now, and still dials."""
    wanted = relay.switch.control.extends.wanted_links.popleft()
    assert not relay.switch.control.extends.wanted_links
    return wanted


@pytest.mark.parametrize("plain", [(0,), (1,), (2,), (0, 1), (0, 1, 2)])
def test_every_cell_of_an_extend_must_be_early(plain: tuple[int, ...]) -> None:
    """One early cell an EXTEND would let nine EXTENDs through, and circuits of ten relays."""
    net, relays = network(2)
    stranger = Stranger(net, relays[0])
    stranger.create(ID, relays[0])
    stranger.extend(ID, relays[1], plain=plain)
    assert relays[0].drops.counts[Reason.EXTEND_NOT_EARLY] == 1
    assert stranger.ended(ID)
    everything_is_gone(net)


def test_a_relay_never_extends_to_itself() -> None:
    net, relays = network(1)
    client = net.client(relays[0])
    circuit = client.build(*relays, pad=False)
    client.extend(circuit, relays[0])
    assert relays[0].drops.counts[Reason.EXTEND_BACKWARD] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_a_relay_never_extends_back_to_the_hop_before() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays, pad=False)
    client.extend(circuit, relays[0])
    assert relays[1].drops.counts[Reason.EXTEND_BACKWARD] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_a_relay_extends_only_to_relays_of_the_consensus() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    del net.relays[relays[1].identity]
    client.extend(circuit, relays[1])
    assert relays[0].drops.counts[Reason.EXTEND_UNKNOWN_RELAY] == 1
    assert not relays[0].switch.control.extends.wanted_links
    assert circuit.machine.failed == Reason.DESTROYED


def test_a_relay_obeys_one_extend() -> None:
    net, relays = network(3)
    stranger = Stranger(net, relays[0])
    stranger.build(ID, *relays[:2])
    # A second EXTEND to the first relay, under the layer that only it has.
    stranger.say_to(ID, 0, payload(m.EXTEND, b"x" * 16), early=True)
    assert relays[0].drops.counts[Reason.MESSAGE_NOT_ACCEPTED] == 1
    everything_is_gone(net)


def test_a_second_extend_while_the_first_is_under_way_ends_the_circuit() -> None:
    net, relays = network(3)
    stranger = Stranger(net, relays[0])
    stranger.create(ID, relays[0])
    net.serving = False  # the next relay does not answer
    stranger.extend(ID, relays[1])
    assert relays[0].circuit.stage is Stage.EXTENDING
    stranger.say_to(ID, 0, payload(m.EXTEND, b"x"), early=True)
    assert relays[0].drops.counts[Reason.MESSAGE_NOT_ACCEPTED] == 1
    assert not relays[0].switch.circuits


@pytest.mark.parametrize("side", ["client", "next hop"])
@pytest.mark.parametrize("command", [RELAY, RELAY_EARLY])
def test_while_an_extend_is_under_way_nothing_is_forwarded(side: str, command: int) -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    net.serving = False
    client.extend(circuit, relays[1])
    leg = relays[0].circuit.outward
    assert leg is not None
    net.wire.clear()
    if side == "client":
        client.raw(circuit.circuit_id, command)
        assert [sent for port, _, sent in net.wire if port is leg.port] == [DESTROY]
    else:
        net.far[leg.port].send(leg.circuit_id, command, bytes(BODY))
        net.settle()
        assert net.cells_on(client.guard_port) == [(circuit.circuit_id, DESTROY)]
    assert not relays[0].switch.circuits


def test_an_extend_of_wrong_size_ends_the_circuit() -> None:
    net, relays = network(2)
    stranger = Stranger(net, relays[0])
    stranger.create(ID, relays[0])
    stranger.say_to(ID, 0, payload(m.EXTEND, relays[1].identity), early=True)
    assert relays[0].drops.counts[Reason.MESSAGE_SIZE] == 1
    everything_is_gone(net)


def test_a_next_hop_that_cannot_be_had_ends_the_whole_circuit() -> None:
    net, relays = network(3)
    client = net.client(relays[0])
    circuit = client.build(*relays[:2], pad=False)
    net.unreachable.add(relays[2].identity)
    client.extend(circuit, relays[2])
    assert relays[1].drops.counts[Reason.EXTEND_FAILED] == 1
    assert relays[0].drops.counts[Reason.DESTROYED] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_an_extend_that_gets_no_answer_ends_after_ten_seconds() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    net.serving = False
    client.extend(circuit, relays[1])
    net.tick(9.9)
    assert circuit.circuit_id in client.circuits
    net.tick(0.2)
    assert relays[0].drops.counts[Reason.EXTEND_TIMEOUT] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_a_wrong_created_ends_the_circuit_at_the_client() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    other = client.build(relays[0])
    circuit.machine.add_relay(relays[1].identity, relays[0].keys[0].public)  # a key that is not its own
    client.settle(circuit)
    assert relays[1].drops.counts[Reason.HANDSHAKE_UNKNOWN_KEY] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    assert other.machine.failed is None


def test_a_created_that_nobody_asked_for_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(*relays)
    back = relays[1].links[relays[0].identity]
    back.send(relays[1].circuit.inward.circuit_id, CREATED, bytes(BODY))
    net.settle()
    assert relays[0].drops.counts[Reason.CREATED_NOT_DUE] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_extend_over_a_link_that_closed_meanwhile_ends_the_circuit() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    port, _ = net.connect(relays[0], relays[1], proven=True)
    circuit.machine.add_relay(relays[1].identity, relays[1].keys[0].public)
    client.flush(circuit)
    relays[0].switch.receive_frame(client.guard_port, b"".join(client.port.outbox.take(9)), net.now)
    wanted = taken_out(relays[0])
    net.cut(port)
    relays[0].switch.extend_over(wanted, port, net.now)
    net.settle()
    assert relays[0].drops.counts[Reason.EXTEND_FAILED] == 1
    assert circuit.machine.failed == Reason.DESTROYED
    everything_is_gone(net)


def test_a_circuit_that_ended_while_its_next_link_was_dialled_sends_no_create() -> None:
    net, relays = network(2)
    client = net.client(relays[0])
    circuit = client.build(relays[0], pad=False)
    circuit.machine.add_relay(relays[1].identity, relays[1].keys[0].public)
    client.flush(circuit)
    relays[0].switch.receive_frame(client.guard_port, b"".join(client.port.outbox.take(9)), net.now)
    wanted = taken_out(relays[0])
    client.raw(circuit.circuit_id, DESTROY)
    port, _ = net.connect(relays[0], relays[1], proven=True)
    relays[0].switch.extend_over(wanted, port, net.now)
    assert not port.outbox.waiting
    assert not port.legs
