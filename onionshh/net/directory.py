"""Where a node's consensus comes from, and the task that keeps it fresh (SPEC 8).

A node's first start asks a directory over HTTP; later a client fetches from any relay over a circuit, at a
random moment, so the directory does not see who is online. Relays, which are public anyway, ask HTTP, and
early, so that they know a relay before clients extend to it.

Whose clock is wrong is not taken for granted. When the next consensus is due is counted from when the one
in hand came; whether that one is over is judged by what it confirmed itself (net/clocks.py). One that our
clock says is of the future binds us to nothing: it came while our clock and the directory's were ahead.
"""

from __future__ import annotations

import json
import logging
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC
from email.utils import parsedate_to_datetime
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

import httpcore
import trio

from onionshh.advice import advice, in_words
from onionshh.config import Authority, NetworkFile, parse_network_file
from onionshh.core.chance import Chance
from onionshh.core.path import MOST_RELAYS, PathImpossible
from onionshh.core.trust import (
    EARLY_SECONDS,
    ConsensusNotYet,
    ConsensusOutOfTime,
    is_begun,
    open_consensus_untrusted,
    read_consensus_untrusted,
)
from onionshh.core.view import View
from onionshh.core.words import amount, utc
from onionshh.errors import (
    BadNetworkFile,
    ClockWrong,
    Error,
    NetworkUnreachable,
    NoDirectory,
    ProtocolError,
)
from onionshh.geometry import CONSENSUS_MAX
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clocks import JUMP_SECONDS, Clock
from onionshh.net.conditions import Condition
from onionshh.net.guarding import NoGuardAnswers
from onionshh.net.store import Folder, run_in_thread
from onionshh.wire.consensus import Consensus

logger = logging.getLogger("onionshh.net")

HTTP_TIMEOUT_SECONDS = 10.0
RETRY_MIN_SECONDS = 1.0
RETRY_MAX_SECONDS = 60.0
AGAIN_PART = 6
NAP_SECONDS = 60.0
DATE_CHARACTERS = 64
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

    def date(self, authority: Authority) -> int | None:
        """What time the authority's last answer said it is (Unix seconds), None if it said none.
        Nobody signed that: it is good for a sentence and for nothing else."""


_HTTP_ERRORS = (
    httpcore.NetworkError,
    httpcore.TimeoutException,
    httpcore.ProtocolError,
    httpcore.UnsupportedProtocol,
    OSError,
)


class NotThisNetwork(NoDirectory):
    """A directory answers, and what it says is not of the network that the network file describes."""


class ListOutOfTime(NoDirectory):
    """A directory whose clock is ours serves a list of another time."""


class HttpSource:
    """Authorities over HTTP. `bind`: local address of every connection; `network`: a test's, in its place."""

    def __init__(
        self, bind: str | None = None, network: httpcore.AsyncConnectionInterface | None = None
    ) -> None:
        self._bind = bind
        self._network = network
        self._tls: ssl.SSLContext | None = None
        self._dates: dict[str, int | None] = {}

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

    async def _ask(
        self, authority: Authority, method: str, path: str, most: int, content: bytes = b""
    ) -> tuple[int, bytes]:
        url = f"{authority.url.rstrip('/')}{path}"
        try:
            with trio.fail_after(2 * HTTP_TIMEOUT_SECONDS):
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

    def date(self, authority: Authority) -> int | None:
        return self._dates.get(authority.url)


