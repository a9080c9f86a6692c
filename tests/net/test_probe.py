"""A check of a relay says in words why it failed, and never fails itself (SPEC 8)."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.directory.entry import WHY_CHARACTERS
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.memory import MemoryListener, MemoryNetwork
from onionshh.net.probe import LinkProbe
from onionshh.net.tcp import ONLY_TOR
from onionshh.reasons import Reason
from onionshh.wire.descriptor import ONION, Address, RelayDescriptor
from tests.net.world import WALL, World
from tests.seeded import seeded


async def test_a_relay_proves_its_keys_or_not(autojump_clock: MockClock) -> None:
    world = World()
    relay = world.relay()

    async def check(onion_key: bytes, addresses: tuple[Address, ...] = relay.row.addresses) -> str | None:
        descriptor = RelayDescriptor(
            identity=relay.identity,
            onion_key=onion_key,
            nickname="x",
            addresses=addresses,
            published=WALL,
            bandwidth=1,
        )
        probe = LinkProbe(
            dialer=world.network.dialer("9.9.9.9"),
            clock=Clock(WALL),
            chance=Chance(seeded(5)),
        )
        assert (probe.slower_seconds, probe.reaches_onions) == (0.0, False)
        probed = await probe(descriptor, world.params)
        untried = {address: ONLY_TOR for address in addresses if address.kind == ONION}
        missed = dict.fromkeys(relay.row.addresses, probed.why) if probed.why else {}
        assert dict(probed.missed) == missed | untried
        return probed.why or None

    async with world.running():
        assert await check(relay.onion.public) is None
        service = Address.of("a2" * 28 + ".onion", 9001)
        assert await check(relay.onion.public, (*relay.row.addresses, service)) is None
        assert await check(bytes(32)) == "the onion key that it published is not valid"
        wrong = await check(b"\t" + bytes(31))
        assert wrong is not None
        where = str(relay.row.addresses[0])
        assert wrong == CLOSED.replace("X", where)
        relay.links.rest(Reason.HIBERNATING)
        assert await check(relay.onion.public) == CLOSED.replace("X", where)


def descriptor(*addresses: Address) -> RelayDescriptor:
    return RelayDescriptor(
        identity=RelayId(bytes(32)),
        onion_key=b"\t" + bytes(31),
        nickname="x",
        addresses=addresses,
        published=WALL,
        bandwidth=1,
    )


async def why_not(network: MemoryNetwork, listener: MemoryListener | None, answer: bytes | None) -> str:
    """What is said of a program that answers so, and then ends the connection (None: it says nothing)."""
    address = Address.of("8.0.1.1", listener.address[1] if listener is not None else 9)
    probe = LinkProbe(dialer=network.dialer("9.9.9.9"), clock=Clock(WALL), chance=Chance(seeded(5)))

    async def serve() -> None:
        assert listener is not None
        stream = await listener.accept()
        await stream.receive_some()
        if answer is not None:
            if answer:
                stream.send_some(answer)
            stream.close()

    async with trio.open_nursery() as nursery:
        if listener is not None:
            nursery.start_soon(serve)
        probed = await probe(descriptor(address), Params())
        nursery.cancel_scope.cancel()
    assert probed.missed == {address: probed.why}
    return probed.why.replace(str(address), "X")


CLOSED = (
    "what listens at X ends the connection without a word: another program, a relay with other keys, or this"
    " one while it hibernates"
)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "another program answers at X, or a relay with other keys"),
        (b"?" * 10_000, "another program answers at X, or a relay with other keys"),
        (b"", CLOSED),
        (None, "no answer came from X within 10 seconds"),
    ],
    ids=["a web server", "much", "closed", "silent"],
)
async def test_what_answers_and_is_not_the_relay_is_said_in_one_sentence(
    autojump_clock: MockClock, answer: bytes | None, said: str
) -> None:
    network = MemoryNetwork()
    assert await why_not(network, network.listen("8.0.1.1"), answer) == said


async def test_nothing_that_listens_is_said_in_one_sentence(autojump_clock: MockClock) -> None:
    assert await why_not(MemoryNetwork(), None, None) == "nothing listens at X"


def test_the_longest_sentence_is_kept_whole() -> None:
    longest = Address.of("a2" * 28 + ".onion", 65535)
    assert len(CLOSED.replace("X", str(longest))) <= WHY_CHARACTERS
