"""Where a node's consensus comes from, and the task that keeps it fresh (SPEC 8).

A node's first start asks a directory over HTTP; later a client fetches from any relay over a circuit, at a
random moment, so the directory does not see who is online. Relays, which are public anyway, ask HTTP, and
early, so that they know a relay before clients extend to it.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Protocol

import httpcore
import trio

from onionshh.advice import advice
from onionshh.config import Authority, NetworkFile, parse_network_file
from onionshh.core.chance import Chance
from onionshh.core.path import MOST_RELAYS, PathImpossible
from onionshh.core.trust import (
    ConsensusExpired,
    ConsensusNotYet,
    open_consensus_untrusted,
    read_consensus_untrusted,
)
from onionshh.core.view import View
from onionshh.errors import BadNetworkFile, ClockWrong, NetworkUnreachable, NoDirectory, ProtocolError
from onionshh.geometry import CONSENSUS_MAX
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import Clock
from onionshh.net.guarding import NoGuardAnswers
from onionshh.net.store import atomic_write, read_file, run_in_thread
from onionshh.wire.consensus import Consensus

logger = logging.getLogger("onionshh.net")

HTTP_TIMEOUT_SECONDS = 10.0
RETRY_MIN_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0
HTTP_AGAIN_SECONDS = 60.0
INLINE_BYTES = 64 * 1024
"""A consensus of up to some three hundred relays is checked where it arrives: a few milliseconds."""
REPLY_MOST = 64 * 1024
NETWORK_FILE_MOST = 256 * 1024
CONSENSUS_FILE = "consensus"
PREVIOUS_FILE = "consensus-previous"


class DirectoryUnreachable(Exception):
    """One authority did not answer as it should; the reason in words."""


class DirectorySource(Protocol):
    """How authorities are asked."""

    async def consensus(self, authority: Authority) -> bytes:
        """The consensus document as it came. DirectoryUnreachable."""

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        """POST a relay's descriptor; None when taken, else why not in words. DirectoryUnreachable."""

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        """What the authority says of a relay. DirectoryUnreachable."""


_HTTP_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)


class NotThisNetwork(NoDirectory):
    """A directory answers, and what it says is not of the network that the network file describes."""


class HttpSource:
    """Authorities over HTTP. `bind`: local address of every connection; `network`: a test's, in its place."""

    def __init__(
        self, bind: str | None = None, network: httpcore.AsyncConnectionInterface | None = None
    ) -> None:
        self._bind = bind
        self._network = network
        self._tls: ssl.SSLContext | None = None

    @asynccontextmanager
    async def _request(self, method: str, url: str, content: bytes) -> AsyncIterator[httpcore.Response]:
        waits = dict.fromkeys(("connect", "read", "write", "pool"), HTTP_TIMEOUT_SECONDS)
        if self._network is not None:
            async with self._network.stream(method, url, content=content) as response:
                yield response
            return
        # No connection is kept: a node talks to a directory once, a relay once an interval. The system's
        # certificates take 20 ms to load, so they are, once, only for an authority behind TLS.
        if url.startswith("https:") and self._tls is None:
            self._tls = ssl.create_default_context()
        async with (
            httpcore.AsyncConnectionPool(ssl_context=self._tls, local_address=self._bind) as connections,
            connections.stream(method, url, content=content, extensions={"timeout": waits}) as response,
        ):
            yield response

    async def _ask(self, method: str, url: str, most: int, content: bytes = b"") -> tuple[int, bytes]:
        try:
            with trio.fail_after(2 * HTTP_TIMEOUT_SECONDS):
                async with (
                    self._request(method, url, content) as response,
                    aclosing(response.aiter_stream()) as parts,  # type: ignore[type-var]
                ):
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
        status, data = await self._ask("GET", f"{authority.url.rstrip('/')}/consensus", CONSENSUS_MAX)
        if status != 200:
            raise DirectoryUnreachable("it has no consensus yet" if status == 503 else f"HTTP {status}")
        return data

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        url = f"{authority.url.rstrip('/')}/relay"
        status, data = await self._ask("POST", url, REPLY_MOST, content=descriptor)
        if status == 202:
            return None
        return str(_object(data).get("why") or f"HTTP {status}")

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        url = f"{authority.url.rstrip('/')}/relay/{relay.hex()}"
        _, data = await self._ask("GET", url, REPLY_MOST)
        return _object(data)