def _date(headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """What the Date header says, None without one that can be read."""
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
        folder: Folder,
        over_circuit: Callable[[int], Awaitable[bytes]] | None,
    ) -> None:
        self._network = network
        self._source = source
        self._clock = clock
        self._chance = chance
        self._folder = folder
        self._over_circuit = over_circuit
        self._changed = trio.Event()
        self._wanted = trio.Event()
        self._view: View | None = None
        self._came = (0.0, 0)
        """When it came: monotonic seconds, and what the wall clock showed."""
        self._wait = 0.0
        """How many seconds after that the next one is to be fetched."""
        self._http_not_before = 0.0
        self._out_of_time = Condition(logger.warning)
        self._not_kept = Condition(logger.warning)
        self.document = b""
        """The consensus in hand as it came, for those who ask us for it."""

    @property
    def view(self) -> View | None:
        """The consensus in hand, None before the first; perhaps expired, see `current`."""
        return self._view

    @property
    def current(self) -> View | None:
        """The consensus in hand if it is still valid, by what it confirmed: a clock that jumps ends none."""
        view = self._view
        return view if view and self._clock.earliest() < view.consensus.valid_until else None

    @property
    def out_of_time(self) -> str:
        """Why the next consensus cannot be taken, if clocks are why; empty when all is well."""
        return self._out_of_time.now

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
        """Take up what is on disk: what was accepted once and is still valid. Nothing is known yet but what
        this machine's clock says; what is of its future came while it was ahead, and does not count."""
        previous = self._read(PREVIOUS_FILE)
        data = self._read(CONSENSUS_FILE)
        wall = self._clock.wall()
        if data is not None and is_begun(data[1], wall) and wall < data[1].valid_until:
            self._take(data[0], data[1], previous[1] if previous else None, from_disk=True)

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
        except (NoDirectory, ClockWrong):
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
            await self._until_due()
            held = self._view
            # Whatever stands in the way, the one in hand serves as long as it is valid.
            with suppress(NoDirectory, NetworkUnreachable, CircuitFailed, ProtocolError):
                try:
                    await self._fetch()
                except ClockWrong as error:
                    self._out_of_time.holds(str(error))
            if self._view is not held:
                self._out_of_time.over("The network's consensus and this machine's clock agree again.")
                retry = RETRY_MIN_SECONDS
            else:
                await trio.sleep(retry * self._chance.between(0.5, 1.0))
                retry = min(2 * retry, self._again_seconds())

    # Inside.

    def _interval(self) -> float:
        return float(self._view.params.interval_seconds) if self._view else RETRY_MAX_SECONDS

    def _again_seconds(self) -> float:
        """How long between two tries at most: no list is made more often than once an interval."""
        return min(RETRY_MAX_SECONDS, max(1.0, self._interval() / AGAIN_PART))

    async def _until_due(self) -> None:
        """Until the next one is wanted or due: so many seconds after this one came, whatever the wall clock
        does meanwhile. If it went ahead, perhaps the machine was asleep: then those seconds count too."""
        while self._view is not None and self._counts(self._view.consensus):
            now, (came, came_wall) = self._clock.monotonic(), self._came
            asleep = (self._clock.wall() - came_wall) - (now - came)
            due = came + self._wait - (asleep if asleep > JUMP_SECONDS else 0.0)
            if now >= due:
                return
            with trio.move_on_at(min(due, now + NAP_SECONDS)):
                await self._wanted.wait()
                return

    def fetch_soon(self) -> None:
        """No guard answers where the one in hand says: the next is looked for now, whether due or not."""
        self._wanted.set()
        self._wanted = trio.Event()

    def _wait_after(self, consensus: Consensus, from_disk: bool) -> float:
        """How long after it came the next one is to be fetched: no longer than if it had just been made,
        however far our clock is behind. One that comes from the network and is overdue by an interval was
        made just now, too: it is our clock that is ahead, and asking each minute would not bring the next."""
        low, high = (0.02, 0.1) if self._over_circuit is None else (0.2, 0.9)
        interval = consensus.fresh_until - consensus.valid_after
        fresh = min(consensus.fresh_until - self._clock.steady(), interval)
        if fresh < -self._interval() and not from_disk:
            fresh = interval
        return max(0.0, fresh + self._interval() * self._chance.between(low, high))

    def _counts(self, consensus: Consensus) -> bool:
        """Whether it is more than something from the future. Either clock may vouch for it, so that a jump
        that does not last makes nothing of what we hold."""
        return is_begun(consensus, max(self._clock.wall(), self._clock.steady()))

    async def _fetch(self) -> None:
        if self._over_circuit is not None and self.current is not None:
            held = self.current.consensus
            try:
                document = await self._over_circuit(held.valid_after if self._counts(held) else 0)
            except (PathImpossible, NoGuardAnswers) as error:
                # A network that is just starting, of which no circuit can be made; or no guard answers where
                # the one in hand says: then a newer one may know another place (SPEC 8).
                now = self._clock.monotonic()
                if isinstance(error, NoGuardAnswers):
                    if now < self._http_not_before:
                        raise
                    self._http_not_before = now + self._again_seconds()
            else:
                if document:
                    await self._accept(document)
                return
        await self._fetch_http()

    async def _fetch_http(self) -> None:
        why = other = ""
        witnesses: list[_Witness] = []
        for authority in self._chance.shuffled(self._network.authorities):
            try:
                await self._accept(await self._source.consensus(authority))
                return
            except DirectoryUnreachable as error:
                why = why or f"{authority.url}: {error}"
            except ConsensusOutOfTime as error:
                witnesses.append(_Witness(authority.url, error, self._source.date(authority)))
            except ProtocolError as error:
                other = f"What the directory {authority.url} serves is not of this network ({error.reason});"
                other += " check its address, or ask whoever runs the network for its current network file."
        if witnesses:
            raise _out_of_time(witnesses, self._clock.wall())
        if other and not why:
            raise NotThisNetwork(other)  # with some that did not answer, one must not have the last word
        raise NoDirectory(f"No directory answers ({why}); check that it runs and that you are online.")

    async def _accept(self, document: bytes) -> None:
        held = self._held()
        wall, steady = self._clock.wall(), self._clock.steady()
        check = partial(
            open_consensus_untrusted,
            document,
            network=self._network,
            wall=max(wall, steady),
            earliest=self._clock.earliest() if held is not None else min(wall, steady),
            held=held,
        )
        # A large one takes a tenth of a second. In a thread it yields to whoever forwards cells.
        consensus = await run_in_thread(check) if len(document) > INLINE_BYTES else check()
        held = self._held()
        if held is not None and consensus.valid_after <= held.valid_after:
            return
        try:
            if self.document:
                self._folder.write(PREVIOUS_FILE, self.document)
            self._folder.write(CONSENSUS_FILE, document)
        except OSError as error:
            self._not_kept.holds(f"a new consensus is used and could not be kept on disk: {in_words(error)}")
        else:
            self._not_kept.over("consensuses are kept on disk again")
        self._take(document, consensus, self._view.consensus if self._view else None)

    def _held(self) -> Consensus | None:
        """The consensus in hand, in so far as it binds us to take no older one."""
        held = self._view.consensus if self._view else None
        return held if held is not None and self._counts(held) else None

    def _take(
        self, document: bytes, consensus: Consensus, previous: Consensus | None, *, from_disk: bool = False
    ) -> None:
        self.document = document
        self._view = View(consensus, previous)
        self._clock.confirm(consensus.valid_after)
        self._came = (self._clock.monotonic(), self._clock.wall())
        self._wait = self._wait_after(consensus, from_disk)
        changed, self._changed = self._changed, trio.Event()
        changed.set()

    def _read(self, name: str) -> tuple[bytes, Consensus] | None:
        data = self._folder.read(name)
        if data is None:
            return None
        try:
            return data, read_consensus_untrusted(data, self._network)
        except ProtocolError:
            return None  # of another network, or damaged: fetched anew


