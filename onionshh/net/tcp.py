"""TCP with sockets that never block. Links touch sockets only here.

A send goes directly to the kernel, which takes as much as it can. We wait only for a socket that did not take
everything. TCP_NOTSENT_LOWAT keeps the kernel's buffer small. Otherwise megabytes would wait there, outside
our limits.
"""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import selectors
import socket

import trio

from onionshh.errors import Error
from onionshh.net.file_descriptors import for_links
from onionshh.net.transport import READ_BYTES, NoRoom, NothingThere, StreamBroken, Watched, Work

NOTSENT_LOWAT_BYTES = 64 * 1024
LISTEN_BACKLOG = 256
ACCEPT_PAUSE_SECONDS = 0.2
ONION_END = ".onion"
ONLY_TOR = "only C tor reaches an onion service (--via tor)"

_NO_WAY = "no way leads there"
_WORDS = {
    errno.ECONNREFUSED: "nothing listens there",
    errno.ETIMEDOUT: "no answer in time",
    errno.EHOSTUNREACH: _NO_WAY,
    errno.ENETUNREACH: _NO_WAY,
    errno.ECONNRESET: "it ended the connection",
}


class PortInUse(Error):
    """The address to listen on is in use or not ours."""


class TcpStream:
    """A connected socket as a `Stream`."""

    def __init__(self, sock: socket.socket, host: str) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        notsent = getattr(socket, "TCP_NOTSENT_LOWAT", None)
        if notsent is not None:
            sock.setsockopt(socket.IPPROTO_TCP, notsent, NOTSENT_LOWAT_BYTES)
        self._sock = sock
        self.host = host

    def fileno(self) -> int:
        """The socket's descriptor, -1 after closing."""
        return self._sock.fileno()

    def send_some(self, data: bytes) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise StreamBroken(error.strerror or "send failed") from error

    async def wait_sendable(self) -> None:
        _check_open(self._sock)
        try:
            await trio.lowlevel.wait_writable(self._sock)
        except (trio.ClosedResourceError, OSError) as error:
            raise StreamBroken("closed") from error

    def receive_now(self) -> bytes | None:
        try:
            return self._sock.recv(READ_BYTES)
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise StreamBroken("closed or reset") from error

    async def receive_some(self) -> bytes:
        while True:
            _check_open(self._sock)
            try:
                await trio.lowlevel.wait_readable(self._sock)
            except (trio.ClosedResourceError, OSError) as error:
                raise StreamBroken("closed or reset") from error
            data = self.receive_now()
            if data is not None:
                return data

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            trio.lowlevel.notify_closing(self._sock)
        self._sock.close()


def _check_open(sock: socket.socket) -> None:
    """StreamBroken for a socket that we closed, because trio must never wait for it."""
    if sock.fileno() < 0:
        raise StreamBroken("closed")


class TcpReader:
    """A `Reader` for `TcpStream`s: one selector, for which trio waits as if it were a socket.

    So a wake costs only one round of trio for any number of ready streams, and nothing is registered again.
    """

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def watch(self, watched: Watched, *, for_room: bool = False) -> None:
        stream = watched.stream
        if not isinstance(stream, TcpStream):
            raise TypeError(f"a TcpReader cannot watch a {type(stream).__name__}")
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if for_room else 0)
        try:
            self._selector.modify(stream, events, watched)
        except KeyError:
            self._selector.register(stream, events, watched)

    def forget(self, watched: Watched) -> None:
        if isinstance(watched.stream, TcpStream):
            with contextlib.suppress(KeyError, ValueError):
                self._selector.unregister(watched.stream)

    async def run(self, work: Work) -> None:
        more = False
        while True:
            if more:
                await trio.lowlevel.checkpoint()
            else:
                await trio.lowlevel.wait_readable(self._selector.fileno())
            more = work(self._ready(0))

    def _ready(self, timeout: float | None) -> list[Watched]:
        return [key.data for key, _ in self._selector.select(timeout)]


