"""Ctrl-C, SIGTERM, a closed terminal: every command ends cleanly at the first signal, at once at the second.

For all signals but Ctrl-C it says on stderr why it ends.

Before trio runs, a signal raises SystemExit. Under trio it cancels the command, whose blocks then close what
they opened. If that takes more than a few seconds, something hangs, and the process ends anyway.

A relay has more to end than its own blocks: SIGTERM lets it drain first, for as long as it has asked for.
SIGINT, from somebody who waits at a terminal, does not.

SIGHUP is a reload for what has a file to read again (hangup.py).

SIGUSR1 asks for statistics. It never ends a command, whichever command gets it and whenever. SIGUSR2, which
is easily sent by mistake, does not either.
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

from onionshh.cli import hangup
from onionshh.cli.log_lines import INFO
from onionshh.cli.talk import note

if TYPE_CHECKING:
    from onionshh.net.hosted import HostedReader

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
REPORT_SIGNALS = (signal.SIGUSR1, signal.SIGUSR2)
CLOSING_SECONDS = 4.0
HUNG_STATUS = 1
UNDONE_STATUS = 1

_asked: list[int] = []
_statuses: list[int] = []
_ends: list[Callable[[], None]] = []
_drains: list[tuple[Callable[[], Awaitable[None]], float]] = []
_reports: set[int] = set()
"""Signals that asked for a report before any report could be given."""


def ended_by_signal() -> bool:
    """Whether this process was asked to end."""
    return bool(_asked)


def status_when_ended() -> int:
    """The exit status of a command that a signal ends. Its work is not done, unless the command said so."""
    return _statuses[-1] if _statuses else UNDONE_STATUS


def when_ended(status: int) -> None:
    """From now on a signal ends this command with `status`."""
    _statuses.append(status)


def ended_by(cancel: Callable[[], None]) -> None:
    """From now on the first signal calls this, in place of cancelling the whole command: a command that has
    something to take back over the network first needs its node for that."""
    _ends.append(cancel)


def drained_by(drain: Callable[[], Awaitable[None]], seconds: float) -> None:
    """From now on SIGTERM calls `drain`, which takes at most `seconds`, before it ends the command."""
    _drains.append((drain, seconds))


def end_gently(otherwise: Callable[[], None]) -> None:
    """What the first signal does: it calls what the command named, or else `otherwise`."""
    (_ends or [otherwise])[-1]()


@contextmanager
def end_on_signals() -> Iterator[None]:
    """Until trio takes over, a signal raises SystemExit."""
    _asked.clear()
    _statuses.clear()
    _ends.clear()
    _drains.clear()
    _reports.clear()
    hangup.forget()
    for number in REPORT_SIGNALS:  # for as long as the process lives
        signal.signal(number, _note_report)
    before = {number: signal.signal(number, _raise) for number in _heeded()}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def run(
    work: Callable[[], Awaitable[int]],
    on: HostedReader | None = None,
    report: Callable[[], None] | None = None,
) -> int:
    """Run a command's asynchronous part under trio until it returns its exit status, or a signal ends it.
    `on`: the reader that hosts it, for a program that is mostly links. `report`: writes the statistics of a
    command that runs until it is ended.

    Errors are never raised as a group. Of several errors, the one that matters most is raised.
    """
    # Not at the top: `main` loads this file first, so that signals work while the rest is loaded.
    import trio

    from onionshh.cli.failures import configure_logging, worst
    from onionshh.cli.service import stay_alive
    from onionshh.net.file_descriptors import raise_limit

    remarks = configure_logging()
    raise_limit()

    async def supervised() -> int:
        status = 0
        with trio.open_signal_receiver(*_heeded()) as signals:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_cancel_on_signal, signals, nursery.cancel_scope.cancel)
                nursery.start_soon(remarks.run)
                nursery.start_soon(stay_alive)
                if hangup.expected():
                    nursery.start_soon(hangup.run)
                if report is not None:
                    nursery.start_soon(_report_on_signal, report)
                status = await work()
                nursery.cancel_scope.cancel()
        return status_when_ended() if _asked else status

    try:
        return trio.run(supervised) if on is None else on.run_program(supervised)
    except BaseExceptionGroup as group:
        raise worst(group) from group
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _heeded() -> list[signal.Signals]:
    """The signals that end: all but those that our parent process ignores, as nohup does with SIGHUP, and but
    SIGHUP where it is a reload."""
    ending = [number for number in SIGNALS if number != signal.SIGHUP or not hangup.expected()]
    return [number for number in ending if signal.getsignal(number) is not signal.SIG_IGN]


async def _cancel_on_signal(signals: AsyncIterator[int], cancel: Callable[[], None]) -> None:
    from onionshh.cli.service import stopping

    async for number in signals:
        _say_why(number)
        _asked.append(number)
        for heeded in _heeded():
            signal.signal(heeded, signal.SIG_DFL)  # a second signal ends the process at once
        signal.signal(signal.SIGALRM, _hung)
        stopping("ending")
        if number == signal.SIGTERM and _drains:
            drain, seconds = _drains[-1]
            signal.setitimer(signal.ITIMER_REAL, seconds + CLOSING_SECONDS)
            await drain()
        signal.setitimer(signal.ITIMER_REAL, CLOSING_SECONDS)
        end_gently(cancel)
        return


async def _report_on_signal(report: Callable[[], None]) -> None:
    import trio

    with trio.open_signal_receiver(*REPORT_SIGNALS) as signals:
        if _reports:
            report()
        async for _ in signals:
            report()


def _note_report(number: int, frame: FrameType | None) -> None:
    _reports.add(number)


def _say_why(number: int) -> None:
    why = hangup.why_it_ends(number)
    if why:
        note(why, INFO)


def _raise(number: int, frame: FrameType | None) -> NoReturn:
    _say_why(number)
    _asked.append(number)
    raise SystemExit(status_when_ended())


def _hung(number: int, frame: FrameType | None) -> NoReturn:
    note(f"closing took more than {CLOSING_SECONDS:.0f} s; ended without it.")
    os._exit(HUNG_STATUS)
