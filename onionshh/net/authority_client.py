"""Asks authorities over HTTP: for the consensus, about a relay, to publish a descriptor (SPEC 8)."""

from __future__ import annotations

import json
import os
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import Protocol
from urllib.parse import urlsplit

import httpcore
import trio

from onionshh.config import Authority
from onionshh.geometry import CONSENSUS_MAX
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.socks import SocksBackend
from onionshh.net.tcp import ONLY_TOR, names_onion
from onionshh.net.via import Via

HTTP_TIMEOUT_SECONDS = 10.0
DATE_CHARACTERS = 64
REPLY_MOST = 64 * 1024
UNLISTED_MOST = 4 * 1024 * 1024


class DirectoryUnreachable(Exception):
    """One authority did not answer as it should. The text says why."""


class DirectorySource(Protocol):
    """Asks authorities."""

    async def consensus(self, authority: Authority) -> bytes:
        """The consensus document as received. Raises DirectoryUnreachable."""

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        """POST a relay's descriptor. None if accepted, else why not. Raises DirectoryUnreachable."""

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        """What the authority says about a relay. Raises DirectoryUnreachable."""

    def date(self, authority: Authority) -> int | None:
        """The time (Unix seconds) in the authority's last answer, or None. Nobody signed it, so use it only
        in messages to people."""


_HTTP_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)


class HttpSource:
    """Asks authorities over HTTP. `bind`: local address of all connections. `via`: the proxy that they go
    through. `network`: a test's network."""

    def __init__(
        self,
        bind: str | None = None,
        network: httpcore.AsyncConnectionInterface | None = None,
        via: Via | None = None,
        random_bytes: RandomBytes = os.urandom,
    ) -> None:
        self._bind = bind
        self._backend = None if via is None else SocksBackend(via, random_bytes)
        self._reaches_onions = via is not None and via.tor
        self._seconds = HTTP_TIMEOUT_SECONDS + (0.0 if via is None else via.slower_seconds)
        self._network = network
        self._tls: ssl.SSLContext | None = None
        self._dates: dict[str, int | None] = {}

    @asynccontextmanager
    async def _request(self, method: str, url: str, content: bytes) -> AsyncIterator[httpcore.Response]:
        waits = dict.fromkeys(("connect", "read", "write", "pool"), self._seconds)
        if self._network is not None:
            async with self._network.stream(method, url, content=content) as response:
                yield response
            return
        # No connection is kept: a node asks a directory once, a relay once per interval. The system's
        # certificates take 20 ms to load, so they are loaded once, and only for an authority behind TLS.
        if url.startswith("https:") and self._tls is None:
            self._tls = ssl.create_default_context()
        async with (
            httpcore.AsyncConnectionPool(
                ssl_context=self._tls, local_address=self._bind, network_backend=self._backend
            ) as connections,
            connections.stream(method, url, content=content, extensions={"timeout": waits}) as response,
        ):
            yield response

    async def _ask(
        self, authority: Authority, method: str, path: str, most: int, content: bytes = b""
    ) -> tuple[int, bytes]:
        url = f"{authority.url.rstrip('/')}{path}"
        if names_onion(urlsplit(url).hostname or "") and not self._reaches_onions:
            raise DirectoryUnreachable(ONLY_TOR)  # nobody is asked for the address of such a name
        try:
            with trio.fail_after(HTTP_TIMEOUT_SECONDS + self._seconds):
                async with (
                    self._request(method, url, content) as response,
                    aclosing(response.aiter_stream()) as parts,  # type: ignore[type-var]
                ):
                    self._dates[authority.url] = _date(response.headers)
                    data = bytearray()
                    async for part in parts:
                        data += part
                        if len(data) > most:
                            raise DirectoryUnreachable("its answer is too large")
                    return response.status, bytes(data)
        except _HTTP_ERRORS as error:
            raise DirectoryUnreachable(str(error) or type(error).__name__) from error
        except trio.TooSlowError as error:
            raise DirectoryUnreachable("it took too long to answer") from error

    async def consensus(self, authority: Authority) -> bytes:
        status, data = await self._ask(authority, "GET", "/consensus", CONSENSUS_MAX)
        if status != 200:
            raise DirectoryUnreachable("it has no consensus yet" if status == 503 else f"HTTP {status}")
        return data

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        status, data = await self._ask(authority, "POST", "/relay", REPLY_MOST, content=descriptor)
        if status == 202:
            return None
        return str(_object(data).get("why") or f"HTTP {status}")

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        _, data = await self._ask(authority, "GET", f"/relay/{relay.hex()}", REPLY_MOST)
        return _object(data)

    async def unlisted(self, authority: Authority) -> tuple[tuple[dict[str, object], ...], int]:
        """The relays that the authority knows and does not list, as it tells them, and how many more there
        are. Raises DirectoryUnreachable."""
        status, data = await self._ask(authority, "GET", "/unlisted", UNLISTED_MOST)
        told = _object(data)
        relays, left_off = told.get("relays"), told.get("left_off")
        if status != 200 or not isinstance(relays, list) or not isinstance(left_off, int):
            raise DirectoryUnreachable(f"HTTP {status}, and no list of relays")
        return tuple(relay for relay in relays if isinstance(relay, dict)), max(0, left_off)

    def date(self, authority: Authority) -> int | None:
        return self._dates.get(authority.url)


def _date(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The time in the Date header, None without a valid one."""
    for name, value in headers:
        if name.lower() == b"date":
            with suppress(ValueError, TypeError, OverflowError, IndexError):
                date = parsedate_to_datetime(value[:DATE_CHARACTERS].decode("ascii"))
                return int(date.replace(tzinfo=date.tzinfo or UTC).timestamp())
    return None


def _object(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}
