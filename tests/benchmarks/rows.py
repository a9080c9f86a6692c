"""The rows of the table: how each is measured, on C tor and on ours with either cipher."""

from __future__ import annotations

import contextlib
import random
import select
import socket
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from stem import ControllerError

from tests.benchmarks import growth
from tests.benchmarks.ctor import TorNetwork
from tests.benchmarks.onion import OnionNetwork
from tests.benchmarks.table import PYTHON, ROWS

BULK_BYTES = 26_000_000
CONNECTS = 15
COLD_CONNECTS = 3
ROUND_TRIPS = 600
SETTLE_SECONDS = 1.0
"""From the first answer over a new rendezvous to the first trip that is timed, on both sides."""
BUILDS = 30
BUILDS_AT_ONCE = 200
TOR_LISTS_SECONDS = 30.0
QUIET_CONTACTS = 64
QUIET_SECONDS = 6.0
_CIRCUITS = (1_000, 10_000)
QUIET_RATES = (115.0, 350.0)
"""Whispers a second over all 64 that come to about 200 and 600 cells a second at each relay."""


Record = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Span:
    """Relay CPU (seconds) and cells sent over a stretch of time, idle CPU subtracted."""

    cpu_seconds: float
    cells: float
    seconds: float


class _Watch:
    """Reads relays' CPU and cells before and after."""

    def __init__(self, net: TorNetwork | OnionNetwork, idle_rate: float = 0.0) -> None:
        self._net = net
        self._idle_rate = idle_rate
        self._cells = net.relay_cells_sent()
        self._cpu = net.relay_cpu_seconds()
        self._started = time.perf_counter()

    def span(self) -> Span:
        cpu = self._net.relay_cpu_seconds() - self._cpu
        seconds = time.perf_counter() - self._started
        cells = self._net.relay_cells_sent() - self._cells
        return Span(cpu - self._idle_rate * seconds, cells, seconds)


def idle_rate(net: TorNetwork | OnionNetwork, seconds: float = 4.0) -> float:
    """CPU seconds a second of all relays while nobody asks anything of them."""
    watch = _Watch(net)
    time.sleep(seconds)
    span = watch.span()
    return span.cpu_seconds / span.seconds


def measure(tor: TorNetwork | None, onion: OnionNetwork, cipher: str, number: int) -> None:
    """One round. Each part on C tor, then at once on ours: a shared machine is another one a minute later.

    A private C tor network of so few relays stumbles now and then: what could not be measured on it is said,
    and is missing from this round. `number` keeps the rounds' isolation apart.
    """
    to_tor, to_ours = _to_tor(cipher), _to_ours(cipher)
    for what, on_tor, on_ours in _PARTS:
        if tor is not None:
            try:
                on_tor(tor, to_tor, number)
            except (OSError, RuntimeError, ControllerError) as error:
                print(f"C tor, {what}: not measured in this round: {error}", flush=True)
        on_ours(onion, to_ours)
    _memory(onion, to_ours)
    _many_circuits(cipher, to_ours)
    to_ours("relay-start", _relay_start(onion, number) * 1e3)
    to_ours("help", onion.help_seconds() * 1e3)
    if tor is not None:
        _memory(tor, to_tor)


def _to_tor(cipher: str) -> Record:
    def record(name: str, value: float) -> None:
        ROWS[name].tor[cipher].append(value)
        if name == "bulk-cpu":
            for count in _CIRCUITS:
                ROWS[f"circuits-{count}"].tor[cipher].append(value)

    return record


def _to_ours(cipher: str) -> Record:
    return lambda name, value: ROWS[name].ours[cipher].append(value)


def _memory(net: TorNetwork | OnionNetwork, record: Record) -> None:
    for part, kib in net.memory_kib().items():
        record(f"memory-{part}", kib / 1024)


def _many_circuits(cipher: str, record: Record) -> None:
    told = growth.cpu_by_circuits(pure=cipher == PYTHON)
    for count in _CIRCUITS:
        record(f"circuits-{count}", told[count])


def _relay_start(onion: OnionNetwork, number: int) -> float:
    """Seconds from starting a relay's process to its taking links."""
    started = time.perf_counter()
    relay = onion.start_relay(100 + number)
    relay.wait_for("links are taken")
    seconds = time.perf_counter() - started
    relay.stop()
    return seconds


