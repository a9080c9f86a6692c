"""The driver of one link, between a real stream and a real machine: sends, pauses, ends, deadlines."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.core.base.params import Params
from onionshh.core.link.link import LinkInitiator, LinkResponder, Timer
from onionshh.core.link.outbox import Memory, Outbox
from onionshh.core.link.port import LinkPort
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.geometry import BODY, CELL, FRAME, FRAME_CELLS
from onionshh.ids import RelayId
from onionshh.net.clocks import Clock
from onionshh.net.link_driver import LinkDriver, Sent
from onionshh.net.memory import BUFFER_BYTES, MemoryNetwork, MemoryReader
from onionshh.net.timers import TimerHeap
from onionshh.reasons import Reason
from onionshh.wire.cell import DESTROY, PADDING, RELAY, pack_cell
from tests.net.world import Peer
from tests.seeded import seeded

PARAMS = Params()
SERVER = SigningKey(b"server".ljust(32))
ONION = KeyPair.generate(seeded(2))


class Sink:
    """Keeps what comes; takes no frame that begins with `refused`."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.opened: list[LinkPort] = []
        self.closed: list[LinkPort] = []
        self.refused = b"never"

    def link_opened(self, port: LinkPort, now: float) -> None:
        self.opened.append(port)

    def receive_frame(self, port: LinkPort, frame: bytes, now: float) -> None:
        if frame.startswith(self.refused):
            raise ProtocolError(Reason.LINK_COMMAND)
        self.frames.append(frame)

    def link_closed(self, port: LinkPort, now: float) -> None:
        self.closed.append(port)


class Node:
    """The home of one link."""

    def __init__(self) -> None:
        self.sink = Sink()
        self.reader = MemoryReader()
        self.timers = TimerHeap(Clock(1_700_000_000))
        self.sent = Sent()
        self.memory = Memory(1 << 20)
        self.touched: list[Outbox] = []
        self.reasons: list[str] = []

    def opened(self, driver: LinkDriver, peer: RelayId | None, now: float) -> LinkPort:
        return LinkPort(self.memory, self.touched, peer=peer, initiated=False, host="a", now=now)

    def ended(self, driver: LinkDriver, reason: Reason) -> None:
        self.reasons.append(reason)


class Both:
    """A driver that answers, and the peer that dialled it."""

    def __init__(self, node: Node, driver: LinkDriver, peer: Peer, network: MemoryNetwork) -> None:
        self.node = node
        self.driver = driver
        self.peer = peer
        self.network = network

    @property
    def port(self) -> LinkPort:
        assert self.driver.port is not None
        return self.driver.port

    def from_peer(self, data: bytes) -> None:
        self.peer.push(data)
        self.driver.ready(trio.current_time())

    def queue(self, *cells: bytes) -> None:
        for cell in cells:
            self.port.outbox.push(self.port.control, cell)

    def flush(self) -> None:
        self.driver.flush(trio.current_time())

    def tick(self) -> None:
        self.driver.tick(trio.current_time())

    async def arrived(self, count: int) -> list[bytes]:
        """The cells that the peer got, once there are so many."""
        found: list[bytes] = []
        while len(found) < count:
            await self.peer.read()
            found = [frame[at : at + CELL] for frame in self.peer.frames for at in range(0, len(frame), CELL)]
        return found


async def pair(*, open_it: bool = True) -> Both:
    network, node = MemoryNetwork(), Node()
    listener = network.listen("b")
    theirs = network.connect("a", *listener.address)
    now = trio.current_time()
    ours = await listener.accept()
    identity = RelayId(SERVER.public)
    machine = LinkResponder(
        identity=identity,
        onion_keys=[ONION],
        is_relay=lambda relay: False,
        earliest=0,
        params=PARAMS,
        chance=Chance(seeded(1)),
        now=now,
    )
    dialler = LinkInitiator(
        responder=identity,
        onion_key=ONION.public,
        identity=None,
        params=PARAMS,
        chance=Chance(seeded(3)),
        now=now,
    )
    driver = LinkDriver(stream=ours, machine=machine, home=node)
    both = Both(node, driver, Peer(theirs, dialler), network)
    driver.start(now)
    if open_it:
        both.from_peer(dialler.data_to_send())
        await both.peer.read_until(lambda: both.peer.opened)
        driver.ready(now)
        assert driver.opened.is_set()
    return both


def padding(number: int) -> bytes:
    return pack_cell(0, PADDING, seeded(number)(BODY))


async def test_frames_of_an_open_link_go_to_the_sink(autojump_clock: MockClock) -> None:
    both = await pair()
    assert both.node.sink.opened == [both.port]
    frames = [padding(1), padding(2) + padding(3)]
    before = both.node.sent.bytes_received
    sealed = b"".join(both.peer.machine.seal(frame) for frame in frames)
    both.from_peer(sealed)
    assert both.node.sink.frames == frames
    assert (before > 0, both.node.sent.bytes_received - before) == (True, len(sealed))


async def test_what_waits_leaves_in_as_few_frames_as_hold_it(autojump_clock: MockClock) -> None:
    both = await pair()
    cells = [padding(number) for number in range(FRAME_CELLS + 3)]
    both.queue(*cells)
    both.flush()
    assert (both.node.sent.cells, both.node.sent.frames) == (len(cells), 2)
    assert both.node.sent.bytes > len(cells) * CELL
    assert await both.arrived(len(cells)) == cells
    both.flush()
    assert both.node.sent.frames == 2


