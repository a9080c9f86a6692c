"""A client by hand: what it builds is a circuit like any other, and what it says arrives as it was said."""

from __future__ import annotations

import pytest

from onionshh.core.link.port import LinkPort
from onionshh.geometry import CELL, HEAD
from onionshh.reasons import Reason
from onionshh.wire.cell import DESTROY, INITIATOR_BIT, RELAY, RELAY_EARLY
from onionshh.wire.framing import build_payload
from simulations.stranger import Stranger
from simulations.world import ANSWER, ASK, Parrot, PureNetwork, PureRelay
from tests.seeded import seeded

ID, OTHER = INITIATOR_BIT | 7, INITIATOR_BIT | 8


def met(relays: int) -> tuple[list[PureRelay], Stranger]:
    net = PureNetwork()
    made = [net.relay() for _ in range(relays)]
    return made, Stranger(net, made[0])


def heard(relay: PureRelay) -> list[bytes]:
    (role,) = relay.roles
    assert isinstance(role, Parrot)
    return [body for _, body in role.heard]


def ask(body: bytes) -> bytes:
    return build_payload(ASK, body, 0, seeded(3))


@pytest.mark.parametrize("count", [1, 2, 3, 4])
def test_it_builds_a_whole_circuit_and_is_heard_at_its_end(count: int) -> None:
    relays, stranger = met(count)
    stranger.build(ID, *relays)
    assert len(stranger.layers[ID]) == count
    stranger.came.clear()
    stranger.say_to(ID, count - 1, ask(b"hello"))
    assert [heard(relay) for relay in relays] == [[]] * (count - 1) + [[b"hello"]]
    ((command, payload),) = stranger.came[ID]  # with its layers taken off
    assert (command, payload[0], payload[HEAD : HEAD + 5]) == (RELAY, ANSWER, b"hello")
    assert not stranger.ended(ID)


def test_it_says_to_the_hop_that_it_means() -> None:
    relays, stranger = met(3)
    stranger.build(ID, *relays[:2])
    stranger.say_to(ID, 2, ask(b"to nobody"))  # no such hop: nothing is said
    assert not stranger.ended(ID)
    assert [heard(relay) for relay in relays] == [[], [], []]
    stranger.say_to(ID, 0, ask(b"to the first"))  # which is extended, and takes nothing more for itself
    assert relays[0].drops.counts[Reason.MESSAGE_NOT_ACCEPTED] == 1
    assert stranger.ended(ID)


def test_it_hears_that_a_circuit_ended_and_which() -> None:
    relays, stranger = met(1)
    stranger.build(ID, relays[0])
    stranger.build(OTHER, relays[0])
    stranger.say(ID, RELAY_EARLY, bytes(509))  # noise for its only relay, which has no hop behind it
    assert stranger.ended(ID)
    assert not stranger.ended(OTHER)
    stranger.say_to(OTHER, 0, ask(b"still here"))
    assert heard(relays[0]) == [b"still here"]


def test_an_extend_may_go_in_cells_that_are_not_early() -> None:
    relays, stranger = met(2)
    stranger.create(ID, relays[0])
    stranger.extend(ID, relays[1], plain=(1,))
    assert relays[0].drops.counts[Reason.EXTEND_NOT_EARLY] == 1
    assert len(stranger.layers[ID]) == 1
    assert stranger.came[ID][-1][0] == DESTROY


def asked() -> list[bytes]:
    """The frames in which a stranger asks for a circuit."""
    net = PureNetwork()
    relay = net.relay()
    stranger = Stranger(net, relay)
    frames: list[bytes] = []

    def look(port: LinkPort, frame: bytes) -> bytes:
        frames.extend([frame] if port is stranger.port else [])
        return frame

    net.touch = look
    stranger.create(ID, relay)
    return frames


def test_it_asks_with_the_same_bytes_in_every_run() -> None:
    assert len(b"".join(asked())) == 3 * CELL
    assert asked() == asked()
