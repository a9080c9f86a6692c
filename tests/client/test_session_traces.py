"""What a session leaves: nothing while it pauses, and nothing that relays could compare (SPEC 12). Whole
networks in virtual time."""

from __future__ import annotations

from collections import Counter

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.assemble import assembled
from onionshh.client.node import Node
from onionshh.client.whisper import Whisper
from onionshh.net.memory import MemoryNetwork
from onionshh.net.store import DataDirectory, run_inline
from onionshh.net.transport import Reader, Stream
from tests.client.recorded import noting
from tests.client.world import PATIENCE_SECONDS, QUIET, hosted, small, until
from tests.inside import behind, parts

IDLE_MOST = 60.0
STANDING = {"ready", "consensus", "stub"}
"""What a node holds for whatever comes."""


async def shout(whisper: Whisper) -> bytes | None:
    return whisper.body.upper()


def held(node: Node, besides: set[str] = STANDING) -> Counter[str]:
    """The circuits of a node that belong to somebody, by purpose."""
    return Counter(circuit.purpose for circuit in node.circuits() if circuit.purpose not in besides)


@pytest.mark.parametrize("bodies", [[b"one"], [b"a", b"b", b"c" * 40_000]])
async def test_within_a_minute_both_ends_hold_nothing(bodies: list[bytes], autojump_clock: MockClock) -> None:
    async with (
        small(7, **QUIET) as net,
        hosted(net) as (host, endpoint),
        net.join("visitor") as visitor,
        trio.open_nursery() as nursery,
        visitor.contact(endpoint.address, name="n") as contact,
    ):
        nursery.start_soon(endpoint.serve, shout)
        for number in range(3):
            receipts = [contact.send(body) for body in bodies]
            with trio.fail_after(PATIENCE_SECONDS):
                assert [await receipt.reply() for receipt in receipts] == [body.upper() for body in bodies]
            assert {receipt.resumed for receipt in receipts} == {number > 0}
            await trio.sleep(IDLE_MOST)
            assert held(visitor) == Counter()
            assert set(held(host)) <= {"introducer", "test", "publish"}
            assert not list(behind(contact).lanes)
            assert not list(parts(endpoint).peers.lanes)
        nursery.cancel_scope.cancel()


class Moving:
    """The connections of a machine that can move to another address."""

    def __init__(self, network: MemoryNetwork, host: str) -> None:
        self._network = network
        self._host = host

    @property
    def places(self) -> int:
        return self._network.dialer(self._host).places

    slower_seconds = 0.0
    reaches_onions = False
    trouble = ""

    async def dial(self, host: str, port: int) -> Stream:
        return await self._network.dialer(self._host).dial(host, port)

    def reader(self) -> Reader:
        return self._network.dialer(self._host).reader()

    def move(self, host: str) -> None:
        """What was connected breaks."""
        self._network.cut(self._host)
        self._host = host


async def test_a_visitor_that_moves_goes_on(autojump_clock: MockClock) -> None:
    async with small(7, **QUIET) as net, hosted(net) as (_, endpoint), trio.open_nursery() as nursery:
        nursery.start_soon(endpoint.serve, shout)
        assert net.memory is not None
        dialer = Moving(net.memory, "at home")
        async with assembled(
            net.file,
            folder=DataDirectory(net.folder / "visitor"),
            source=net.source("visitor"),
            dialer=dialer,
            clock=net.clock,
            random_bytes=testing.seeded(5),
            run_blocking=run_inline,
        ) as context:
            node = Node(context)
            async with node.contact(endpoint.address) as contact:
                with trio.fail_after(PATIENCE_SECONDS):
                    assert await contact.ask(b"at home") == b"AT HOME"
                for place in ("train", "office"):
                    receipt = contact.send(b"on the way to " + place.encode())
                    await trio.sleep(0.05)  # it is on its way
                    dialer.move(place)
                    with trio.fail_after(PATIENCE_SECONDS):
                        assert await receipt.reply() is not None
                        after = contact.send(place.encode())
                        assert await after.reply() == place.upper().encode()
                    assert after.resumed
        assert len(parts(endpoint).peers.keeper) == 1
        nursery.cancel_scope.cancel()


PIECE = 8
"""So many equal bytes at any two places are no chance: 2^-64 for each pair."""


def pieces(body: bytes) -> set[bytes]:
    """Every piece of a message that is not one value alone, as zeros are."""
    found = {body[at : at + PIECE] for at in range(len(body) - PIECE + 1)}
    return {piece for piece in found if len(set(piece)) > 1}


async def test_resumptions_have_nothing_in_common_but_the_introducers_key(
    autojump_clock: MockClock,
) -> None:
    """All that introducers and rendezvous points get, of the introduction and of several resumptions, by both
    sides and through several relays: no piece of 8 bytes comes in two messages."""
    async with (
        small(7, **QUIET) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as visitor,
        visitor.contact(endpoint.address, way_back=True) as contact,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(endpoint.serve, shout)
        seen = noting(net)
        with trio.fail_after(PATIENCE_SECONDS):
            assert await contact.ask(b"first") == b"FIRST"
        ways = behind(contact).ways
        assert ways is not None
        await until(lambda: ways.call_us)
        (peer,) = endpoint.peers()
        aiter(contact)
        for number in range(6):
            await trio.sleep(100)
            size = 300 if number % 2 else 0
            receipts = [contact.send(b"the same" + bytes(size)), peer.send(b"the same" + bytes(size))]
            with trio.fail_after(PATIENCE_SECONDS):
                for receipt in receipts:
                    assert (await receipt.final()).status == "delivered"
        keys = {message.auth_key for message in seen.resumed}
        assert len(keys) > 2  # introducers, and ways back
        assert len(seen.resumed) >= 10
        found: Counter[bytes] = Counter()
        for message in seen.resumed:
            found.update(pieces(message.encode().replace(message.auth_key, b"")))
        for answer in set(seen.met):
            found.update(pieces(answer))
        # A cookie comes twice to its point: from whoever waits there, and from whoever comes.
        cookies = {body[at : at + PIECE] for body in seen.met if len(body) == 32 for at in range(25)}
        twice = {piece for piece, times in found.items() if times > 1} - cookies
        assert twice == set()
        assert max(found[piece] for piece in cookies) == 2
        assert len(seen.met) > 10
        nursery.cancel_scope.cancel()
