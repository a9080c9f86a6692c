"""What links need of the network below, over TCP and in memory alike: streams and their readers."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from onionshh.net.memory import BUFFER_BYTES, MemoryNetwork, MemoryReader
from onionshh.net.tcp import TcpDialer, TcpListener, TcpReader
from onionshh.net.transport import READ_BYTES, Dialer, Listener, Reader, Stream, Watched


@dataclass(eq=False)
class Ear:
    """Takes what comes over one stream."""

    stream: Stream
    heard: bytearray = field(default_factory=bytearray)
    calls: int = 0


def hear(ear: Ear) -> None:
    ear.heard += ear.stream.receive_now() or b""


@dataclass
class Pass:
    """Counts what a reader's `work` is called with; `then` is done with each that is ready."""

    then: Callable[[Ear], None] = hear
    more: int = 0
    passes: list[int] = field(default_factory=list)

    def __call__(self, ready: Sequence[Watched]) -> bool:
        self.passes.append(len(ready))
        for one in ready:
            assert isinstance(one, Ear)
            one.calls += 1
            self.then(one)
        self.more -= 1
        return self.more > 0


@asynccontextmanager
async def pairs(tcp: bool, count: int) -> AsyncIterator[tuple[Reader, list[Ear], list[Stream]]]:
    """A reader, and streams whose near ends hang on it."""
    network = MemoryNetwork()
    listener: Listener = TcpListener("127.0.0.1", 0) if tcp else network.listen("b")
    dialer: Dialer = TcpDialer() if tcp else network.dialer("a")
    near, far = [], []
    for _ in range(count):
        near.append(Ear(await dialer.dial(*listener.address)))
        far.append(await listener.accept())
    listener.close()
    try:
        yield dialer.reader(), near, far
    finally:
        for stream in (*far, *(ear.stream for ear in near)):
            stream.close()


@asynccontextmanager
async def running(reader: Reader, work: Pass) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.run, work)
        yield
        nursery.cancel_scope.cancel()


both = pytest.mark.parametrize("tcp", [False, True])


async def settled(done: Callable[[], object]) -> None:
    """Until something is so; bytes over loopback take a moment of the kernel's."""
    with trio.fail_after(5):
        while not done():
            await trio.testing.wait_all_tasks_blocked(0.001)


@both
async def test_all_that_is_ready_comes_in_one_pass(tcp: bool) -> None:
    async with pairs(tcp, 3) as (reader, near, far):
        for ear in near:
            reader.watch(ear)
        work = Pass()
        far[0].send_some(b"one")
        far[2].send_some(b"three")
        async with running(reader, work):
            await settled(lambda: near[2].heard)
            assert [bytes(ear.heard) for ear in near] == [b"one", b"", b"three"]
            assert work.passes == [2]
            far[1].send_some(b"two")
            await settled(lambda: near[1].heard)


@both
async def test_what_was_left_unread_is_ready_again(tcp: bool) -> None:
    async with pairs(tcp, 1) as (reader, (ear,), (far,)):
        reader.watch(ear)
        data = os.urandom(3 * READ_BYTES - 7)
        async with running(reader, Pass()):
            sent = 0
            while sent < len(data):
                sent += far.send_some(data[sent:])
                await trio.testing.wait_all_tasks_blocked(0.001)
            await settled(lambda: len(ear.heard) == len(data))
        assert ear.heard == data


@both
async def test_the_end_is_something_to_read(tcp: bool) -> None:
    async with pairs(tcp, 1) as (reader, (ear,), (far,)):
        reader.watch(ear)
        got: list[bytes | None] = []

        def end(ear: Ear) -> None:
            got.append(ear.stream.receive_now())
            reader.forget(ear)

        async with running(reader, Pass(end)):
            far.close()
            await settled(lambda: got)
        assert got == [b""]


@both
async def test_what_is_forgotten_is_not_called_for(tcp: bool) -> None:
    async with pairs(tcp, 2) as (reader, near, far):
        for ear in near:
            reader.watch(ear)
        reader.forget(near[0])
        reader.forget(near[0])
        async with running(reader, Pass()):
            for stream in far:
                stream.send_some(b"x")
            await settled(lambda: near[1].heard)
            assert near[0].calls == 0
            reader.watch(near[0])
            await settled(lambda: near[0].heard)
            reader.forget(near[0])
            near[0].stream.close()
            reader.forget(near[0])


@both
async def test_room_to_write_is_told_only_to_who_asked(tcp: bool) -> None:
    async with pairs(tcp, 1) as (reader, (ear,), (far,)):
        reader.watch(ear)
        async with running(reader, Pass(lambda ear: reader.watch(ear))):
            await trio.testing.wait_all_tasks_blocked(0.01)
            before = ear.calls
            while ear.stream.send_some(bytes(BUFFER_BYTES)):
                await trio.testing.wait_all_tasks_blocked(0.001)
            assert ear.calls == before
            reader.watch(ear, for_room=True)
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert ear.calls == before
            while far.receive_now():
                await trio.testing.wait_all_tasks_blocked(0.001)
            await settled(lambda: ear.calls > before)
            calls = ear.calls  # the pass asked for room no more
            await trio.testing.wait_all_tasks_blocked(0.01)
            assert ear.calls == calls


@both
async def test_work_that_wants_more_is_called_again_without_anything_ready(tcp: bool) -> None:
    async with pairs(tcp, 1) as (reader, (ear,), (far,)):
        work = Pass(more=3)
        far.send_some(b"x")
        reader.watch(ear)
        async with running(reader, work):
            await settled(lambda: len(work.passes) == 3)
            await trio.testing.wait_all_tasks_blocked(0.01)
        assert work.passes == [1, 0, 0]


async def test_each_reader_takes_its_own_kind_of_stream() -> None:
    async with pairs(True, 1) as (_, (tcp,), _), pairs(False, 1) as (_, (memory,), _):
        with pytest.raises(TypeError):
            TcpReader().watch(memory)
        with pytest.raises(TypeError):
            MemoryReader().watch(tcp)
        TcpReader().forget(memory)
        MemoryReader().forget(tcp)
