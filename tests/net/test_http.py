"""The HTTP server: requests whole, in pieces, slow, too large, malformed; one fault ends one connection."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import resource
import socket
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from onionshh.directory.app import app
from onionshh.directory.authority import DirectoryAuthority
from onionshh.errors import Error
from onionshh.net.clocks import Clock
from onionshh.net.http import (
    RESERVED_DESCRIPTORS,
    Asgi,
    Limits,
    listen,
    serve_connection,
    serve_http,
)
from onionshh.net.store import run_inline
from tests.directory.world import WALL, Prober, one_machine, store_in
from tests.seeded import seeded

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
async def connected(limits: Limits = LIMITS, app: Asgi = echo) -> AsyncIterator[trio.abc.Stream]:
    """Our end of a connection to the server, in memory."""
    ours, theirs = memory_stream_pair()
    async with trio.open_nursery() as nursery:

        async def serve() -> None:
            await serve_connection(
                app, theirs, peer=("192.0.2.1", 4711), wall=lambda: 1_700_000_000, limits=limits
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
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
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
        assert (await stream.receive_some(1000)).startswith(b"HTTP/1.1 100 Continue\r\n")
        await stream.send_all(b"hello")
        assert (await read_all(stream)).endswith(b"hello")


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"\x16\x03\x01\x02\x00 junk\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\n\r\n", b"400 Bad Request\r\n"),  # no Host
        (b"GET / HTTP/1.1\r\nHost: d\r\nContent-Length: -1\r\n\r\n", b"400"),
        (b"GET http://[ HTTP/1.1\r\nHost: d\r\n\r\n", b"400"),
        (b"GET //[::1 HTTP/1.1\r\nHost: [\r\n\r\n", b"200 OK\r\n"),
        (
            b"GET / HTTP/1.1\r\nHost: d\r\nX: " + b"x" * 3000,
            b"431 Request Header Fields Too Large\r\n",
        ),
        (b"POST / HTTP/1.1\r\nHost: d\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001, b"413"),
        (CHUNKED + b"400\r\n" + b"x" * 1024, b"413"),
    ],
    ids=["tls", "no host", "length", "target", "path", "head", "body", "chunks"],
)
async def test_what_is_refused(autojump_clock: MockClock, request_: bytes, status: bytes) -> None:
    async with connected() as stream:
        await stream.send_all(request_.replace(b"\r\nHost: [", b"\r\nConnection: close\r\nHost: ["))
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
    assert "a request failed inside the server" in caplog.text
    async with connected() as stream:
        await stream.send_all(POST)
        assert (await read_all(stream)).endswith(b"hello")


@asynccontextmanager
async def serving(limits: Limits = LIMITS, app: Asgi = echo) -> AsyncIterator[int]:
    """A server on a free port of loopback: the port."""
    listener = listen("127.0.0.1", 0)

    async def serve(task_status: trio.TaskStatus[None]) -> None:
        await serve_http(app, listener, wall=lambda: 0, limits=limits, task_status=task_status)

    async with trio.open_nursery() as nursery:
        await nursery.start(serve)
        yield int(listener.getsockname()[1])
        nursery.cancel_scope.cancel()


async def opened(port: int, host: str = "127.0.0.1") -> trio.SocketStream:
    """A connection from this address of loopback, accepted."""
    stream = await trio.open_tcp_stream("127.0.0.1", port, local_address=host)
    await trio.sleep(0.01)
    return stream


async def is_open(stream: trio.abc.Stream) -> bool:
    """Whether it still answers."""
    try:
        await stream.send_all(GET)
        return bool(await stream.receive_some(1000))
    except trio.BrokenResourceError:
        return False


@pytest.mark.parametrize(("per_ip", "places"), [(3, 3), (0, 4)])
async def test_who_comes_when_all_places_are_taken_gets_that_of_the_idlest(
    autojump_clock: MockClock, per_ip: int, places: int
) -> None:
    """Three an address, four in all."""
    async with serving(Limits(connections=4, connections_per_ip=per_ip)) as port:
        streams = [await opened(port) for _ in range(places)]
        assert await is_open(streams[0])  # so it is not the idlest any more
        streams += [await opened(port), await opened(port)]
        assert [await is_open(stream) for stream in streams] == [True, False, False] + [True] * (places - 1)
        for stream in streams:
            await stream.aclose()


async def test_whoever_holds_most_gives_way_and_nobody_else(autojump_clock: MockClock) -> None:
    """One address with all the places it can have shuts out nobody, and loses no more than is needed."""
    async with serving(Limits(connections=8, connections_per_ip=6)) as port:
        quiet = [await opened(port, "127.0.0.3")]
        many = [await opened(port, "127.0.0.2") for _ in range(6)]
        one = [await opened(port, f"127.0.0.{number}") for number in range(4, 8)]
        many += [await opened(port, "127.0.0.2") for _ in range(20)]
        assert all([await is_open(stream) for stream in quiet + one])
        assert sum([await is_open(stream) for stream in many]) == 3
        for stream in quiet + many + one:
            await stream.aclose()


@contextlib.contextmanager
def descriptors(room: int) -> Iterator[None]:
    """This process may open so many more files and sockets."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free + room, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)


