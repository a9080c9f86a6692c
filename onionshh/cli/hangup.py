"""What SIGHUP means: an operator's reload, or a closed terminal.

A program that was started with --config and can reload takes SIGHUP as "read it again". If it was started
from a terminal and that terminal is gone, SIGHUP ends it nevertheless, as it ends every program without
--config. One that never had a terminal, as in a unit, reloads whenever it is asked. What a parent process
ignores (nohup) stays ignored.

This file is loaded before a command is known: nothing heavy is imported at the top.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from types import FrameType
from typing import Final

RELOADING: Final = frozenset({"directory", "host", "relay"})
"""Commands that read their file again."""

_had_terminal: list[bool] = []
"""Empty while SIGHUP ends this command; else whether it was started from a terminal."""
_reloads: list[Callable[[], None]] = []
_early: set[int] = set()
"""A SIGHUP came before anything could be read again."""


def forget() -> None:
    """A new command begins: SIGHUP ends it."""
    _had_terminal.clear()
    _reloads.clear()
    _early.clear()


def expect(arguments: Sequence[str]) -> None:
    """From now on SIGHUP ends this command only if its terminal is gone, if it is one that reloads."""
    configured = any(word.partition("=")[0] == "--config" for word in arguments)
    if not configured or arguments[0] not in RELOADING or signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return
    _had_terminal.append(has_terminal())
    signal.signal(signal.SIGHUP, _before_trio)


def expected() -> bool:
    """Whether SIGHUP does not simply end this command."""
    return bool(_had_terminal)


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

    if ended_by_signal():
        return  # it is ending already, perhaps gently
    if _had_terminal[-1] and not has_terminal():
        signal.raise_signal(signal.SIGTERM)
        return
    for reload in _reloads[-1:]:
        reload()


def _before_trio(number: int, frame: FrameType | None) -> None:
    if _had_terminal[-1] and not has_terminal():
        signal.raise_signal(signal.SIGTERM)
    _early.add(number)