async def test_what_the_network_does_not_take_waits_and_goes_first(autojump_clock: MockClock) -> None:
    both = await pair()
    cells = [padding(number) for number in range(2 * BUFFER_BYTES // CELL)]
    both.queue(*cells)
    both.flush()
    assert 0 < both.driver.unsent_bytes <= FRAME
    frames = both.node.sent.frames
    both.flush()  # not before there is room
    assert both.node.sent.frames == frames
    assert both.driver.timers.at[Timer.STUCK] == trio.current_time() + PARAMS.link_dead_seconds
    while both.driver.unsent_bytes:
        await both.peer.read()
        both.driver.ready(trio.current_time())
    assert both.driver.timers.at[Timer.STUCK] == float("inf")
    assert await both.arrived(len(cells)) == cells


async def test_a_network_that_takes_nothing_ends_the_link(autojump_clock: MockClock) -> None:
    both = await pair()
    both.queue(*(padding(number) for number in range(2 * BUFFER_BYTES // CELL)))
    both.flush()
    for _ in range(3):
        assert both.driver.reason is None
        await trio.sleep(PARAMS.link_dead_seconds / 3)
        both.from_peer(both.peer.machine.seal(padding(1)))  # it talks, and does not read
        both.tick()
    assert both.node.reasons == [Reason.LINK_STUCK]
    assert both.driver.unsent_bytes == 0


async def test_while_it_does_not_read_the_peer_owes_nothing(autojump_clock: MockClock) -> None:
    both = await pair()
    frame = both.peer.machine.seal(padding(1))
    both.from_peer(frame[:100])
    both.driver.pause()
    both.peer.push(frame[100:])
    for _ in range(10):
        await trio.sleep(12)
        both.port.legs[7] = "a circuit"
        both.tick()
    await trio.sleep(9)
    both.driver.resume(trio.current_time())
    await trio.sleep(9)
    both.tick()
    assert both.driver.reason is None
    await trio.sleep(1)
    both.tick()
    assert both.node.reasons == [Reason.FRAME_TIMEOUT]


async def test_half_a_frame_is_due_before_what_was_awaited(autojump_clock: MockClock) -> None:
    both = await pair()
    now = trio.current_time()
    both.driver.timers.at[Timer.PADDING] = now + 100.0
    both.node.timers.add(both.driver)
    assert both.driver.timers.awaited == now + PARAMS.link_dead_seconds
    both.from_peer(both.peer.machine.seal(padding(1))[:100])
    assert both.driver.timers.awaited == now + PARAMS.frame_seconds


async def test_a_link_without_circuits_ends_so_long_after_the_last(autojump_clock: MockClock) -> None:
    both = await pair()
    both.port.legs[7] = "a circuit"
    start = trio.current_time()
    both.tick()
    assert both.driver.timers.at[Timer.IDLE] == float("inf")
    del both.port.legs[7]
    both.port.empty_since = start + 3.0
    await trio.sleep(5)
    both.tick()
    assert both.driver.timers.at[Timer.IDLE] == start + 3.0 + PARAMS.link_idle_seconds
    both.port.creating[8] = "half a circuit"
    both.tick()
    assert both.driver.timers.at[Timer.IDLE] == float("inf")


async def test_padding_goes_out_only_if_nothing_else_waits(autojump_clock: MockClock) -> None:
    both = await pair()
    await trio.sleep(9.6)
    both.queue(padding(1))
    both.tick()
    both.flush()
    assert len(await both.arrived(1)) == 1
    assert both.node.sent.cells == 1
    await trio.sleep(9.6)
    both.tick()
    both.flush()
    assert both.node.sent.cells == 2


async def test_use_is_circuits_and_then_how_long_nothing_was_heard(autojump_clock: MockClock) -> None:
    half_open, one, other = await pair(open_it=False), await pair(), await pair()
    start = trio.current_time()
    await trio.sleep(2)
    assert half_open.driver.in_use() == one.driver.in_use() == (0, start)
    other.port.legs[7] = "a circuit"
    other.from_peer(other.peer.machine.seal(padding(1)))
    assert other.driver.in_use() == (1, start + 2)
    one.port.empty_since = start + 1
    assert min((one.driver, other.driver, half_open.driver), key=LinkDriver.in_use) is half_open.driver


async def test_closing_sends_what_fits_and_abandoning_nothing(autojump_clock: MockClock) -> None:
    for send in (True, False):
        both = await pair()
        both.port.send(7, DESTROY, bytes(BODY))
        now = trio.current_time()
        if send:
            both.driver.close(Reason.NO_ROOM, now)
        else:
            both.driver.abandon(Reason.MEMORY, now)
        both.driver.close(Reason.LINK_IDLE, now)
        await both.peer.ends()
        assert len(both.peer.frames) == send
        assert both.node.reasons == [Reason.NO_ROOM if send else "memory"]
        assert both.node.sink.closed == [both.port]


async def test_a_frame_that_no_sink_takes_ends_the_link_and_those_behind_it_are_not_looked_at(
    autojump_clock: MockClock,
) -> None:
    both = await pair()
    bad = pack_cell(0, RELAY, bytes(BODY))
    both.node.sink.refused = bad
    seal = both.peer.machine.seal
    both.from_peer(seal(padding(1)) + seal(bad) + seal(padding(2)))
    assert both.node.sink.frames == [padding(1)]
    assert both.node.reasons == [both.driver.reason] == [Reason.LINK_COMMAND]


@pytest.mark.parametrize("is_open", [False, True])
async def test_a_stream_that_breaks_ends_the_link_once(autojump_clock: MockClock, is_open: bool) -> None:
    both = await pair(open_it=is_open)
    both.network.cut("a")
    assert both.driver.ready(trio.current_time()) == 0
    assert both.node.reasons == [Reason.LINK_ENDED]
    assert both.driver.opened.is_set()
    assert both.driver.ready(trio.current_time()) == 0
    both.driver.resume(trio.current_time())
    both.flush()
    assert len(both.node.reasons) == 1
    assert both.node.sink.closed == both.node.sink.opened