def check_local(host: str) -> None:
    """ValueError unless connections can start from this IP address of this machine."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(host).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((host, 0))
    except (ValueError, OSError) as error:
        raise ValueError(f"{host!r} is not an IP address of this machine.") from error


class TcpDialer:
    """Opens TCP connections. `bind`: the local address that they come from."""

    def __init__(self, bind: str | None = None) -> None:
        self.bind = bind

    @property
    def places(self) -> int:
        return for_links()

    @property
    def slower_seconds(self) -> float:
        return 0.0

    @property
    def reaches_onions(self) -> bool:
        return False

    @property
    def trouble(self) -> str:
        return ""

    async def dial(self, host: str, port: int) -> TcpStream:
        sock = await connected_socket(host, port, self.bind)
        try:
            return TcpStream(sock, str(sock.getpeername()[0]))
        except OSError as error:  # it ended before it began
            sock.close()
            raise _failed(error) from error

    def reader(self) -> TcpReader:
        return TcpReader()


def names_onion(host: str) -> bool:
    """Whether a host is an onion service, however its name is written."""
    return host.rstrip(".").lower().endswith(ONION_END)


async def connected_socket(host: str, port: int, bind: str | None) -> socket.socket:
    """A socket that is connected to this address, from the local address `bind`. Raises StreamBroken."""
    sock: socket.socket | None = None
    if names_onion(host):  # nobody is asked for the address of such a name
        raise StreamBroken(ONLY_TOR)
    try:
        found = await trio.socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        sock.setblocking(False)
        if bind is not None:
            sock.bind((bind, 0))
        await trio.socket.from_stdlib_socket(sock).connect(address)
        return sock
    except (OSError, UnicodeError) as error:  # UnicodeError: the host is not even a possible name
        if sock is not None:
            sock.close()
        raise _failed(error) from error
    except BaseException:
        if sock is not None:
            sock.close()
        raise


def _failed(error: OSError | UnicodeError) -> StreamBroken:
    """Why there is no connection, in words of ours: trio's name the address."""
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror | UnicodeError):
        why = "there is no host of this name"
    else:
        why = _WORDS.get(number or 0) or (os.strerror(number) if number else "connection failed")
    return (NothingThere if number == errno.ECONNREFUSED else StreamBroken)(why)


def listening_socket(host: str, port: int, *, only_ipv6: bool = False) -> socket.socket:
    """A bound, listening, non-blocking socket. `only_ipv6`: one for IPv6 leaves IPv4 to another. Raises
    PortInUse, which says what is wrong."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, _, _, _, address = found[0]
        sock = socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if only_ipv6 and family == socket.AF_INET6:
                sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            sock.setblocking(False)
            sock.bind(address)
            sock.listen(LISTEN_BACKLOG)
        except BaseException:
            sock.close()
            raise
        return sock
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "that is not an address"
        match getattr(error, "errno", None):
            case errno.EADDRINUSE:
                sentence = f"{host}:{port} is in use by another program; choose another port with --listen."
            case errno.EADDRNOTAVAIL:
                sentence = f"{host} is not an address of this machine; give another one with --listen."
            case _:
                sentence = f"Listening on {host}:{port} failed: {why}; choose another address with --listen."
        raise PortInUse(sentence) from error


class TcpListener:
    """Accepts TCP connections on one address."""

    def __init__(self, host: str, port: int, *, only_ipv6: bool = False) -> None:
        self._sock = listening_socket(host, port, only_ipv6=only_ipv6)
        bound = self._sock.getsockname()
        self.address: tuple[str, int] = (str(bound[0]), int(bound[1]))

    async def accept(self) -> TcpStream:
        while True:
            _check_open(self._sock)
            try:
                await trio.lowlevel.wait_readable(self._sock)
                sock, address = self._sock.accept()
            except (BlockingIOError, ConnectionAbortedError, InterruptedError):
                continue
            except trio.ClosedResourceError as error:
                raise StreamBroken("closed") from error
            except OSError as error:
                if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                    raise StreamBroken("closed") from error
                if error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
                    raise NoRoom(error.strerror) from error
                await trio.sleep(ACCEPT_PAUSE_SECONDS)  # only the new connection failed
                continue
            try:
                return TcpStream(sock, str(address[0]))
            except OSError:  # it ended before it began
                sock.close()

    def close(self) -> None:
        with contextlib.suppress(OSError, RuntimeError):
            trio.lowlevel.notify_closing(self._sock)
        self._sock.close()
