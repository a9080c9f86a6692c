"""An HTTP/1.1 server for one ASGI application, with every wait bounded (SPEC 8, 17).

h11 knows the protocol, and this file has the limits. A request has a deadline, a size limit and a limit of
pieces. An answer has a deadline. A fault in one connection ends only that connection. Places are few and
shared fairly: when all are taken, a newcomer gets the place of the idlest connection of the address that has
most. The application gets the whole body at once, and its answer is sent when it is complete. The answer's
own bytes are sent, so a document is in memory once, even if many clients read it slowly.

We do not use Hypercorn, after measurements: it sends under a shield, so one client that stops reading
prevents it from ending, and it has no limit of connections.
"""

from __future__ import annotations

import errno
import logging
import resource
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote, urlsplit

import h11
import trio

from onionshh.core.base.addresses import host_group
from onionshh.errors import Error
from onionshh.net.conditions import Condition
from onionshh.wire.descriptor import format_address

log = logging.getLogger("onionshh.net")

Message = MutableMapping[str, Any]
Asgi = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]
]

_READ_BYTES = 65536
_SEND_BYTES = 65536
_BACKLOG = 512
_PAUSE_SECONDS = 0.1
_QUIET_SECONDS = 60.0
RESERVED_DESCRIPTORS = 32
"""Descriptors left for the rest of the program: its files, and its checks of relays."""
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, times in seconds. `connections_per_ip` 0 means no limit by address."""

    head_bytes: int = 16 * 1024
    body_bytes: int = 64 * 1024
    pieces: int = 1024  # per request: each read and each part of its body
    requests: int = 64  # on one connection
    request_seconds: float = 10.0
    send_seconds: float = 10.0  # for each 64 KiB
    answer_seconds: float = 300.0
    linger_seconds: float = 1.0
    connections: int = 512
    connections_per_ip: int = 32


class _Refused(Exception):
    """A request that is answered with only this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


def listen(host: str, port: int, option: str = "--listen") -> socket.socket:
    """A listening socket. Port 0 means any free port. Raises Error, which says what to do. `option`: where
    the address was given."""
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
        advice = f"Stop the program that uses it, or give another {option} address."
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
    """Answer on a listening socket until cancelled. Open connections then end at once. `answers` counts the
    answers by status."""
    places = _Places(limits)

    async def connection(stream: trio.SocketStream, peer: tuple[str, int], place: _Place) -> None:
        try:
            with place.scope:
                await serve_connection(
                    app, stream, peer=peer, wall=wall, limits=limits, answers=answers, moved=place.move
                )
        finally:
            places.leave(place)

    no_room, last_full = Condition(log.warning), 0.0
    async with (
        trio.SocketListener(trio.socket.from_stdlib_socket(listener)) as accepting,
        trio.open_nursery() as nursery,
    ):
        task_status.started()
        while True:
            try:
                stream = await accepting.accept()
            except OSError as error:
                if error.errno not in _NO_ROOM:
                    raise
                full = True
                await trio.sleep(_PAUSE_SECONDS)
            else:
                full = not _is_room_above(stream.socket.fileno())
                try:
                    peer = stream.socket.getpeername()[:2]
                except OSError:  # it has already ended
                    await trio.aclose_forcefully(stream)
                else:
                    nursery.start_soon(connection, stream, peer, places.take(host_group(peer[0])))
            if full:
                no_room.holds("too few descriptors for so many connections: the idlest give way")
                last_full = trio.current_time()
                places.free()
            elif trio.current_time() >= last_full + _QUIET_SECONDS:
                no_room.over("there are descriptors enough again")


def _is_room_above(descriptor: int) -> bool:
    """Whether enough are free for the rest of the program. `descriptor` is the newest, and the system always
    gives the lowest free number."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most == resource.RLIM_INFINITY or descriptor < most - min(RESERVED_DESCRIPTORS, most // 2)


class _Place:
    """One connection's place: its address, when bytes last came or went, and how to end it."""

    __slots__ = ("group", "moved", "scope")

    def __init__(self, group: str) -> None:
        self.group = group
        self.scope = trio.CancelScope()
        self.move()

    def move(self) -> None:
        self.moved = trio.current_time()


