from __future__ import annotations

import pytest
import trio
import trio.testing

from onionshh.net.memory import BUFFER_BYTES, MemoryNetwork, MemoryStream
from onionshh.net.transport import READ_BYTES, StreamBroken


async def pair(net: MemoryNetwork | None = None) -> tuple[MemoryStream, MemoryStream]:
    net = net or MemoryNetwork()
    listener = net.listen("b")
    near = await net.dialer("a").dial(*listener.address)
    return near, await listener.accept()


async def test_bytes_go_both_ways_and_then_the_end() -> None:
    near, far = await pair()
    assert (near.host, far.host) == ("b", "a")
    near.send_some(b"there")
    far.send_some(b"back")
    near.send_some(b" and on")
    assert await far.receive_some() == b"there and on"
    assert await near.receive_some() == b"back"
    near.send_some(b"last words")
    near.close()
    assert await far.receive_some() == b"last words"
    assert await far.receive_some() == b""
    with pytest.raises(StreamBroken):
        far.send_some(b"x")


async def test_a_pipe_holds_so_much_and_a_read_takes_so_much() -> None:
    near, far = await pair()
    assert near.send_some(bytes(2 * BUFFER_BYTES)) == BUFFER_BYTES
    assert near.send_some(b"x") == 0
    async with trio.open_nursery() as nursery:
        woken = trio.Event()

        @nursery.start_soon
        async def wait() -> None:
            await near.wait_sendable()
            woken.set()

        await trio.testing.wait_all_tasks_blocked()
        assert not woken.is_set()
        assert len(await far.receive_some()) == READ_BYTES
        await woken.wait()
    assert near.send_some(bytes(BUFFER_BYTES)) == READ_BYTES


async def test_closing_wakes_readers_and_writers() -> None:
    near, far = await pair()
    near.send_some(bytes(BUFFER_BYTES))
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def write() -> None:
            with pytest.raises(StreamBroken):
                await near.wait_sendable()

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(StreamBroken):
                await near.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        near.close()
    assert len(await far.receive_some()) == READ_BYTES


async def test_nobody_listens() -> None:
    net = MemoryNetwork()
    listener = net.listen("b")
    listener.close()
    with pytest.raises(StreamBroken):
        await net.dialer("a").dial(*listener.address)
    with pytest.raises(StreamBroken):
        await listener.accept()


async def test_a_host_that_is_cut_off_loses_its_streams_and_gets_no_new_ones() -> None:
    net = MemoryNetwork()
    listener = net.listen("b")
    near = await net.dialer("a").dial(*listener.address)
    far = await listener.accept()
    beside = await net.dialer("c").dial(*listener.address)
    net.cut("a")
    with pytest.raises(StreamBroken):
        near.send_some(b"x")
    with pytest.raises(StreamBroken):
        far.send_some(b"x")
    with pytest.raises(StreamBroken):
        await net.dialer("a").dial(*listener.address)
    assert beside.send_some(b"x") == 1
    net.heal("a")
    await net.dialer("a").dial(*listener.address)
    assert net.dialled == [("a", "b"), ("c", "b"), ("a", "b")]


async def test_a_host_that_is_held_takes_no_byte_until_it_is_released() -> None:
    net = MemoryNetwork()
    near, far = await pair(net)
    near.send_some(b"before")
    net.hold("a")
    assert near.send_some(b"x") == far.send_some(b"x") == 0
    assert await far.receive_some() == b"before"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(near.wait_sendable)
        await trio.testing.wait_all_tasks_blocked()
        assert nursery.child_tasks
        net.release("a")
    assert near.send_some(b"after") == 5
    assert await far.receive_some() == b"after"
