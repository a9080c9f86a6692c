"""`make bench`: both networks on this machine, in one run, alternating; then what grows with what. Tables,
JSON and pictures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from onionshh.core.base.params import default_params
from onionshh.crypto import uiv
from tests.benchmarks import (
    board_sizes,
    boards,
    crowd,
    ctor,
    curves,
    growth,
    junk,
    letters,
    mailboxes,
    plain,
    rows,
    sessions,
    work,
)
from tests.benchmarks.measured import Measured, in_python
from tests.benchmarks.onion import OnionNetwork
from tests.benchmarks.picture import draw
from tests.benchmarks.table import CIPHERS, PYTHON, ROWS, print_table

RESULTS = Path(__file__).parent / "results"
RELAYS = 7
ROUNDS = 3
TOR_SETTLE_SECONDS = 45.0
TOR_STARTS = 3


def main() -> int:
    """Measure, print, write; the exit status says nothing about the bars."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds whose median is taken")
    parser.add_argument("--only", choices=("beside", "growth"), help="one of the two tables alone")
    asked = parser.parse_args()
    params = default_params(one_machine=True)
    print("consensus parameters:", ", ".join(f"{name}={value}" for name, value in params.to_pairs()))
    print(
        f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}, {RELAYS} relays"
    )
    RESULTS.mkdir(exist_ok=True)
    if uiv.compiled() is None:
        print("the cipher is not compiled here: its column is empty")
    grown: list[Measured] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onionshh-bench-")))
        if asked.only != "growth":
            _beside_tor(folder, asked.rounds)
        if asked.only != "beside":
            grown = _over_networks(folder)
    # The networks have ended: nothing runs beside what is measured within one process.
    if asked.only != "beside":
        _growth(grown)
    return 0


def _beside_tor(folder: Path, rounds: int) -> None:
    """The first table."""
    missing = ctor.available()
    print(missing or f"C tor {ctor.version()}", flush=True)
    with ExitStack() as stack:
        tor = None
        if missing is None:
            tor = _start_tor(folder, stack)
        for cipher in _ciphers():
            # One of ours at a time: each wakes for its padding, and takes the caches of the others.
            with ExitStack() as alone:
                onion = _start(folder, cipher, alone)
                for number in range(rounds):
                    rows.measure(tor, onion, cipher, rounds * CIPHERS.index(cipher) + number)
                    print(f"{cipher}: round {number + 1} of {rounds} done", flush=True)
    results = [row.result() for row in ROWS.values()]
    print_table(results)
    _write("beside-tor.json", results)
    draw(results, "onionshh beside C tor: ratio, C tor = 1, tick = bar", RESULTS / "beside-tor.svg")


def _over_networks(folder: Path) -> list[Measured]:
    """What is measured over a network that runs. Rows of sessions, mailboxes and many at once with both
    ciphers."""
    measured: dict[str, list[Measured]] = {}
    others: list[Measured] = []
    for cipher in _ciphers():
        with ExitStack() as alone:
            onion = _start(folder, f"{cipher}-grown", alone)
            parts = (crowd, sessions, mailboxes, letters)
            measured[cipher] = [one for part in parts for one in part.measure(onion)]
            others = others or boards.measure(onion)
    return [*in_python(next(iter(measured.values())), measured[PYTHON]), *others]


def _growth(over_network: list[Measured]) -> None:
    """The second table: what was measured over the network, and what needs none."""
    results = [
        *growth.measure(),
        *work.measure(),
        *over_network,
        *board_sizes.measure(),
        *junk.measure(),
        *plain.measure(),
    ]
    print("\nwhat grows, and the price of privacy")
    for one in results:
        print(one.line())
    _write("growth.json", [one.as_dict() for one in results])
    curves.draw(results, RESULTS / "growth.svg")


def _write(name: str, results: Sequence[dict[str, Any]]) -> None:
    text = json.dumps(results, indent=1, ensure_ascii=False)
    (RESULTS / name).write_text(text + "\n", encoding="utf-8")


def _ciphers() -> list[str]:
    """The ciphers that are there."""
    return [cipher for cipher in CIPHERS if cipher == PYTHON or uiv.compiled() is not None]


def _start(folder: Path, name: str, stack: ExitStack) -> OnionNetwork:
    """Our network with the cipher that its name begins with, until the stack ends."""
    path = folder / name
    path.mkdir()
    onion = OnionNetwork(path, RELAYS, pure=name.startswith(PYTHON))
    stack.callback(onion.stop)
    return onion


def _start_tor(folder: Path, stack: ExitStack) -> ctor.TorNetwork:
    """A C tor network whose onion service answers. Now and then a private one's never does: then another."""
    for number in range(TOR_STARTS):
        try:
            tor = ctor.TorNetwork(folder / f"tor{number}", RELAYS)
        except RuntimeError as error:
            print(f"{error}; once more", flush=True)
            continue
        rows.serve_echo(tor.service_port)
        if _answers(tor):
            stack.callback(tor.stop)
            time.sleep(5)  # its first circuits are slow
            return tor
        tor.stop()
    raise RuntimeError(f"no onion service of {TOR_STARTS} private C tor networks answered")


def _answers(tor: ctor.TorNetwork) -> bool:
    end = time.monotonic() + TOR_SETTLE_SECONDS
    while time.monotonic() < end:
        try:
            tor.connect(f"wait{time.monotonic()}").close()
            return True
        except OSError:
            time.sleep(1)
    return False


if __name__ == "__main__":
    sys.exit(main())
