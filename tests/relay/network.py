"""Relays, a client and what tests look at, for the tests of the switch and its parts."""

from __future__ import annotations

from onionshh.core.base.params import Params
from onionshh.geometry import LAYER_STATE
from onionshh.rendezvous.meeting import Meeting
from onionshh.wire import messages as m
from onionshh.wire.cell import (
    INITIATOR_BIT,
)
from onionshh.wire.framing import build_payload
from simulations.world import Parrot, PureCircuit, PureClient, PureNetwork, PureRelay
from tests.seeded import seeded

COOKIE = b"c" * 32
ID = INITIATOR_BIT | 7
"""The circuit of a stranger."""


def network(relays: int, params: Params | None = None) -> tuple[PureNetwork, list[PureRelay]]:
    net = PureNetwork(params)
    return net, [net.relay() for _ in range(relays)]


def parrot(relay: PureRelay) -> Parrot:
    (role,) = relay.roles
    assert isinstance(role, Parrot)
    return role


def everything_is_gone(net: PureNetwork) -> None:
    """No circuit, no leg, no charged byte anywhere."""
    for node in net.nodes:
        assert node.memory.used_bytes == 0
        for port in node.ports.values():
            assert not port.legs
            assert not port.creating
    for relay in net.relays.values():
        assert not relay.switch.circuits


def payload(message_type: int, body: bytes) -> bytes:
    """A message of one cell, whatever its size should be."""
    return build_payload(message_type, body, 0, seeded(4))


class Pair:
    """A visitor and an endpoint joined at a rendezvous point by the real role."""

    def __init__(self, visitor_hops: int, endpoint_hops: int, params: Params | None = None) -> None:
        self.net = net = PureNetwork(params)
        self.meeting = Meeting(lambda: net.params)
        self.point = net.relay(self.meeting)
        self.visitor, self.circuit = self._come(visitor_hops)
        self.endpoint, self.answer = self._come(endpoint_hops)

    def _come(self, hops: int) -> tuple[PureClient, PureCircuit]:
        path = [self.net.relay() for _ in range(hops)] + [self.point]
        client = self.net.client(path[0])
        return client, client.build(*path)

    def join(self) -> None:
        visitor, endpoint = self.circuit.machine, self.answer.machine
        visitor.accept(frozenset((m.RENDEZVOUS_ESTABLISHED,)))
        self.visitor.send(self.circuit, m.ESTABLISH_RENDEZVOUS, COOKIE)
        visitor.accept(frozenset((m.RENDEZVOUS2,)))
        sealed = seeded(5)(1168)
        self.endpoint.send(self.answer, m.RENDEZVOUS1, m.Rendezvous1(COOKIE, sealed).encode())
        assert [body for *_, body in self.circuit.messages] == [bytes((m.OK,)), sealed]
        self.circuit.events.clear()
        forward, backward = seeded(6)(LAYER_STATE), seeded(7)(LAYER_STATE)
        accepts = frozenset((m.RECORD,))
        visitor.join(forward, backward, as_visitor=True, accepts=accepts)
        endpoint.join(forward, backward, as_visitor=False, accepts=accepts)
