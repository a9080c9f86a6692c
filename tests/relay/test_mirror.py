from __future__ import annotations

from onionshh.reasons import Reason
from onionshh.relay.mirror import Mirror
from onionshh.wire import messages as m
from simulations.world import PureCircuit, PureClient, PureNetwork, PureRelay
from tests.seeded import seeded

DOCUMENT = seeded(1)(300_000)


def asked(held: list[tuple[int, bytes]]) -> tuple[PureNetwork, PureRelay, PureClient, PureCircuit]:
    net = PureNetwork()
    first = net.relay()
    relay = net.relay(Mirror(lambda: held[-1]))
    client = net.client(first)
    circuit = client.build(first, relay)
    circuit.machine.accept(frozenset((m.CONSENSUS,)))
    return net, relay, client, circuit


def test_the_consensus_in_hand_comes_over_a_circuit() -> None:
    net, _, client, circuit = asked([(1000, DOCUMENT)])
    client.send(circuit, m.FETCH_CONSENSUS, m.encode_fetch_consensus(999))
    assert circuit.messages == [(1, m.CONSENSUS, DOCUMENT)]
    assert all(node.memory.used_bytes == 0 for node in net.nodes)


def test_who_holds_the_same_or_a_later_one_gets_nothing() -> None:
    held = [(1000, DOCUMENT)]
    _, _, client, circuit = asked(held)
    for known in (1000, 1001):
        client.send(circuit, m.FETCH_CONSENSUS, m.encode_fetch_consensus(known))
    held.append((2000, b"new"))
    client.send(circuit, m.FETCH_CONSENSUS, m.encode_fetch_consensus(1001))
    assert [body for *_, body in circuit.messages] == [b"", b"", b"new"]


def test_a_relay_without_a_consensus_says_so() -> None:
    _, _, client, circuit = asked([(0, b"")])
    client.send(circuit, m.FETCH_CONSENSUS, m.encode_fetch_consensus(0))
    assert [body for *_, body in circuit.messages] == [b""]


def test_a_second_question_before_the_answer_left_ends_the_circuit() -> None:
    net, relay, client, circuit = asked([(1000, DOCUMENT)])
    net.stuck.add(client.port)  # what the client sends waits until both questions stand there
    client.send(circuit, m.FETCH_CONSENSUS, m.encode_fetch_consensus(0))
    client.send(circuit, m.FETCH_CONSENSUS, m.encode_fetch_consensus(0))
    net.release(client.port)
    assert relay.drops.counts[Reason.CONSENSUS_ASKED_TWICE] == 1
    assert circuit.machine.failed == Reason.DESTROYED


def test_a_question_of_wrong_size_ends_the_circuit() -> None:
    _, relay, client, circuit = asked([(1000, DOCUMENT)])
    client.send(circuit, m.FETCH_CONSENSUS, bytes(7))
    assert relay.drops.counts[Reason.MESSAGE_SIZE] == 1
    assert circuit.machine.failed == Reason.DESTROYED
