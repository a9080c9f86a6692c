"""`onionshh top`: a running relay, host or directory, live."""

from __future__ import annotations

import os
import select
import signal
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.live import Live

from onionshh.cli.ending import when_ended
from onionshh.cli.failures import Usage
from onionshh.cli.options import DURATION, PATH
from onionshh.cli.status_socket import NotRunning, asked
from onionshh.cli.talk import note
from onionshh.cli.top_drawing import frame
from onionshh.cli.top_rates import Rates
from onionshh.errors import Error

ANSWER_SECONDS = 1.0
"""So long a program may take to answer; a key is not heard meanwhile."""
LEAST_SECONDS = 0.2
MOST_SECONDS = 3600.0
_END_KEYS = b"qQ\x03\x04"


@click.command()
@click.option("--data", type=PATH, metavar="DIR", required=True, help="Folder of the program that runs.")
@click.option(
    "--interval",
    type=DURATION,
    metavar="SECONDS",
    default=2.0,
    show_default="2s",
    help="Time from one look to the next, 0.2 to 3600.",
)
def top(data: Path, interval: float) -> int:
    """Watch a running relay, host or directory: rates, circuits, links and drops, live.

    It asks as `onionshh status` does. The key q or Ctrl-C ends it; so does the end of that program.

    \b
    Examples:
      onionshh top --data relay1
      onionshh top --data relay1 --interval 10
    """
    when_ended(0)
    if not LEAST_SECONDS <= interval <= MOST_SECONDS:
        raise Usage(f"--interval needs {LEAST_SECONDS:g} to {MOST_SECONDS:g} seconds.")
    console = Console(highlight=False)
    if not console.is_terminal or console.is_dumb_terminal:
        raise Usage("`onionshh top` draws on a terminal; without one, use `onionshh status --json`.")
    rates = Rates()
    rates.came(asked(data))
    kind = rates.now.text("kind")
    with _keys() as woken, Live(console=console, screen=True, auto_refresh=False) as live:
        ended = _watch(rates, data, interval, woken, live)
    if ended:
        note(f"The {kind} has ended.")
    return 0


def _watch(rates: Rates, data: Path, interval: float, woken: list[int], live: Live) -> bool:
    """Draw until a key ends it, False, or the program that is watched does, True."""
    due, trouble, console = time.monotonic() + interval, "", live.console
    plain = not console.encoding.lower().startswith("utf")
    while True:
        width, height = console.size
        live.update(frame(rates, width, height, trouble=trouble, plain=plain), refresh=True)
        if _end_wanted(woken, max(0.0, due - time.monotonic())):
            return False
        if time.monotonic() < due:
            continue  # the terminal has another size
        due = time.monotonic() + interval
        try:
            rates.came(asked(data, ANSWER_SECONDS))
            trouble = ""
        except NotRunning:
            return True
        except Error:
            trouble = "it does not answer now; the numbers below are the last ones"


def _end_wanted(woken: list[int], seconds: float) -> bool:
    """Wait for a key that ends it, at most so long, or until anything else wakes us."""
    for descriptor in select.select(woken, [], [], seconds)[0]:
        try:
            data = os.read(descriptor, 64)
        except BlockingIOError:
            continue
        if descriptor == woken[0]:
            continue  # a signal's number: nothing to do but draw
        if not data:
            woken.remove(descriptor)
        if any(key in _END_KEYS for key in data):
            return True
    return False


@contextmanager
def _keys() -> Iterator[list[int]]:
    """What may wake us: a new size of the terminal, and keys, each without Enter and without being shown."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    handler = signal.signal(signal.SIGWINCH, _resized)
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    keys, settings = _stdin(), None
    try:
        if keys is not None:
            settings = termios.tcgetattr(keys)
            tty.setcbreak(keys)
        yield [reading] if keys is None else [reading, keys]
    finally:
        if keys is not None and settings is not None:
            with suppress(termios.error):  # the terminal has gone
                termios.tcsetattr(keys, termios.TCSADRAIN, settings)
        signal.set_wakeup_fd(before)
        signal.signal(signal.SIGWINCH, handler)
        os.close(reading)
        os.close(writing)


def _stdin() -> int | None:
    """The descriptor of our keyboard, if stdin is one."""
    if sys.stdin is None or not sys.stdin.isatty():
        return None
    return sys.stdin.fileno()


def _resized(number: int, frame: Any) -> None:
    """It is drawn anew by whoever waits."""
