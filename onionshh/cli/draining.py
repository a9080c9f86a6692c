"""What is done between SIGTERM and the end: how a relay leaves, and how a host answers what it has taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import trio

from onionshh.cli.ending import drained_by
from onionshh.cli.service import status
from onionshh.cli.talk import counted, tell

if TYPE_CHECKING:
    from onionshh.relay.serve import Relay

F = TypeVar("F", bound=Callable[..., Any])

DRAIN_SECONDS: Final = 30
MOST_SECONDS: Final = 3600


ANSWER_SECONDS: Final = 0.5
"""A receipt waits 20 ms for others to leave with, so those that are owed have left after this."""


def drain_option(command: F) -> F:
    """`--drain-seconds`."""
    return click.option(
        "--drain-seconds",
        type=click.IntRange(0, MOST_SECONDS),
        metavar="SECONDS",
        default=DRAIN_SECONDS,
        help="On SIGTERM circuits have so long to end; 0: none.",
    )(command)


def drain_on_sigterm(relay: Relay, seconds: int) -> None:
    """From now on SIGTERM lets this relay drain for at most so long; 0: not at all."""
    if seconds:
        drained_by(lambda: _drain(relay, seconds), seconds)


def answer_before_the_end() -> None:
    """From now on SIGTERM leaves a host a moment, in which receipts and replies leave that it owes. What it
    cannot answer in this moment loses nothing: its sender sends it again, and it is known then."""
    drained_by(lambda: trio.sleep(ANSWER_SECONDS), ANSWER_SECONDS)


async def _drain(relay: Relay, seconds: int) -> None:
    began, circuits = trio.current_time(), len(relay.switch.circuits)
    word = f"leaving: no new circuits; {counted(circuits, 'circuit')} may go on for {seconds} s"
    tell(word)
    status(word)
    left = await relay.leaving.drain(seconds)
    took = trio.current_time() - began
    tell(f"left after {took:.1f} s, with {counted(left, 'circuit')} still open")
