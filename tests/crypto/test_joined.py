"""Two circuits joined at a rendezvous point, with the end-to-end layer over 0..3 by 0..3 hops (SPEC 3, 7)."""

from __future__ import annotations

import pytest

from onionshh.crypto.layers import ClientLayers
from onionshh.errors import CryptoError
from onionshh.geometry import BODY, LAYER_STATE, TAG
from onionshh.wire.cell import RELAY, RELAY_EARLY
from tests.crypto.circuits import Circuit, Joined

HOPS = [(visitor, endpoint) for visitor in range(4) for endpoint in range(4)]
both = pytest.mark.parametrize("hops", HOPS, ids=lambda hops: f"{hops[0]}x{hops[1]}")


@both
def test_whispers_cross_both_ways(hops: tuple[int, int]) -> None:
    joined = Joined(*hops)
    visitor, endpoint = joined.visitor, joined.endpoint
    for _ in range(4):
        payload = visitor.payload()
        body, tag = visitor.client.send(joined.visitor_end, RELAY, payload)
        arrived = joined.across(body, from_visitor=True)
        assert endpoint.client.receive(RELAY, arrived) == (joined.endpoint_end, payload, tag)

        payload = endpoint.payload()
        body, tag = endpoint.client.send(joined.endpoint_end, RELAY, payload)
        arrived = joined.across(body, from_visitor=False)
        assert visitor.client.receive(RELAY, arrived) == (joined.visitor_end, payload, tag)


@both
def test_own_hops_stay_in_reach(hops: tuple[int, int]) -> None:
    """ACK and DROP to and from the RP and nearer hops go on, between end-to-end cells."""
    joined = Joined(*hops)
    for side in (joined.visitor, joined.endpoint):
        for hop in range(len(side.relays)):
            payload = side.payload()
            body, tag = side.client.send(hop, RELAY, payload)
            taken_by, arrived, relay_tag = side.outward(body)
            assert (taken_by, arrived[TAG:], relay_tag) == (hop, payload, tag)
            body, tag = side.answer(hop, payload)
            assert side.client.receive(RELAY, body) == (hop, payload, tag)
    payload = joined.visitor.payload()
    body, _ = joined.visitor.client.send(joined.visitor_end, RELAY, payload)
    arrived = joined.across(body, from_visitor=True)
    assert joined.endpoint.client.receive(RELAY, arrived)[1] == payload


@both
@pytest.mark.parametrize("from_visitor", [True, False])
def test_many_cells_under_way_at_once(hops: tuple[int, int], from_visitor: bool) -> None:
    joined = Joined(*hops)
    near, far = (joined.visitor, joined.endpoint) if from_visitor else (joined.endpoint, joined.visitor)
    end = joined.visitor_end if from_visitor else joined.endpoint_end
    sent = [near.payload() for _ in range(10)]
    bodies = [near.client.send(end, RELAY, payload)[0] for payload in sent]
    arrived = [joined.across(body, from_visitor=from_visitor) for body in bodies]
    assert [far.client.receive(RELAY, body)[1] for body in arrived] == sent


@both
@pytest.mark.parametrize("from_visitor", [True, False])
@pytest.mark.parametrize("place", [0, TAG, BODY - 1])
def test_a_flipped_bit_kills_the_far_end_for_good(
    hops: tuple[int, int], from_visitor: bool, place: int
) -> None:
    joined = Joined(*hops)
    near, far = (joined.visitor, joined.endpoint) if from_visitor else (joined.endpoint, joined.visitor)
    end = joined.visitor_end if from_visitor else joined.endpoint_end
    body, _ = near.client.send(end, RELAY, near.payload())
    body = body[:place] + bytes((body[place] ^ 0x80,)) + body[place + 1 :]
    with pytest.raises(CryptoError):
        far.client.receive(RELAY, joined.across(body, from_visitor=from_visitor))
    body, _ = near.client.send(end, RELAY, near.payload())
    with pytest.raises(CryptoError):
        far.client.receive(RELAY, joined.across(body, from_visitor=from_visitor))


def test_the_command_is_authenticated_end_to_end() -> None:
    joined = Joined(1, 1)
    body, _ = joined.visitor.client.send(joined.visitor_end, RELAY, joined.visitor.payload())
    arrived = joined.across(body, from_visitor=True, command=RELAY_EARLY)
    with pytest.raises(CryptoError):
        joined.endpoint.client.receive(RELAY_EARLY, arrived)


def test_a_rendezvous_point_that_passes_the_cell_that_came_breaks_the_circuit() -> None:
    """What goes over is what the RP's own Enc gave: tampering before it must not survive."""
    joined = Joined(1, 1)
    body, _ = joined.visitor.client.send(joined.visitor_end, RELAY, joined.visitor.payload())
    *before_rp, _ = joined.visitor.relays[0].outbound(RELAY, body[:TAG], body[TAG:])
    arrived = joined.endpoint.inward(b"".join(before_rp), len(joined.endpoint.relays))
    with pytest.raises(CryptoError):
        joined.endpoint.client.receive(RELAY, arrived)


def test_forward_is_from_the_visitor_to_the_endpoint() -> None:
    """An endpoint that took the two states the other way round would understand nothing."""
    circuit = Circuit(0)
    forward, backward = circuit.random(LAYER_STATE), circuit.random(LAYER_STATE)
    visitor, endpoint = ClientLayers(), ClientLayers()
    visitor.join_as_visitor(forward, backward)
    endpoint.join_as_endpoint(backward, forward)
    with pytest.raises(CryptoError):
        endpoint.receive(RELAY, visitor.send(0, RELAY, circuit.payload())[0])


def test_joining_is_once_and_last() -> None:
    for join in ("join_as_visitor", "join_as_endpoint"):
        circuit = Circuit(2)
        assert len(circuit.client) == 2
        getattr(circuit.client, join)(bytes(LAYER_STATE), bytes(LAYER_STATE))
        assert len(circuit.client) == 3
        for again in ("join_as_visitor", "join_as_endpoint", "add_hop"):
            with pytest.raises(ValueError, match="joined"):
                getattr(circuit.client, again)(bytes(LAYER_STATE), bytes(LAYER_STATE))
