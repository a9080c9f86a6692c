"""Connections through a SOCKS5 proxy (RFC 1928, 1929), for links and for HTTP.

socksio knows the layout of the messages. `Handshake` says how many bytes may be read next, since socksio
wants each answer whole. So nothing is ever read past the proxy's last answer, half an answer waits for its
rest, and the largest answer has 262 bytes. A name goes to the proxy as it is and is never looked up here.
There is no way around the proxy: a connection that it does not give is a connection that failed.
"""

from __future__ import annotations

import enum
import ipaddress
import logging
import os
import socket
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import httpcore
import trio
from socksio import (
    ProtocolError,
    SOCKS5AType,
    SOCKS5AuthMethod,
    SOCKS5AuthMethodsRequest,
    SOCKS5AuthReply,
    SOCKS5Command,
    SOCKS5CommandRequest,
    SOCKS5Connection,
    SOCKS5Reply,
    SOCKS5ReplyCode,
    SOCKS5UsernamePasswordRequest,
)
from socksio.socks5 import SOCKS5UsernamePasswordReply

from onionshh.ids import RandomBytes
from onionshh.net.conditions import Condition
from onionshh.net.file_descriptors import for_links
from onionshh.net.tcp import ONLY_TOR, TcpDialer, TcpReader, TcpStream, connected_socket, names_onion
from onionshh.net.transport import Dialer, NothingThere, StreamBroken
from onionshh.net.via import Credentials, Via

logger = logging.getLogger("onionshh.net")

ANSWER_MOST: Final = 4 + 1 + 255 + 2
"""The longest answer of a proxy: head, length, name, port."""
NAME_MOST: Final = 255
_SHORT_BYTES: Final = 2
_HEAD_BYTES: Final = 5

_WORDS: Final = {
    SOCKS5ReplyCode.GENERAL_SERVER_FAILURE: "it could not be made",
    SOCKS5ReplyCode.CONNECTION_NOT_ALLOWED_BY_RULESET: "its rules do not allow it",
    SOCKS5ReplyCode.NETWORK_UNREACHABLE: "the network cannot be reached",
    SOCKS5ReplyCode.HOST_UNREACHABLE: "the host cannot be reached",
    SOCKS5ReplyCode.CONNECTION_REFUSED: "the host refused it",
    SOCKS5ReplyCode.TTL_EXPIRED: "it took too long",
    SOCKS5ReplyCode.COMMAND_NOT_SUPPORTED: "it makes no connections",
    SOCKS5ReplyCode.ADDRESS_TYPE_NOT_SUPPORTED: "it does not know this kind of address",
}


class ProxyFailed(StreamBroken):
    """The proxy gave no connection. The text says why, without an address or a password."""


class Refused(ProxyFailed):
    """The proxy is well, and there is no connection to this address."""


class RefusedThere(Refused, NothingThere):
    """The proxy reached the host, and that refused."""


class NoProxy(ProxyFailed):
    """The proxy is not there, or takes nobody like us: it gives no connection to anywhere."""


class _Wait(enum.Enum):
    METHOD = enum.auto()
    PASSWORD = enum.auto()
    HEAD = enum.auto()  # up to the first byte of the address, which is the length of a name
    REST = enum.auto()
    NOTHING = enum.auto()