def _our_connects(net: OnionNetwork, record: Record) -> None:
    warm = net.visitor.ask(do="connect", times=CONNECTS)["seconds"]
    record("connect", statistics.median(warm) * 1e3)
    cold = net.visitor.ask(do="cold_connect", times=COLD_CONNECTS)["seconds"]
    record("connect-cold", statistics.median(cold) * 1e3)


def _our_trips(net: OnionNetwork, record: Record) -> None:
    told = net.visitor.ask(do="round_trip", times=ROUND_TRIPS, settle=SETTLE_SECONDS)
    _record_trips(told["seconds"], record)


def _our_bulk(net: OnionNetwork, record: Record) -> None:
    watch = _Watch(net)
    told = net.visitor.ask(do="bulk", bytes=BULK_BYTES)
    span = watch.span()
    if told["delivered"] != BULK_BYTES // 65535:
        raise RuntimeError(f"only {told['delivered']} whispers of the bulk were delivered")
    record("bulk-rate", told["delivered"] * 65535 / told["seconds"] / 1e6)
    record("bulk-cpu", span.cpu_seconds / span.cells * 1e6)


def _our_builds(net: OnionNetwork, record: Record) -> None:
    record("build", statistics.median(net.visitor.ask(do="build", times=BUILDS)["seconds"]) * 1e3)
    watch = _Watch(net)
    told = net.visitor.ask(do="build_many", times=BUILDS_AT_ONCE)
    span = watch.span()
    record("build-rate", told["built"] / told["seconds"])
    record("build-cpu", span.cpu_seconds / told["built"] / 3 * 1e6)


def _our_quiet(net: OnionNetwork, record: Record) -> None:
    idle = idle_rate(net)
    net.visitor.ask(do="open_many", contacts=QUIET_CONTACTS)
    for name, rate in zip(("quiet-200", "quiet-600"), QUIET_RATES, strict=True):
        watch = _Watch(net, idle)
        told = net.visitor.ask(do="quiet", rate=rate, seconds=QUIET_SECONDS)
        span = watch.span()
        if told["delivered"] != told["sent"]:
            raise RuntimeError(f"{told['sent'] - told['delivered']} whispers were lost")
        record(name, span.cpu_seconds / span.cells * 1e6)
    net.visitor.ask(do="close_many")


def _tor_connects(net: TorNetwork, record: Record, number: int) -> None:
    seconds = []
    for attempt in range(CONNECTS):
        started = time.perf_counter()
        with contextlib.closing(net.connect(f"c{number}.{attempt}")) as sock:
            sock.sendall(b"ex")
            sock.recv(1)
            seconds.append(time.perf_counter() - started)
    record("connect", statistics.median(seconds) * 1e3)


def _tor_trips(net: TorNetwork, record: Record, number: int) -> None:
    with contextlib.closing(net.connect(f"r{number}")) as sock:
        sock.sendall(b"e")
        _echo(sock)
        time.sleep(SETTLE_SECONDS)
        _record_trips([_echo(sock) for _ in range(ROUND_TRIPS)], record)


def _tor_bulk(net: TorNetwork, record: Record, number: int) -> None:
    with contextlib.closing(net.connect(f"b{number}")) as sock:
        sock.sendall(b"s")
        watch = _Watch(net)
        started = time.perf_counter()
        sent, piece = 0, bytes(65536)
        while sent < BULK_BYTES:
            sock.sendall(piece)
            sent += len(piece)
        sock.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            sock.recv(1)  # the service has read it all and closes
        seconds = time.perf_counter() - started
        span = watch.span()
    record("bulk-rate", sent / seconds / 1e6)
    record("bulk-cpu", span.cpu_seconds / span.cells * 1e6)


def _tor_path(net: TorNetwork) -> list[str]:
    """Three relays that C tor's client can build a circuit over."""
    client = net.controller("client")
    end = time.monotonic() + TOR_LISTS_SECONDS
    while time.monotonic() < end:
        prints = {status.nickname: status.fingerprint for status in client.get_network_statuses()}
        listed = [prints[name] for name in net.relays[1:] if name in prints]
        if len(listed) >= 3:
            path = random.sample(listed, 3)
            with contextlib.suppress(ControllerError):
                client.close_circuit(client.new_circuit(path, await_build=True, timeout=5))
                return path
        time.sleep(0.5)
    raise RuntimeError("its client builds no circuit over three relays")


