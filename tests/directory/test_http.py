"""The HTTP server: requests whole, in pieces, slow, too large, malformed; one fault ends one connection."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from onionshh.directory.http import Limits, listen, serve_connection, serve_http
from onionshh.errors import Error

LIMITS = Limits(head_bytes=2000, body_bytes=1000, connections=4, connections_per_ip=3)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with what it was asked; /big with a megabyte; /fault with a fault."""
    message = await receive()
    if scope["path"] == "/fault":
        raise RuntimeError("a fault in the application")
    body = b"x" * 1_000_000 if scope["path"] == "/big" else message["body"]
    told = f"{scope['method']} {scope['path']}?{scope['query_string'].decode()} {scope['client'][0]}"
    await send({"type": "http.response.start", "status": 200, "headers": [(b"x-told", told.encode())]})
    await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def connected(limits: Limits = LIMITS) -> AsyncIterator[trio.abc.Stream]:
    """Our end of a connection to the server, in memory."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await serve_connection(
                echo, theirs, peer=("192.0.2.1", 4711), wall=lambda: 1_700_000_000, limits=limits
            )

        nursery.start_soon(serve)
        yield ours
        await ours.aclose()


async def read_all(stream: trio.abc.Stream) -> bytes:
    data = bytearray()
    with contextlib.suppress(trio.BrokenResourceError):
        while part := await stream.receive_some(65536):
            data += part
    return bytes(data)


POST = b"POST /a%20b?q=1 HTTP/1.1\r\nHost: d\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
CHUNKED = b"POST / HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n"
GET = b"GET / HTTP/1.1\r\nHost: d\r\n\r\n"


@pytest.mark.parametrize("size", [1, 7, 10_000])
async def test_a_request_in_pieces_of_any_size(autojump_clock: MockClock, size: int) -> None:
    async with connected() as stream:
        for at in range(0, len(POST), size):
            await stream.send_all(POST[at : at + size])
        answer = await read_all(stream)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"x-told: POST /a b?q=1 192.0.2.1" in head
    assert b"content-length: 5" in head.lower()
    assert b"\r\ndate: tue, 14 nov 2023 22:13:20 gmt" in head.lower()
    assert body == b"hello"


async def test_requests_one_after_another_and_all_at_once(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        await stream.send_all(GET + GET + POST)
        assert (await read_all(stream)).count(b"HTTP/1.1 200") == 3


async def test_head_has_no_body(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        await stream.send_all(b"HEAD /big HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n")
        answer = await read_all(stream)
    assert answer.endswith(b"\r\n\r\n")
    assert b"content-length: 1000000" in answer.lower()


async def test_a_client_that_asks_first_is_told_to_go_on(autojump_clock: MockClock) -> None:
    async with connected() as stream:
        await stream.send_all(POST.replace(b"Host", b"Expect: 100-continue\r\nHost").removesuffix(b"hello"))
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 100 ")
        await stream.send_all(b"hello")
        assert (await read_all(stream)).endswith(b"hello")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00 junk\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"x" * 3000, b"431"),
        (b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, b"413"),
        (CHUNKED + b"400\r\n" + b"x" * 1024, b"413"),
    ],
    ids=["tls", "no host", "length", "head", "body", "chunks"],
)
async def test_what_is_refused(autojump_clock: MockClock, request_: bytes, status: bytes) -> None:
    async with connected() as stream:
        await stream.send_all(request_)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 " + status)


@pytest.mark.parametrize("sent", [b"", b"GET / HT", POST[:-1]], ids=["nothing", "half a head", "half a body"])
async def test_a_silent_peer_is_let_go(autojump_clock: MockClock, sent: bytes) -> None:
    start = trio.current_time()
    async with connected() as stream:
        if sent:
            await stream.send_all(sent)
        assert await read_all(stream) == b""
    assert trio.current_time() - start == pytest.approx(LIMITS.request_seconds)


async def test_a_byte_a_second_is_too_slow(autojump_clock: MockClock) -> None:
    start = trio.current_time()
    async with connected() as stream:
        with pytest.raises(trio.BrokenResourceError):
            for byte in POST:
                await stream.send_all(bytes([byte]))
                await trio.sleep(1)
    assert trio.current_time() - start <= LIMITS.request_seconds + 1


async def test_a_peer_that_stops_reading_is_let_go(autojump_clock: MockClock) -> None:
    """Over a real socket, since only there does a send wait; time is virtual and passes when all wait."""
    async with serving() as port:
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(GET.replace(b"/ ", b"/big ") * 30)
            await trio.sleep(2 * LIMITS.send_seconds)
            assert len(await read_all(stream)) < 25_000_000


async def test_an_end_waits_for_nobody(autojump_clock: MockClock) -> None:
    """Cancelled while a peer does not read: over at once."""
    async with serving() as port:
        stream = await trio.open_tcp_stream("127.0.0.1", port)
        await stream.send_all(GET.replace(b"/ ", b"/big ") * 30)
        await trio.sleep(1)
        before = trio.current_time()
    assert trio.current_time() == before
    await stream.aclose()


async def test_a_fault_ends_its_connection_and_no_other(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with connected() as stream:
        await stream.send_all(GET.replace(b"/ ", b"/fault "))
        assert await read_all(stream) == b""
    assert "a request failed inside the directory" in caplog.text
    async with connected() as stream:
        await stream.send_all(POST)
        assert (await read_all(stream)).endswith(b"hello")


@asynccontextmanager
async def serving(limits: Limits = LIMITS) -> AsyncIterator[int]:
    """A server on a free port of loopback: the port."""
    listener = listen("127.0.0.1", 0)

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await serve_http(echo, listener, wall=lambda: 0, limits=limits, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield int(listener.getsockname()[1])
        nursery.cancel_scope.cancel()


@pytest.mark.parametrize(("per_ip", "served"), [(3, 3), (0, 4)])
async def test_connections_are_counted(autojump_clock: MockClock, per_ip: int, served: int) -> None:
    """Three an address, four in all; what is over is closed unread, and an ended one makes room."""
    limits = Limits(connections=4, connections_per_ip=per_ip)
    async with serving(limits) as port:
        streams = [await trio.open_tcp_stream("127.0.0.1", port) for _ in range(6)]
        answers = []
        for stream in streams:
            with contextlib.suppress(trio.BrokenResourceError):
                await stream.send_all(GET)
            try:
                answers.append(await stream.receive_some(1000))
            except trio.BrokenResourceError:
                answers.append(b"")
        assert [bool(answer) for answer in answers] == [True] * served + [False] * (6 - served)
        await streams[0].aclose()
        await trio.sleep(1)
        async with await trio.open_tcp_stream("127.0.0.1", port) as again:
            await again.send_all(POST)
            assert (await read_all(again)).endswith(b"hello")
        for stream in streams:
            await stream.aclose()


def test_a_port_in_use_is_one_sentence() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as taken:
        with pytest.raises(Error, match=r"Cannot listen on 127\.0\.0\.1:\d+: Address already in use\. Stop"):
            listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(Error, match=r"Cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