class Handshake:
    """A client's half of the handshake for one connection: bytes in, bytes out, nothing awaited.

    `credentials`: user and password (1 to 255 and 0 to 255 bytes), None to give none.
    """

    def __init__(self, host: str, port: int, credentials: tuple[bytes, bytes] | None) -> None:
        self._request = _request(host, port)
        self._credentials = credentials
        self._socks = SOCKS5Connection()
        method = SOCKS5AuthMethod.NO_AUTH_REQUIRED if credentials is None else _BY_PASSWORD
        self._method = method
        self._socks.send(SOCKS5AuthMethodsRequest([method]))
        self._held = bytearray()
        self._wait = _Wait.METHOD
        self._size = _SHORT_BYTES

    @property
    def wants(self) -> int:
        """How many bytes may be read now at most; 0 when the connection is there."""
        return 0 if self._wait is _Wait.NOTHING else self._size - len(self._held)

    def data_to_send(self) -> bytes:
        """What to send now, perhaps nothing."""
        return bytes(self._socks.data_to_send())

    def receive_data(self, data: bytes) -> None:
        """Take up to `wants` bytes; b"" is the end. Raises ProxyFailed, and then nothing more may follow."""
        if not data:
            raise ProxyFailed("the proxy closed the connection in its handshake")
        self._held += data
        if len(self._held) < self._size:
            return
        if self._wait is _Wait.HEAD:
            self._wait, self._size = _Wait.REST, _answer_bytes(bytes(self._held))
            return
        whole = bytes(self._held)
        self._held.clear()
        if self._wait is _Wait.METHOD and whole[0] != 5:
            raise _not_a_proxy()
        if self._wait is _Wait.REST:
            # Nobody needs to know where the proxy's end is, and socksio stumbles over long names.
            whole = whole[:3] + b"\x01" + bytes(4 + 2)
        try:
            answer = self._socks.receive_data(whole)
        except (ProtocolError, ValueError) as error:
            raise _not_a_proxy() from error
        self._take(answer)

    def _take(self, answer: SOCKS5AuthReply | SOCKS5UsernamePasswordReply | SOCKS5Reply) -> None:
        if isinstance(answer, SOCKS5AuthReply):
            self._take_method(answer.method)
        elif isinstance(answer, SOCKS5UsernamePasswordReply):
            if not answer.success:
                raise NoProxy("the proxy does not take this user and password")
            self._ask()
        elif answer.reply_code is SOCKS5ReplyCode.SUCCEEDED:
            self._wait = _Wait.NOTHING
        else:
            there = answer.reply_code is SOCKS5ReplyCode.CONNECTION_REFUSED
            failure = RefusedThere if there else Refused
            raise failure(f"the proxy refused the connection: {_WORDS[answer.reply_code]}")

    def _take_method(self, method: SOCKS5AuthMethod) -> None:
        if method is SOCKS5AuthMethod.NO_ACCEPTABLE_METHODS:
            said = "wants" if self._credentials is None else "does not take"
            raise NoProxy(f"the proxy {said} a user and a password")
        if method is not self._method:
            raise _not_a_proxy()
        if self._credentials is None:
            self._ask()
            return
        self._socks.send(SOCKS5UsernamePasswordRequest(*self._credentials))
        self._wait = _Wait.PASSWORD

    def _ask(self) -> None:
        self._socks.send(self._request)
        self._wait, self._size = _Wait.HEAD, _HEAD_BYTES


_BY_PASSWORD: Final = SOCKS5AuthMethod.USERNAME_PASSWORD
_BROKE: Final = "the connection to the proxy broke"
_ANSWERS: Final = "the proxy answers again"