def unaccepted(port: int, count: int) -> list[trio.SocketStream]:
    """Connections that the server has had no turn to accept."""
    made = [socket.create_connection(("127.0.0.1", port)) for _ in range(count)]
    for each in made:
        each.setblocking(False)
    return [trio.SocketStream(trio.socket.from_stdlib_socket(each)) for each in made]


async def test_want_of_descriptors_is_one_line_and_the_idlest_give_way(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """With some left to the rest of the program; and where the rest has taken all, nobody falls over."""
    caplog.set_level(logging.WARNING, "onionshh.net")
    async with serving(Limits()) as port:
        streams = unaccepted(port, 10)
        with descriptors(RESERVED_DESCRIPTORS + 4):
            await trio.sleep(1)
            for each in [os.open("/dev/null", os.O_RDONLY) for _ in range(20)]:
                os.close(each)
        still = [await is_open(stream) for stream in streams]
        assert (still[0], still[-1]) == (False, True)
        assert sum(still) < 10
        streams += unaccepted(port, 8)
        with descriptors(0):
            await trio.sleep(30)
        await trio.sleep(120)
        streams.append(await opened(port))
        assert await is_open(streams[-1])
        for stream in streams:
            await stream.aclose()
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "too few descriptors for so many connections",
        "there are descriptors enough again",
    ]


async def test_a_request_of_ever_so_many_pieces_is_refused(autojump_clock: MockClock) -> None:
    """Each costs us more than the peer: a body in chunks of a byte, a head in reads of a byte."""
    limits = Limits(pieces=100)
    async with connected(limits) as stream:
        await stream.send_all(CHUNKED + b"1\r\nx\r\n" * 99 + b"0\r\n\r\n" + POST)
        assert (await read_all(stream)).count(b"HTTP/1.1 200") == 2
    async with connected(limits) as stream:
        await stream.send_all(CHUNKED + b"1\r\nx\r\n" * 101)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 400")
    async with connected(limits) as stream:
        with contextlib.suppress(trio.BrokenResourceError):
            for byte in b"GET /" + b"a" * 200:
                await stream.send_all(bytes((byte,)))
                await trio.sleep(0)
        assert (await read_all(stream)).startswith(b"HTTP/1.1 400")


async def test_so_many_requests_on_one_connection(autojump_clock: MockClock) -> None:
    async with serving(Limits(requests=5)) as port, await opened(port) as stream:
        await stream.send_all(GET * 3000)
        await stream.send_eof()
        answers = await read_all(stream)
    assert answers.count(b"HTTP/1.1 200") == 5
    assert answers.lower().count(b"connection: close") == 1


@asynccontextmanager
async def authority_app(path: Path) -> AsyncIterator[Asgi]:
    authority = DirectoryAuthority(
        store_in(path),
        params=one_machine(),
        clock=Clock(WALL),
        probe=Prober(),
        random_bytes=seeded(1),
        run_blocking=run_inline,
    )
    await authority.publish()
    yield app(authority)


