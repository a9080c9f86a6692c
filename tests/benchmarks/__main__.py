"""`make bench`: both networks on this machine, in one run, alternating; then what grows with what. Tables,
JSON and pictures."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from onionshh.core.base.params import default_params
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
from tests.benchmarks.measured import Measured
from tests.benchmarks.onion import OnionNetwork
from tests.benchmarks.picture import draw

RESULTS = Path(__file__).parent / "results"
RELAYS = 7
ROUNDS = 3
TOR_SETTLE_SECONDS = 45.0
TOR_STARTS = 3
HELP_SECONDS_MOST = 0.4


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
    grown: list[Measured] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onionshh-bench-")))
        (folder / "onionshh").mkdir()
        if asked.only == "growth":
            onion = _start_onion(folder, stack)
        else:
            onion = _beside_tor(folder, stack, asked.rounds)
        if asked.only != "beside":
            grown = [
                *crowd.measure(onion),
                *sessions.measure(onion),
                *mailboxes.measure(onion),
                *letters.measure(onion),
                *boards.measure(onion),
            ]
    # The network has ended: nothing runs beside what is measured within one process.
    if asked.only != "beside":
        _growth(grown)
    return 0


def _beside_tor(folder: Path, outer: ExitStack, rounds: int) -> OnionNetwork:
    """The first table. Returns our network, which runs until `outer` ends; C tor's has ended."""
    missing = ctor.available()
    print(missing or f"C tor {ctor.version()}", flush=True)
    with ExitStack() as stack:
        tor = None
        if missing is None:
            tor = _start_tor(folder, stack)
        onion = _start_onion(folder, outer)
        for number in range(rounds):
            rows.measure(tor, onion, number)
            rows.ROWS["relay-start"].onionshh.append(_relay_start(onion, number) * 1e3)
            print(f"round {number + 1} of {rounds} done", flush=True)
    results = [row.result() for row in rows.ROWS.values()]
    helped = sorted(_help_seconds() for _ in range(5))[2]
    results.append(
        {
            "row": "onionshh --help",
            "unit": "s",
            "tor": None,
            "onionshh": round(helped, 3),
            "ratio": None,
            "bar": f"≤ {HELP_SECONDS_MOST:g} s",
            "holds": helped <= HELP_SECONDS_MOST,
        }
    )
    _print(results)
    _write("beside-tor.json", results)
    draw(results, "onionshh beside C tor: ratio, C tor = 1, tick = bar", RESULTS / "beside-tor.svg")
    return onion


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


def _start_onion(folder: Path, stack: ExitStack) -> OnionNetwork:
    onion = OnionNetwork(folder / "onionshh", RELAYS)
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


def _relay_start(onion: OnionNetwork, number: int) -> float:
    """Seconds from starting a relay's process to its taking links."""
    started = time.perf_counter()
    relay = onion.start_relay(100 + number)
    relay.wait_for("links are taken")
    seconds = time.perf_counter() - started
    relay.stop()
    return seconds


def _help_seconds() -> float:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "onionshh", "--help"], check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started


def _print(results: list[dict[str, object]]) -> None:
    print(f"\n{'row':72} {'C tor':>9} {'onionshh':>9}  {'ratio':>6}  bar")
    for one in results:
        tor, ours, ratio = (("–" if one[key] is None else one[key]) for key in ("tor", "onionshh", "ratio"))
        holds = {True: "holds", False: "FAILS", None: ""}[one["holds"]]  # type: ignore[index]
        name = f"{one['row']} ({one['unit']})"
        print(f"{name:72} {tor:>9} {ours:>9}  {ratio:>6}  {one['bar'] or 'report':8} {holds}")


if __name__ == "__main__":
    sys.exit(main())
