"""An HTTP/1.1 server for one ASGI application, with every wait bounded (SPEC 8, 17).

h11 knows the protocol, this file the limits: a request is whole within a deadline and a size, an answer
leaves within a deadline, connections are counted by address, and what one connection does wrong ends that
connection alone. (Hypercorn sends under a shield: one client that stops reading keeps it from ever ending,
and it knows no limit of connections. Measured, and so not used.) The application gets the whole body at
once and its answer is sent when it is complete; for documents of a few megabytes that is simplest.
"""

from __future__ import annotations

import errno
import logging
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any
from urllib.parse import unquote, urlsplit

import h11
import trio

from onionshh.core.addresses import host_group
from onionshh.errors import Error
from onionshh.wire.descriptor import format_address

log = logging.getLogger("onionshh.directory")

Message = MutableMapping[str, Any]
Asgi = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_READ_BYTES = 65536
_SEND_BYTES = 65536
_BACKLOG = 512


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. `connections_per_ip` 0 means no limit by address."""

    head_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    request_seconds: float = 10.0
    send_seconds: float = 10.0  # for each 64 KiB
    answer_seconds: float = 300.0
    linger_seconds: float = 1.0
    connections: int = 512
    connections_per_ip: int = 32


class _TooLarge(Exception):
    """A body over the limit."""


def listen(host: str, port: int) -> socket.socket:
    """A listening socket, port 0 for any free one. Error, in one sentence that says what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise Error(f"Cannot listen on {host}: {error.strerror}. Give an address of this machine.") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setblocking(False)
        listener.bind(address)
        listener.listen(_BACKLOG)
    except OSError as error:
        listener.close()
        advice = "Stop the program that uses it, or give another --listen address."
        if error.errno == errno.EADDRNOTAVAIL:
            advice = "Give an address of this machine."
        raise Error(f"Cannot listen on {format_address(host, port)}: {error.strerror}. {advice}") from error
    return listener


async def serve_http(
    app: Asgi,
    listener: socket.socket,
    *,
    wall: Callable[[], int],
    limits: Limits,
    answers: Counter[int] | None = None,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer on a listening socket until cancelled; open connections then end at once. `answers` counts
    what was answered, by status."""
    open_by_ip: Counter[str] = Counter()

    async def connection(stream: trio.SocketStream) -> None:
        try:
            peer = stream.socket.getpeername()[:2]
        except OSError:
            await trio.aclose_forcefully(stream)
            return
        group = host_group(peer[0])
        here = open_by_ip[group]
        full = open_by_ip.total() >= limits.connections
        if full or (limits.connections_per_ip and here >= limits.connections_per_ip):
            await trio.aclose_forcefully(stream)
            return
        open_by_ip[group] += 1
        try:
            await serve_connection(app, stream, peer=peer, wall=wall, limits=limits, answers=answers)
        finally:
            open_by_ip[group] -= 1
            if not open_by_ip[group]:
                del open_by_ip[group]

    async with trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as accepting:
        task_status.started()
        await trio.serve_listeners(connection, [accepting])


async def serve_connection(
    app: Asgi,
    stream: trio.abc.Stream,
    *,
    peer: tuple[str, int],
    wall: Callable[[], int],
    limits: Limits,
    answers: Counter[int] | None = None,
) -> None:
    """Answer the requests of one connection, then close it. Raises nothing but trio.Cancelled."""
    exchange = _Exchange(app, stream, peer, wall, limits, Counter() if answers is None else answers)
    try:
        while await exchange.one():
            pass
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.ProtocolError):
        pass
    except Exception:
        log.exception("a request failed inside the directory")
    finally:
        await trio.aclose_forcefully(stream)


class _Exchange:
    """One connection: request, answer, request, answer."""

    def __init__(
        self,
        app: Asgi,
        stream: trio.abc.Stream,
        peer: tuple[str, int],
        wall: Callable[[], int],
        limits: Limits,
        answers: Counter[int],
    ) -> None:
        self._answers = answers
        self._app = app
        self._stream = stream
        self._peer = peer
        self._wall = wall
        self._limits = limits
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)

    async def one(self) -> bool:
        """One request and its answer; whether another may follow."""
        try:
            with trio.fail_after(self._limits.request_seconds):
                read = await self._read_request()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        except _TooLarge:
            await self._refuse(413)
            return False
        if read is None:
            return False
        request, body = read
        status, headers, content = await self._ask(request, body)
        with trio.fail_after(self._limits.answer_seconds):
            await self._send_answer(status, headers, content, head_only=request.method == b"HEAD")
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _read_request(self) -> tuple[h11.Request, bytes] | None:
        """The next request with its whole body, None when the peer has no more."""
        request: h11.Request | None = None
        body = bytearray()
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(h11.InformationalResponse(status_code=100, headers=[]))
                self._http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
            elif isinstance(event, h11.Request):
                request = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._limits.body_bytes:
                    raise _TooLarge
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, bytes(body)
            else:  # closed
                return None

    async def _ask(self, request: h11.Request, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """What the application answers, whole: status, headers, content."""
        incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        start: Message = {"status": 500, "headers": []}
        content = bytearray()

        async def receive() -> Message:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                content.extend(message.get("body", b""))

        await self._app(self._scope(request), receive, send)
        return start["status"], list(start["headers"]), bytes(content)

    def _scope(self, request: h11.Request) -> Message:
        target = request.target.decode("ascii", "replace")
        path, _, query = (
            target.partition("?") if target.startswith("/") else urlsplit(target).path.partition("?")
        )
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": request.http_version.decode("ascii"),
            "method": request.method.decode("ascii"),
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": list(request.headers),
            "client": self._peer,
            "server": None,
        }

    async def _refuse(self, status: int) -> None:
        """A bare answer, then read a little on, so that the peer gets it before the connection is reset."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        with trio.move_on_after(self._limits.linger_seconds):
            await self._send_answer(status, [(b"connection", b"close")], b"")
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while await self._stream.receive_some(_READ_BYTES):
                pass

    async def _send_answer(
        self, status: int, headers: list[tuple[bytes, bytes]], content: bytes, *, head_only: bool = False
    ) -> None:
        self._answers[status] += 1
        names = {name.lower() for name, _ in headers}
        if b"content-length" not in names and status != 304:
            headers.append((b"content-length", str(len(content)).encode()))
        headers.append((b"date", formatdate(self._wall(), usegmt=True).encode()))
        await self._send(h11.Response(status_code=status, headers=headers))
        if content and not head_only:
            await self._send(h11.Data(data=content))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        data = self._http.send(event) or b""
        for at in range(0, len(data), _SEND_BYTES):
            with trio.fail_after(self._limits.send_seconds):
                await self._stream.send_all(data[at : at + _SEND_BYTES])
