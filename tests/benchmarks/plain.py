"""The price of privacy: 256 bytes there and back over UDP and over 0MQ between two processes here.

python -m tests.benchmarks.plain udp|zmq    the other end; prints its port, echoes until it is ended
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence

from tests.benchmarks.measured import Measured

TRIPS = 2_000
WARM_TRIPS = 100
MESSAGE = bytes(256)
PATIENCE_SECONDS = 10.0
NO_ZMQ = "pyzmq is not installed (pip install pyzmq): left out"


def measure() -> list[Measured]:
    """Median and p99 over UDP, and over 0MQ where pyzmq is installed; about a second."""
    rows = trip_rows("UDP, no privacy at all", _udp())
    if importlib.util.find_spec("zmq") is None:
        return [*rows, Measured("round trip of 256 B over 0MQ", "", why=NO_ZMQ)]
    return rows + trip_rows("0MQ (REQ/REP, TCP)", _zmq())


def trip_rows(over: str, seconds: list[float]) -> list[Measured]:
    """The two rows of these round trips."""
    name = f"round trip of 256 B over {over}"
    return [
        Measured(f"{name}, median", "ms", statistics.median(seconds) * 1e3),
        Measured(f"{name}, p99", "ms", statistics.quantiles(seconds, n=100)[98] * 1e3),
    ]


def _udp() -> list[float]:
    with _other_end("udp") as port, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE_SECONDS)
        sock.connect(("127.0.0.1", port))

        def trip() -> None:
            sock.send(MESSAGE)
            sock.recv(2048)

        return _timed(trip)


def _zmq() -> list[float]:
    import zmq

    with _other_end("zmq") as port, zmq.Context() as context, context.socket(zmq.REQ) as sock:
        sock.setsockopt(zmq.RCVTIMEO, round(PATIENCE_SECONDS * 1e3))
        sock.setsockopt(zmq.LINGER, 0)
        sock.connect(f"tcp://127.0.0.1:{port}")

        def trip() -> None:
            sock.send(MESSAGE)
            sock.recv()

        return _timed(trip)


def _timed(trip: Callable[[], None]) -> list[float]:
    seconds = []
    for _ in range(WARM_TRIPS + TRIPS):
        started = time.perf_counter()
        trip()
        seconds.append(time.perf_counter() - started)
    return seconds[WARM_TRIPS:]


@contextlib.contextmanager
def _other_end(kind: str) -> Iterator[int]:
    command = [sys.executable, "-m", "tests.benchmarks.plain", kind]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            if process.stdout is None:
                raise RuntimeError("no standard output")
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _echo_udp() -> None:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", 0))
    print(sock.getsockname()[1], flush=True)
    while True:
        data, peer = sock.recvfrom(2048)
        sock.sendto(data, peer)


def _echo_zmq() -> None:
    import zmq

    sock = zmq.Context().socket(zmq.REP)
    print(sock.bind_to_random_port("tcp://127.0.0.1"), flush=True)
    while True:
        sock.send(sock.recv())


def main(arguments: Sequence[str] | None = None) -> None:
    ends = {"udp": _echo_udp, "zmq": _echo_zmq}
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.plain")
    parser.add_argument("end", choices=ends)
    ends[parser.parse_args(arguments).end]()


if __name__ == "__main__":
    main()