class _Witness(NamedTuple):
    """A directory whose list is out of time by our clock, and what time it says that it is itself."""

    url: str
    found: ConsensusOutOfTime
    date: int | None


def _out_of_time(witnesses: list[_Witness], wall: int) -> Error:
    """Whose clock is the odd one: ours, the directory's, or that of the list it serves."""
    with_us = [one for one in witnesses if one.date is not None and abs(one.date - wall) <= EARLY_SECONDS]
    if 2 * len(with_us) >= len(witnesses):
        return _list_out_of_time(with_us[0], wall)
    against = [one for one in witnesses if one not in with_us]
    one = against[0]
    there = one.found.valid_after if one.date is None else one.date
    difference = f"This machine's clock is about {amount(wall - there)} {_way(wall - there)}"
    offset = one.found.offset_seconds
    if len(against) > 1 and len({(each.found.offset_seconds > 0) for each in against}) == 1:
        return ClockWrong(
            f"{difference} those of {len(against)} directories: here it is {utc(wall)}, there {utc(there)};"
            " set it right.",
            offset,
        )
    if one.date is None:
        return ClockWrong(
            f"{difference} the directory's list: here it is {utc(wall)}, the list of {one.url} is of"
            f" {utc(there)}. Set right whichever is wrong.",
            offset,
        )
    ends = one.found.valid_until
    if one.found.valid_after - EARLY_SECONDS <= one.date < ends:
        return ClockWrong(
            f"{difference} that of the directory {one.url}: here it is {utc(wall)}, there {utc(there)}."
            " Set right whichever is wrong.",
            offset,
        )
    return ClockWrong(
        f"{difference} that of the directory {one.url}, and its list agrees with neither: here it is"
        f" {utc(wall)}, there {utc(there)}, the list is of {utc(one.found.valid_after)}. Set right whichever"
        " is wrong.",
        offset,
    )


def _list_out_of_time(one: _Witness, wall: int) -> ListOutOfTime:
    """The directory's own clock is ours, its list is not: nobody but its operator can mend that."""
    offset = wall - one.found.valid_after
    if isinstance(one.found, ConsensusNotYet):
        fault = f"is dated {utc(one.found.valid_after)}, about {amount(offset)} ahead"
    else:
        fault = f"is of {utc(one.found.valid_after)}, about {amount(offset)} ago, and has expired"
    return ListOutOfTime(
        f"The list of relays that the directory {one.url} serves {fault}, though its clock agrees with this"
        f" machine's ({utc(wall)}): whoever runs the directory must see to it."
    )


def _way(offset: int) -> str:
    return "ahead of" if offset > 0 else "behind"