class _Places:
    """All open connections by address."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._by_group: dict[str, dict[_Place, None]] = {}  # oldest first
        self._count = 0

    def take(self, group: str) -> _Place:
        """A place for a connection from this address, until it leaves or another needs the place more."""
        limits, here = self._limits, len(self._by_group.get(group, ()))
        if limits.connections_per_ip and here >= limits.connections_per_ip:
            self._end_idlest(group)
        elif self._count >= limits.connections:
            self.free(group)
        place = _Place(group)
        self._by_group.setdefault(group, {})[place] = None
        self._count += 1
        return place

    def free(self, newcomer: str = "") -> None:
        """End the idlest connection of the address that has most. The newcomer counts for its address."""
        if self._by_group:
            self._end_idlest(
                max(self._by_group, key=lambda group: len(self._by_group[group]) + (group == newcomer))
            )

    def _end_idlest(self, group: str) -> None:
        idlest = min(self._by_group[group], key=lambda place: place.moved)
        idlest.scope.cancel()
        self.leave(idlest)  # now, before its task notices: the next newcomer must find another

    def leave(self, place: _Place) -> None:
        here = self._by_group.get(place.group, {})
        if place in here:
            del here[place]
            self._count -= 1
            if not here:
                del self._by_group[place.group]


async def serve_connection(
    app: Asgi,
    stream: trio.abc.Stream,
    *,
    peer: tuple[str, int],
    wall: Callable[[], int],
    limits: Limits,
    answers: Counter[int] | None = None,
    moved: Callable[[], None] = lambda: None,
) -> None:
    """Answer the requests of one connection, then close it. Raises only trio.Cancelled. `moved` is called
    whenever the peer sent or took bytes."""
    counts = Counter[int]() if answers is None else answers
    exchange = _Exchange(app, stream, peer, wall, limits, counts, moved)
    try:
        for left in reversed(range(limits.requests)):
            if not await exchange.one(last=not left):
                break
    except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError, h11.ProtocolError):
        pass
    except Exception:
        log.exception("a request failed inside the server")
    finally:
        await trio.aclose_forcefully(stream)


def _phrase(status: int) -> bytes:
    """The standard's words for a status."""
    try:
        return HTTPStatus(status).phrase.encode("ascii")
    except ValueError:
        return b""


class _Exchange:
    """One connection: a request, its answer, the next request, and so on."""

    def __init__(
        self,
        app: Asgi,
        stream: trio.abc.Stream,
        peer: tuple[str, int],
        wall: Callable[[], int],
        limits: Limits,
        answers: Counter[int],
        moved: Callable[[], None],
    ) -> None:
        self._answers = answers
        self._app = app
        self._stream = stream
        self._peer = peer
        self._wall = wall
        self._limits = limits
        self._moved = moved
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=limits.head_bytes)

    async def one(self, *, last: bool) -> bool:
        """Handle one request and its answer; returns whether another may follow. None may follow `last`."""
        try:
            with trio.fail_after(self._limits.request_seconds):
                read = await self._read_request()
            if read is None:
                return False
            request, scope, body = read
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint)
            return False
        except _Refused as error:
            await self._refuse(error.status)
            return False
        status, headers, content = await self._ask(scope, body)
        if last:
            headers.append((b"connection", b"close"))
        with trio.fail_after(self._limits.answer_seconds):
            await self._send_answer(status, headers, content, head_only=request.method == b"HEAD")
        if last:
            with trio.move_on_after(self._limits.linger_seconds):
                await self._linger()
        if self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _read_request(self) -> tuple[h11.Request, Message, bytes] | None:
        """The next request, its ASGI scope and its whole body; None when the peer sends no more.

        Each piece costs us far more than it costs the peer, so pieces are counted. Even a very slow
        connection needs only a few hundred.
        """
        request: h11.Request | None = None
        scope: Message = {}
        body = bytearray()
        pieces = 0
        while True:
            event = self._http.next_event()
            if event is h11.NEED_DATA:
                if self._http.they_are_waiting_for_100_continue:
                    await self._send(
                        h11.InformationalResponse(status_code=100, headers=[], reason=_phrase(100))
                    )
                self._http.receive_data(bytes(await self._stream.receive_some(_READ_BYTES)))
                self._moved()
                pieces += 1
            elif isinstance(event, h11.Request):
                request, scope = event, self._scope(event)
            elif isinstance(event, h11.Data):
                body += event.data
                pieces += 1
                if len(body) > self._limits.body_bytes:
                    raise _Refused(413)
            elif isinstance(event, h11.EndOfMessage) and request is not None:
                return request, scope, bytes(body)
            else:  # closed
                return None
            if pieces > self._limits.pieces:
                raise _Refused(400)

    async def _ask(self, scope: Message, body: bytes) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
        """The application's whole answer: status, headers, content."""
        incoming: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]
        start: Message = {"status": 500, "headers": []}
        parts: list[bytes] = []

        async def receive() -> Message:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif message["type"] == "http.response.body":
                parts.append(message.get("body", b""))

        await self._app(scope, receive, send)
        # A document is one part: all its readers share the same bytes.
        content = parts[0] if len(parts) == 1 else b"".join(parts)
        return start["status"], list(start["headers"]), content

    def _scope(self, request: h11.Request) -> Message:
        target = request.target.decode("ascii", "replace")
        path, _, query = target.partition("?")
        if not target.startswith("/"):
            try:
                path, query = urlsplit(target)[2:4]
            except ValueError as error:
                raise _Refused(400) from error
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
        """Send a short answer, then read a little more, so that the peer gets it before a reset."""
        if self._http.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            return
        with trio.move_on_after(self._limits.linger_seconds):
            await self._send_answer(status, [(b"connection", b"close")], b"")
            await self._linger()

    async def _linger(self) -> None:
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
        await self._send(h11.Response(status_code=status, headers=headers, reason=_phrase(status)))
        if content and not head_only:
            await self._send(h11.Data(data=content))
        await self._send(h11.EndOfMessage())

    async def _send(self, event: h11.Event) -> None:
        for part in self._http.send_with_data_passthrough(event) or ():
            view = memoryview(part)
            for at in range(0, len(view), _SEND_BYTES):
                with trio.fail_after(self._limits.send_seconds):
                    await self._stream.send_all(view[at : at + _SEND_BYTES])
                self._moved()
