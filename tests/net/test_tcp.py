from __future__ import annotations

import errno
import os
import re
import socket

import pytest
import trio
import trio.testing

from onionshh.net.tcp import NOTSENT_LOWAT_BYTES, PortInUse, TcpDialer, TcpListener, TcpStream
from onionshh.net.transport import READ_BYTES, NoRoom, NothingThere, StreamBroken
from tests.seeded import seeded


async def pair() -> tuple[TcpStream, TcpStream]:
    listener = TcpListener("127.0.0.1", 0)
    near = await TcpDialer().dial(*listener.address)
    far = await listener.accept()
    listener.close()
    return near, far


def same_socket(stream: TcpStream) -> socket.socket:
    """The stream's socket once more, as the system has it."""
    return socket.socket(fileno=os.dup(stream.fileno()))


async def exactly(stream: TcpStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive_some()
        assert 1 <= len(part) <= READ_BYTES
        data += part
    return data


async def test_bytes_go_both_ways_and_then_the_end() -> None:
    near, far = await pair()
    assert near.send_some(b"there") == 5
    assert far.send_some(b"back") == 4
    assert await exactly(far, 5) == b"there"
    assert await exactly(near, 4) == b"back"
    assert (near.host, far.host) == ("127.0.0.1", "127.0.0.1")
    near.close()
    assert await far.receive_some() == b""
    far.close()


async def test_a_send_never_waits_and_takes_no_more_than_fits() -> None:
    near, far = await pair()
    data = seeded(1)(8 * 1024 * 1024)
    sent = 0
    while (took := near.send_some(data[sent : sent + 65536])) > 0:
        sent += took
    assert 0 < sent < len(data)
    assert near.send_some(data[sent:]) == 0
    got = b""
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def rest() -> None:
            nonlocal sent
            while sent < len(data):
                await near.wait_sendable()
                sent += near.send_some(data[sent : sent + 65536])

        got = await exactly(far, len(data))
    assert got == data
    near.close()
    far.close()


async def test_little_waits_in_the_kernel() -> None:
    near, far = await pair()
    option = getattr(socket, "TCP_NOTSENT_LOWAT", None)
    with same_socket(near) as sock:
        if option is not None:
            assert sock.getsockopt(socket.IPPROTO_TCP, option) == NOTSENT_LOWAT_BYTES
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
    near.close()
    far.close()


async def test_closing_wakes_whoever_waits() -> None:
    near, far = await pair()
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def read() -> None:
            with pytest.raises(StreamBroken):
                await near.receive_some()

        await trio.testing.wait_all_tasks_blocked()
        near.close()
    far.close()


async def test_a_closed_stream_says_so_ever_after() -> None:
    near, far = await pair()
    near.close()
    near.close()
    for _ in range(2):
        with pytest.raises(StreamBroken):
            near.send_some(b"x")
        with pytest.raises(StreamBroken):
            await near.receive_some()
        with pytest.raises(StreamBroken):
            await near.wait_sendable()
    far.close()


async def test_a_reset_is_a_broken_stream() -> None:
    near, far = await pair()
    with same_socket(far) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    far.close()
    with pytest.raises(StreamBroken):
        await near.receive_some()
    with pytest.raises(StreamBroken):
        for _ in range(3):
            near.send_some(b"x")
    near.close()


async def test_nobody_listens() -> None:
    with socket.socket() as held:  # held, so that nobody else listens there meanwhile
        held.bind(("127.0.0.1", 0))
        with pytest.raises(NothingThere) as caught:
            await TcpDialer().dial(*held.getsockname())
        assert str(caught.value) == "nothing listens there"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.EHOSTUNREACH, "no way leads there"),
        (errno.ENETUNREACH, "no way leads there"),
        (errno.ETIMEDOUT, "no answer in time"),
        (errno.EMFILE, os.strerror(errno.EMFILE)),
    ],
)
async def test_why_there_is_no_connection_is_said_without_an_address(
    monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    async def refuse(*_: object, **__: object) -> None:
        raise OSError(number, "Error connecting to ('127.0.0.1', 9): as trio says it")

    monkeypatch.setattr(trio.socket, "getaddrinfo", refuse)
    with pytest.raises(StreamBroken) as caught:
        await TcpDialer().dial("127.0.0.1", 9)
    assert not isinstance(caught.value, NothingThere)
    assert str(caught.value) == said


@pytest.mark.parametrize("host", ["a" * 64, "a" * 300, "."])
async def test_a_host_that_is_no_address(host: str) -> None:
    with pytest.raises(StreamBroken, match="there is no host of this name"):
        await TcpDialer().dial(host, 1)


async def test_every_connection_comes_from_the_address_asked_for() -> None:
    listener = TcpListener("127.0.0.1", 0)
    near = await TcpDialer("127.0.0.9").dial(*listener.address)
    far = await listener.accept()
    assert far.host == "127.0.0.9"
    for one in (near, far, listener):
        one.close()


async def test_an_address_that_is_not_ours_dials_nothing() -> None:
    listener = TcpListener("127.0.0.1", 0)
    with pytest.raises(StreamBroken):
        await TcpDialer("203.0.113.7").dial(*listener.address)
    listener.close()


async def test_a_cancelled_dial_leaves_no_socket_open() -> None:
    listener = TcpListener("127.0.0.1", 0)
    with trio.move_on_after(0):
        await TcpDialer().dial(*listener.address)
    listener.close()
    # -W error turns a socket that nobody closed into a failure.


async def test_a_port_in_use_is_told_in_one_sentence() -> None:
    listener = TcpListener("127.0.5.7", 0)  # an address where nobody else takes the port meanwhile
    host, port = listener.address
    with pytest.raises(PortInUse, match=f"{host}:{port} is in use by another program"):
        TcpListener(host, port)
    listener.close()
    TcpListener(host, port).close()


@pytest.mark.parametrize("host", ["203.0.113.7", "a" * 64, "."])
async def test_an_address_to_listen_on_that_is_not_ours(host: str) -> None:
    what = f"{host} is not an address of this machine" if host[0] == "2" else f"Listening on {host}:0 failed"
    with pytest.raises(PortInUse, match=re.escape(what)):
        TcpListener(host, 0)


async def test_a_closed_listener_says_so() -> None:
    listener = TcpListener("127.0.0.1", 0)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def accept() -> None:
            with pytest.raises(StreamBroken):
                await listener.accept()

        await trio.testing.wait_all_tasks_blocked()
        listener.close()
    with pytest.raises(StreamBroken):
        await listener.accept()


async def test_ipv6() -> None:
    try:
        listener = TcpListener("::1", 0)
    except PortInUse:
        pytest.skip("no IPv6 here")
    near = await TcpDialer().dial(*listener.address)
    far = await listener.accept()
    assert far.host == "::1"
    for one in (near, far, listener):
        one.close()


async def test_an_error_of_one_new_connection_is_no_end_of_listening(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """accept(2) passes on what went wrong with the connection itself."""
    listener = TcpListener("127.0.0.1", 0)
    accept = socket.socket.accept
    faults = [errno.EPROTO]

    def faulty(sock: socket.socket) -> tuple[socket.socket, object]:
        if faults:
            raise OSError(faults.pop(), "protocol error")
        return accept(sock)

    monkeypatch.setattr(socket.socket, "accept", faulty)
    near = await TcpDialer().dial(*listener.address)
    far = await listener.accept()
    assert not faults
    assert near.send_some(b"hello") == 5
    assert await exactly(far, 5) == b"hello"
    for one in (near, far, listener):
        one.close()


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM])
async def test_a_system_that_has_no_room_is_told_apart(monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    listener = TcpListener("127.0.0.1", 0)

    def full(sock: socket.socket) -> tuple[socket.socket, object]:
        raise OSError(number, "no room")

    near = await TcpDialer().dial(*listener.address)
    monkeypatch.setattr(socket.socket, "accept", full)
    with pytest.raises(NoRoom, match="no room"):
        await listener.accept()
    near.close()
    listener.close()