def _request(host: str, port: int) -> SOCKS5CommandRequest:
    """The question for a connection. An IP address goes as one, anything else as a name."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        try:
            name = host.encode("ascii")
        except UnicodeEncodeError:
            name = b""
        if not 0 < len(name) <= NAME_MOST:
            raise ProxyFailed("that is not a host name") from None
        return SOCKS5CommandRequest(SOCKS5Command.CONNECT, SOCKS5AType.DOMAIN_NAME, name, port)
    kind = SOCKS5AType.IPV4_ADDRESS if address.version == 4 else SOCKS5AType.IPV6_ADDRESS
    return SOCKS5CommandRequest(SOCKS5Command.CONNECT, kind, address.packed, port)


def _answer_bytes(head: bytes) -> int:
    """How long the answer is that begins with these five bytes. Raises ProxyFailed."""
    if head[0] == 5:
        match head[3]:
            case 1:
                return 4 + 4 + 2
            case 3:
                return 4 + 1 + head[4] + 2
            case 4:
                return 4 + 16 + 2
    raise _not_a_proxy()


def _not_a_proxy() -> NoProxy:
    return NoProxy("what answers there is not a SOCKS5 proxy")


async def negotiate(
    handshake: Handshake,
    send: Callable[[bytes], Awaitable[object]],
    receive: Callable[[int], Awaitable[bytes]],
) -> None:
    """Carry the handshake out, until the connection is there. Raises ProxyFailed, and what the two raise."""
    while handshake.wants:
        out = handshake.data_to_send()
        if out:
            await send(out)
        handshake.receive_data(await receive(handshake.wants))


class SocksDialer:
    """Opens connections through a proxy. `bind`: the local address of the connections to the proxy."""

    def __init__(self, via: Via, random_bytes: RandomBytes, bind: str | None = None) -> None:
        self._via = via
        self._credentials = Credentials(via, random_bytes)
        self._bind = bind
        self._missing = Condition(logger.warning)

    @property
    def places(self) -> int:
        return for_links()

    @property
    def slower_seconds(self) -> float:
        return self._via.slower_seconds

    @property
    def reaches_onions(self) -> bool:
        return self._via.tor

    @property
    def trouble(self) -> str:
        return self._missing.now

    async def dial(self, host: str, port: int) -> TcpStream:
        if names_onion(host) and not self._via.tor:
            raise ProxyFailed(ONLY_TOR)
        handshake = Handshake(host, port, self._credentials.to(host, port))
        try:
            with _in_time(self.slower_seconds):
                try:
                    sock = await connected_socket(self._via.host, self._via.port, self._bind)
                except StreamBroken as error:
                    raise NoProxy(_not_there(_strerror(error))) from error
                stream = await self._through(sock, handshake, host)
        except NoProxy as error:
            self._missing.holds(str(error))
            raise
        except Refused:
            self._missing.over(_ANSWERS)
            raise
        self._missing.over(_ANSWERS)
        return stream

    async def _through(self, sock: socket.socket, handshake: Handshake, host: str) -> TcpStream:
        try:
            there = trio.socket.from_stdlib_socket(sock)
            await negotiate(handshake, partial(_send_all, there), there.recv)
            return TcpStream(sock, host)
        except OSError as error:
            sock.close()
            raise ProxyFailed(_BROKE) from error
        except BaseException:
            sock.close()
            raise

    def reader(self) -> TcpReader:
        return TcpReader()


class SocksBackend(httpcore.AsyncNetworkBackend):
    """Connections of an HTTP client, through the same kind of proxy. TLS is spoken with the far end."""

    def __init__(self, via: Via, random_bytes: RandomBytes) -> None:
        self._via = via
        self._credentials = Credentials(via, random_bytes)
        self._network = httpcore.TrioBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            handshake = Handshake(host, port, self._credentials.to(host, port))
            try:
                stream = await self._network.connect_tcp(
                    self._via.host, self._via.port, timeout, local_address, socket_options
                )
            except (httpcore.ConnectError, OSError) as error:
                raise NoProxy(_not_there(_strerror(error))) from error
            try:
                with _in_time(self._via.slower_seconds):
                    await negotiate(handshake, stream.write, stream.read)
            except BaseException as error:
                with trio.CancelScope(shield=True):
                    await stream.aclose()
                if isinstance(error, httpcore.NetworkError):
                    raise ProxyFailed(_BROKE) from error
                raise
        except ProxyFailed as error:
            raise httpcore.ConnectError(str(error)) from error
        return stream

    async def sleep(self, seconds: float) -> None:
        await trio.sleep(seconds)


def dialer_of(bind: str | None, via: Via | None, random_bytes: RandomBytes = os.urandom) -> Dialer:
    """How a node opens its links: through the proxy, if there is one, and directly only if there is none."""
    return TcpDialer(bind) if via is None else SocksDialer(via, random_bytes, bind)


@contextmanager
def _in_time(seconds: float) -> Iterator[None]:
    """Raises ProxyFailed when the block takes longer."""
    try:
        with trio.fail_after(seconds):
            yield
    except trio.TooSlowError as error:
        raise ProxyFailed(f"the proxy gave no connection within {seconds:.0f} seconds") from error


async def _send_all(there: trio.socket.SocketType, data: bytes) -> None:
    while data:
        data = data[await there.send(data) :]


def _not_there(why: str) -> str:
    return f"the proxy does not answer ({why})"


def _strerror(error: BaseException | None) -> str:
    """What the system said, without the address that trio puts beside it."""
    while error is not None:
        if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
            return os.strerror(error.errno)
        group = error.exceptions[0] if isinstance(error, BaseExceptionGroup) else None
        error = group or error.__cause__ or error.__context__
    return "connection failed"