def _object(data: bytes) -> dict[str, object]:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def read_network_file(path: Path | str) -> NetworkFile:
    """The network file at this path. BadNetworkFile with one sentence."""
    if not Path(path).name:
        raise BadNetworkFile("No network file is named: its path is empty, or a folder's.")
    try:
        with Path(path).open("rb") as file:
            data = file.read(NETWORK_FILE_MOST + 1)
    except FileNotFoundError:
        raise BadNetworkFile(
            f"There is no network file at {path}; ask whoever runs the network for it,"
            " or start a directory, which writes one."
        ) from None
    except OSError as error:
        raise BadNetworkFile(
            f"The network file {path} cannot be read: {error.strerror}{advice(error)}."
        ) from error
    if len(data) > NETWORK_FILE_MOST:
        raise BadNetworkFile(f"{path} is larger than any network file; give the right one.")
    try:
        return parse_network_file(data)
    except BadNetworkFile as error:
        raise BadNetworkFile(f"{path}: {error}") from error


class ConsensusKeeper:
    """The consensus in hand and the one before it, on disk and kept fresh.

    `over_circuit(valid_after)` fetches over a circuit, NoGuardAnswers when none can be had; None to ask HTTP
    always (a relay).
    """

    def __init__(
        self,
        *,
        network: NetworkFile,
        source: DirectorySource,
        clock: Clock,
        chance: Chance,
        folder: Path,
        over_circuit: Callable[[int], Awaitable[bytes]] | None,
    ) -> None:
        self._network = network
        self._source = source
        self._clock = clock
        self._chance = chance
        self._folder = folder
        self._over_circuit = over_circuit
        self._changed = trio.Event()
        self._view: View | None = None
        self._http_not_before = 0.0
        self.document = b""
        """The consensus in hand as it came, for those who ask us for it."""

    @property
    def view(self) -> View | None:
        """The consensus in hand, None before the first; perhaps expired, see `current`."""
        return self._view

    @property
    def current(self) -> View | None:
        """The consensus in hand if it is still valid."""
        view = self._view
        return view if view and self._clock.wall() < view.consensus.valid_until else None

    def require(self) -> View:
        """The consensus in hand. NoDirectory when there is none that is still valid."""
        view = self.current
        if view is None:
            raise NoDirectory("The network's consensus has expired and no newer one could be had.")
        return view

    async def changed(self) -> None:
        """Until the next new consensus."""
        await self._changed.wait()

    def load(self) -> None:
        """Take up what is on disk: what was accepted once and is still valid."""
        previous = self._read(PREVIOUS_FILE)
        data = self._read(CONSENSUS_FILE)
        if data is not None and self._clock.wall() < data[1].valid_until:
            self._take(data[0], data[1], previous[1] if previous else None)

    async def first(self) -> View:
        """A valid consensus, from disk or else from the directories. NoDirectory, ClockWrong."""
        if self.current is None:
            self.load()
        held = self.current
        if held is not None and len(held.relays) >= MOST_RELAYS:
            return held
        # None, or one of a network that was just starting, of which no circuit could be made to ask.
        try:
            await self._fetch_http()
        except NoDirectory:
            if held is None:
                raise
        view = self.current
        if view is None:
            raise NoDirectory("No valid consensus could be had.")
        return view

    async def keep(self) -> None:
        """Fetch the next one when its time has come, for ever."""
        retry = RETRY_MIN_SECONDS
        while True:
            await trio.sleep(max(0.0, self._next_fetch() - self._clock.wall()) if self._view else 0.0)
            held = self._view.consensus.valid_after if self._view else 0
            # Whatever stands in the way, the one in hand serves as long as it is valid.
            with suppress(NoDirectory, ClockWrong, NetworkUnreachable, CircuitFailed, ProtocolError):
                await self._fetch()
            if self._view is not None and self._view.consensus.valid_after > held:
                retry = RETRY_MIN_SECONDS
            else:
                await trio.sleep(retry * self._chance.between(0.5, 1.0))
                retry = min(2 * retry, RETRY_MAX_SECONDS, max(1.0, self._interval()))

    # Inside.

    def _interval(self) -> float:
        return float(self._view.params.interval_seconds) if self._view else RETRY_MAX_SECONDS

    def _next_fetch(self) -> float:
        if self._view is None:
            return 0.0
        low, high = (0.02, 0.1) if self._over_circuit is None else (0.2, 0.9)
        return self._view.consensus.fresh_until + self._interval() * self._chance.between(low, high)

    async def _fetch(self) -> None:
        if self._over_circuit is not None and self.current is not None:
            try:
                document = await self._over_circuit(self.current.consensus.valid_after)
            except (PathImpossible, NoGuardAnswers) as error:
                # A network that is just starting, of which no circuit can be made; or no guard answers where
                # the one in hand says: then a newer one may know another place (SPEC 8).
                now = self._clock.monotonic()
                if isinstance(error, NoGuardAnswers):
                    if now < self._http_not_before:
                        raise
                    self._http_not_before = now + HTTP_AGAIN_SECONDS
            else:
                if document:
                    await self._accept(document)
                return
        await self._fetch_http()

    async def _fetch_http(self) -> None:
        why = other = ""
        clock: ConsensusNotYet | ConsensusExpired | None = None
        for authority in self._chance.shuffled(self._network.authorities):
            try:
                await self._accept(await self._source.consensus(authority))
                return
            except DirectoryUnreachable as error:
                why = why or f"{authority.url}: {error}"
            except (ConsensusNotYet, ConsensusExpired) as error:
                clock = error
            except ProtocolError as error:
                other = f"What the directory {authority.url} serves is not of this network ({error.reason});"
                other += " check its address, or ask whoever runs the network for its current network file."
        if clock is not None:
            raise _clock_wrong(clock.offset_seconds)
        if other and not why:
            raise NotThisNetwork(other)  # with some that did not answer, one must not have the last word
        raise NoDirectory(f"No directory answers ({why}); check that it runs and that you are online.")

    async def _accept(self, document: bytes) -> None:
        held = self._view.consensus if self._view else None
        check = partial(
            open_consensus_untrusted, document, network=self._network, wall=self._clock.wall(), held=held
        )
        # A large one takes a tenth of a second. In a thread it yields to whoever forwards cells.
        consensus = await run_in_thread(check) if len(document) > INLINE_BYTES else check()
        held = self._view.consensus if self._view else None
        if held is not None and consensus.valid_after <= held.valid_after:
            return
        try:
            if self.document:
                atomic_write(self._folder / PREVIOUS_FILE, self.document)
            atomic_write(self._folder / CONSENSUS_FILE, document)
        except OSError as error:
            logger.warning("a new consensus is used and could not be kept on disk: %s", error)
        self._take(document, consensus, held)

    def _take(self, document: bytes, consensus: Consensus, previous: Consensus | None) -> None:
        self.document = document
        self._view = View(consensus, previous)
        self._clock.confirm(consensus.valid_after)
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _read(self, name: str) -> tuple[bytes, Consensus] | None:
        data = read_file(self._folder / name)
        if data is None:
            return None
        try:
            return data, read_consensus_untrusted(data, self._network)
        except ProtocolError:
            return None  # of another network, or damaged: fetched anew


def _clock_wrong(offset: int) -> ClockWrong:
    way = "ahead of" if offset > 0 else "behind"
    size = abs(offset)
    amount = f"{size} seconds" if size < 120 else f"{size // 60} minutes"
    if size >= 7200:
        amount = f"{size // 3600} hours"
    return ClockWrong(
        f"This machine's clock is about {amount} {way} the network's; set it right and try again.", offset
    )
