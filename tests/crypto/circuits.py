"""Circuits without a network: a client's layers and the relays' they match, for the tests of the layers."""

from __future__ import annotations

from collections.abc import Sequence

from onionshh.crypto.layers import ClientLayers, RelayLayers
from onionshh.crypto.uiv import CIPHER, Cipher
from onionshh.geometry import LAYER_STATE, PAYLOAD, TAG
from onionshh.ids import RandomBytes
from onionshh.wire.cell import RELAY
from tests.seeded import seeded


class Circuit:
    """One client and its relays, keyed alike. Cells move by calls. `relay`: the ciphers of the
    relays, in turn."""

    def __init__(
        self, relays: int, seed: int = 1, *, client: Cipher = CIPHER, relay: Sequence[Cipher] = (CIPHER,)
    ) -> None:
        self.random: RandomBytes = seeded(seed)
        self.client = ClientLayers(client)
        self.relays: list[RelayLayers] = []
        for place in range(relays):
            forward, backward = self.random(LAYER_STATE), self.random(LAYER_STATE)
            self.client.add_hop(forward, backward)
            self.relays.append(RelayLayers(forward, backward, relay[place % len(relay)]))

    def payload(self) -> bytes:
        return self.random(PAYLOAD)

    def outward(self, body: bytes, command: int = RELAY) -> tuple[int | None, bytes, bytes]:
        """Through the relays until one takes it: (which, the body it has, the tag it acknowledges with).

        `None` for the relay: nobody took it, and the body is what the last one gave.
        """
        for place, relay in enumerate(self.relays):
            came = body[:TAG]
            tag, rest, mine = relay.outbound(command, came, body[TAG:])
            body = tag + rest
            if mine:
                return place, body, came
        return None, body, b""

    def inward(self, body: bytes, start: int, command: int = RELAY) -> bytes:
        """Back through the relays nearer than `start`."""
        for relay in reversed(self.relays[:start]):
            body = b"".join(relay.inbound(command, body[:TAG], body[TAG:]))
        return body

    def answer(self, place: int, payload: bytes, command: int = RELAY) -> tuple[bytes, bytes]:
        """A cell of a relay's own: (the body as the client gets it, the tag the relay expects)."""
        tag, rest = self.relays[place].originate(command, payload)
        return self.inward(tag + rest, place, command), tag


class Joined:
    """A visitor's and an endpoint's circuit, joined at the last relay of both, with the end-to-end layer."""

    def __init__(self, visitor_hops: int, endpoint_hops: int, seed: int = 1) -> None:
        self.visitor = Circuit(visitor_hops + 1, seed)
        self.endpoint = Circuit(endpoint_hops + 1, seed + 1)
        forward, backward = self.visitor.random(LAYER_STATE), self.visitor.random(LAYER_STATE)
        self.visitor_end = len(self.visitor.client)
        self.endpoint_end = len(self.endpoint.client)
        self.visitor.client.join_as_visitor(forward, backward)
        self.endpoint.client.join_as_endpoint(forward, backward)

    def across(self, body: bytes, *, from_visitor: bool, command: int = RELAY) -> bytes:
        """All the way from one client to the other, as the rendezvous point joins them (SPEC 3)."""
        near, far = (self.visitor, self.endpoint) if from_visitor else (self.endpoint, self.visitor)
        taken_by, body, _ = near.outward(body, command)
        if taken_by is not None:
            raise LookupError(f"relay {taken_by} took a cell that was not for it")
        return far.inward(body, len(far.relays), command)
