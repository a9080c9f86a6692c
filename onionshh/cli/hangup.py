"""What SIGHUP means: an operator's reload, or a closed terminal.

A program that was started with --config and can reload takes SIGHUP as "read it again". If it was started
from a terminal and that terminal is gone, SIGHUP ends it nevertheless, as it ends every program without
--config. One that never had a terminal, as in a unit, reloads whenever it is asked; one that a service
manager started goes on without --config, too (`systemctl reload`). One that is ending takes up nothing more,
and says so. What a parent process ignores (nohup) stays ignored.

This file is loaded before a command is known: nothing heavy is imported at the top.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

SOCKET: Final = "NOTIFY_SOCKET"
"""By this a service manager says that it is there (service.py)."""
RELOADING: Final = frozenset({"directory", "host", "relay"})
"""Commands that read their file again."""

_HAD_TERMINAL: Final = "it was started from a terminal"
_COULD_RELOAD: Final = "with a file it would read it again"
_HEEDS: Final = "it has a file to read again, or a service manager"
_CLOSED: Final = "SIGHUP came since its terminal was closed"
_known: set[str] = set()
"""Which of these is true of this command, if it runs until it is ended."""
_reloads: list[Callable[[], None]] = []
_early: set[int] = set()
"""A SIGHUP came before anything could be read again."""


def forget() -> None:
    """A new command begins: SIGHUP ends it."""
    _known.clear()
    _reloads.clear()
    _early.clear()


def expect(arguments: Sequence[str]) -> None:
    """This command runs until it is ended. From now on SIGHUP ends it only if its terminal is gone, if it is
    one that reloads."""
    if has_terminal():
        _known.add(_HAD_TERMINAL)
    if arguments[0] not in RELOADING or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    _known.add(_COULD_RELOAD)
    if SOCKET in os.environ or any(word.partition("=")[0] == "--config" for word in arguments):
        _known.add(_HEEDS)
        signal.signal(signal.SIGHUP, _before_trio)


def expected() -> bool:
    """Whether SIGHUP does not simply end this command."""
    return _HEEDS in _known


def terminal_closed() -> bool:
    """Whether this command was started from a terminal that is closed by now."""
    return _HAD_TERMINAL in _known and not has_terminal()


def why_it_ends(number: int) -> str:
    """What a signal that ends this command says about why, in a sentence. Empty for SIGINT: whoever pressed
    Ctrl-C knows."""
    if number == signal.SIGINT:
        return ""
    hung_up = number == signal.SIGHUP
    if _CLOSED in _known or (hung_up and terminal_closed()):
        return "ending, since its terminal was closed."
    hint = "; with --config it would read its file again" if hung_up and _COULD_RELOAD in _known else ""
    return f"ending, since {signal.Signals(number).name} came{hint}."


def reload_by(reload: Callable[[], None]) -> None:
    """From now on SIGHUP calls this. It must not raise."""
    _reloads.append(reload)


def has_terminal() -> bool:
    """Whether this process has a controlling terminal that is not closed."""
    try:
        os.close(os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY))
    except OSError:
        return False
    return True


async def run() -> None:
    """Heed SIGHUP until cancelled. A closed terminal is passed on as SIGTERM."""
    import trio

    with trio.open_signal_receiver(signal.SIGHUP) as signals:
        if _early:
            _heed()
        async for _ in signals:
            _heed()


def _heed() -> None:
    from onionshh.cli.ending import ended_by_signal
    from onionshh.cli.talk import note

    if terminal_closed():
        if not ended_by_signal():  # else it is ending already, perhaps gently
            _pass_on()
    elif ended_by_signal():
        note("nothing was changed: this program is ending, so its file is not read again.")
    elif _reloads:
        _reloads[-1]()
    else:
        note("nothing was changed: without --config there is no file to read again.")


def _before_trio(number: int, frame: FrameType | None) -> None:
    if terminal_closed():
        _pass_on()
    _early.add(number)


def _pass_on() -> None:
    _known.add(_CLOSED)
    signal.raise_signal(signal.SIGTERM)
