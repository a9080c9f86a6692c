"""What a service manager is told: systemd's notification protocol, sd_notify(3).

A datagram of `NAME=value` lines goes to the Unix socket in NOTIFY_SOCKET; `@` begins an abstract name. That
is all of it, so these lines are our own: the library `sdnotify` does no more and rests since 2017, and
`systemd-python` takes a compiler and libsystemd.

Nothing here waits or fails. Without NOTIFY_SOCKET nothing is sent, and a datagram that cannot be sent at once
is lost. The manager then sees what it would see of a program that says nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

import trio

from onionshh.cli.hangup import SOCKET
from onionshh.cli.text import one_line

STATUS_BYTES: Final = 2000
ALIVE_SHARE: Final = 0.5
"""How much of the time that the watchdog allows may go by between two signs of life, as systemd advises."""


def ready(status: str) -> None:
    """The program does its work now: started, or reloaded."""
    _send("READY=1", _status(status))


def status(text: str) -> None:
    """How the program stands, in a line for `systemctl status`, which every user of the machine can read."""
    _send(_status(text))


def stopping(text: str = "") -> None:
    """The program has begun to end."""
    _send("STOPPING=1", *([_status(text)] if text else []))


async def stay_alive() -> None:
    """Tell the watchdog, if there is one, that the event loop turns, until cancelled."""
    seconds = watchdog_seconds(os.environ)
    while seconds is not None:
        _send("WATCHDOG=1")
        await trio.sleep(seconds * ALIVE_SHARE)


def watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """How long this process may give no sign of life; None if nobody watches it."""
    given, whose = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    for_us = whose is None or whose == str(os.getpid())
    if not for_us or not (given.isascii() and given.isdigit()) or not 0 < int(given) < 2**63:
        return None
    return int(given) / 1_000_000


def _status(text: str) -> str:
    return "STATUS=" + one_line(text).encode()[:STATUS_BYTES].decode(errors="ignore")


def _send(*lines: str) -> None:
    name = os.environ.get(SOCKET, "")
    if not name.startswith(("/", "@")):
        return
    address = "\0" + name[1:] if name.startswith("@") else name
    # ValueError: the name is too long, or has a zero byte in it.
    with suppress(OSError, ValueError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.setblocking(False)
        sender.sendto("\n".join(lines).encode(errors="replace"), address)