# fmt: off
PARTS = (
    b"http://[", b"http://", b"//", b"/", b"*", b"[::1]", b"]", b"%", b"%00", b"%ff%fe", b"%2f..%2f", b"?",
    b"#", b"@", b":99999999", b"relay/", b"relays", b"consensus", b"f" * 64, b"0" * 5000, b"0x", b"\\", b"..",
    b";", b"%E2%80%AE", b"%u0041", b"javascript:", b"+", b" ", b"\t", b"\x00", b"\xff", b"{identity}",
)
WHOLE = (b"/", b"/relays", b"/consensus", b"/relay", b"/relay/" + b"a" * 64, b"http://d/relays?x=[")
HEADERS = (
    b"Host: [", b"Host: e", b"Host:", b"Content-Length: 99999999999999999999", b"Content-Length: 1,1",
    b"Content-Length: 0x1", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip", b"Upgrade: h2c",
    b"Expect: 100-continue", b"Connection: upgrade", b"Connection: close", b"If-None-Match: *",
    b"Cookie: \xff\xfe",
    b"If-None-Match: " + b'",' * 3000, b"Range: bytes=0-0,-1", b"X: a\r\n b", b"X : y", b": y", b"\x00: y",
    b"Content-Type: multipart/form-data; boundary=", b"X-Forwarded-For: [",
)
METHODS = (b"GET",) * 8 + (b"POST",) * 3 + (b"HEAD", b"OPTIONS", b"CONNECT", b"get", b"G\x00T", b"", b"PRI")
VERSIONS = (b"HTTP/1.1",) * 8 + (b"HTTP/1.0", b"HTTP/2.0", b"HTTP/1.1 ", b"HTTP/9", b"")
BODIES = (
    b"", b"", b"x", b"ffffffffffffffffffff\r\n", b"1;" + b"a" * 900 + b"\r\nx\r\n", b"-1\r\n",
    b"0\r\nX: y\r\n\r\n", b"0\r\n\r\n",
)
# fmt: on


async def test_nasty_requests_are_answered_or_let_go_and_are_no_fault_of_ours(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    random = Random(7)
    statuses = set()
    async with authority_app(tmp_path) as made:
        for _ in range(600):
            target = b"".join(random.choices(PARTS, k=random.randrange(1, 5)))
            if random.random() < 0.5:
                target = random.choice(WHOLE) + target * (random.random() < 0.2)
            lines = [b" ".join((random.choice(METHODS), target, random.choice(VERSIONS)))]
            lines += [b"Host: d"] * (random.random() < 0.9)
            lines += random.choices(HEADERS, k=random.choice((0, 0, 1, 2, 3)))
            request = b"\r\n".join((*lines, b"", random.choice(BODIES)))
            async with connected(Limits(), made) as stream:
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(request)
                assert isinstance(stream, trio.StapledStream)
                await stream.send_stream.aclose()
                answer = await read_all(stream)
            statuses.add(answer[9:12])
    assert statuses >= {b"200", b"400", b"404", b"405"}
    assert not statuses & {b"500", b"307"}
    assert not caplog.records


async def test_readers_who_do_not_read_share_one_document(autojump_clock: MockClock) -> None:
    """What a server holds for 32 of them, of a document of 4 MiB."""
    document = bytes(4 * 1024 * 1024)

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": document})

    async with serving(Limits(), serve) as port:
        streams = [await opened(port) for _ in range(32)]
        gc.collect()
        tracemalloc.start()
        for stream in streams:
            await stream.send_all(GET)
        await trio.sleep(5)
        held, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        for stream in streams:
            await stream.aclose()
    assert held < 4 * 1024 * 1024


def test_a_port_in_use_is_one_sentence() -> None:
    with contextlib.closing(listen("127.0.0.1", 0)) as taken:
        with pytest.raises(Error, match=r"Cannot listen on 127\.0\.0\.1:\d+: Address already in use\. Stop"):
            listen("127.0.0.1", taken.getsockname()[1])
    with pytest.raises(Error, match=r"Cannot listen on 192\.0\.2\.1"):
        listen("192.0.2.1", 0)