def _tor_builds(net: TorNetwork, record: Record, number: int) -> None:
    client = net.controller("client")
    path = _tor_path(net)
    seconds = []
    for _ in range(BUILDS):
        started = time.perf_counter()
        with contextlib.suppress(ControllerError):
            circuit = client.new_circuit(path, await_build=True, timeout=10)
            seconds.append(time.perf_counter() - started)
            client.close_circuit(circuit)
    if len(seconds) < BUILDS / 2:
        raise RuntimeError(f"only {len(seconds)} of {BUILDS} circuits were built")
    record("build", statistics.median(seconds) * 1e3)
    watch = _Watch(net)
    started = time.perf_counter()
    wanted = {client.extend_circuit("0", path) for _ in range(BUILDS_AT_ONCE)}
    states: dict[str, str] = {}
    while time.perf_counter() < started + TOR_LISTS_SECONDS:
        states = {one.id: one.status for one in client.get_circuits()}
        if all(states.get(one) in ("BUILT", None) for one in wanted):
            break
        time.sleep(0.01)
    took = time.perf_counter() - started
    built = sum(states.get(one) == "BUILT" for one in wanted)
    if not built:
        raise RuntimeError("no circuit was built")
    record("build-rate", built / took)
    record("build-cpu", watch.span().cpu_seconds / built / 3 * 1e6)
    for one in wanted:
        with contextlib.suppress(Exception):
            client.close_circuit(one)


def _tor_quiet(net: TorNetwork, record: Record, number: int) -> None:
    idle = idle_rate(net)
    socks = [net.connect(f"q{number}.{one}") for one in range(QUIET_CONTACTS)]
    try:
        for sock in socks:
            sock.sendall(b"ex")
            sock.recv(1)
        for name, rate in zip(("quiet-200", "quiet-600"), QUIET_RATES, strict=True):
            watch = _Watch(net, idle)
            _send_now_and_then(socks, rate)
            span = watch.span()
            record(name, span.cpu_seconds / span.cells * 1e6)
    finally:
        for sock in socks:
            sock.close()


_PARTS: tuple[
    tuple[str, Callable[[TorNetwork, Record, int], None], Callable[[OnionNetwork, Record], None]], ...
] = (
    ("connecting", _tor_connects, _our_connects),
    ("round trips", _tor_trips, _our_trips),
    ("bulk", _tor_bulk, _our_bulk),
    ("builds", _tor_builds, _our_builds),
    ("quiet circuits", _tor_quiet, _our_quiet),
)


def _send_now_and_then(socks: list[socket.socket], rate: float) -> None:
    """256 bytes to the echo on random streams, at random moments; answers are read as they come."""
    end = time.perf_counter() + QUIET_SECONDS
    due = time.perf_counter()
    while due < end:
        while (wait := due - time.perf_counter()) > 0:
            for sock in select.select(socks, [], [], wait)[0]:
                sock.recv(65536)
        random.choice(socks).sendall(bytes(256))
        due += random.expovariate(rate)


def _echo(sock: socket.socket) -> float:
    started = time.perf_counter()
    sock.sendall(bytes(256))
    got = 0
    while got < 256:
        data = sock.recv(65536)
        if not data:
            raise OSError("the echo has ended")
        got += len(data)
    return time.perf_counter() - started


def _record_trips(seconds: list[float], record: Record) -> None:
    record("round-trip", statistics.median(seconds) * 1e3)
    record("round-trip-p99", statistics.quantiles(seconds, n=100)[98] * 1e3)


def serve_echo(port: int) -> None:
    """What stands behind C tor's onion service: `e` echoes all that follows, anything else swallows it."""
    listener = socket.create_server(("127.0.0.1", port), backlog=256)

    def serve(sock: socket.socket) -> None:
        with contextlib.suppress(OSError), contextlib.closing(sock):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            echo = sock.recv(1) == b"e"
            while data := sock.recv(1 << 16):
                if echo:
                    sock.sendall(data)

    def accept() -> None:
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
