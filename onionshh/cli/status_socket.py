"""How a running relay, host or directory stands: what it answers by the socket in its folder.

The answer is the record that SIGUSR1 shows, one object of JSON, with the program's version and `why` it is
not well (empty: all is well). Only our own user and root can ask (net/local_socket.py).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import trio

from onionshh import __version__
from onionshh.cli.failures import Usage
from onionshh.cli.remarks import why_refused
from onionshh.cli.statistics import HostStatistics, Statistics
from onionshh.cli.talk import note
from onionshh.errors import Error
from onionshh.net.local_socket import SECONDS, NobodyThere, ask, listening, serve
from onionshh.net.store import DataDirectory

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

REQUEST: Final = "status"
KINDS: Final = ("relay", "host", "directory")


class NotRunning(Usage):
    """Nothing runs with this folder."""


async def serve_status(
    data: Path, kind: str, record: Callable[[], DataclassInstance], why_not_well: Callable[[], str]
) -> None:
    """Answer by the socket in this folder, whose lock we hold, until cancelled. Where there can be no socket,
    it is said once, and the program goes on."""
    statistics = Statistics(kind)

    def answer() -> str:
        from onionshh.crypto.uiv import CIPHER

        about = {"cipher": CIPHER.name, "onionshh": __version__, "why": why_not_well()}
        return statistics.line(record(), **about)

    try:
        with listening(data) as listener:
            await serve(listener, {REQUEST: answer})
    except (OSError, Error) as error:
        note(f"`onionshh status` cannot ask this program: {why_refused(error)}")
        await trio.sleep_forever()


def asked(data: Path, seconds: float = SECONDS) -> Mapping[str, Any]:
    """What the program that runs with this folder answers. NotRunning; Error if it does not answer well."""
    try:
        line = ask(data, REQUEST, seconds)
    except NobodyThere as error:
        if _is_held(data):
            raise Error(
                f"A program uses {data}, and cannot be asked: it has only just started, or it is not a relay,"
                " host or directory of this version."
            ) from error
        raise NotRunning(str(error)) from error
    try:
        answer = json.loads(line)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict) or answer.get("kind") not in KINDS:
        raise Error(f"What answers in {data} is not a relay, host or directory of this version.")
    return answer


def why_host(record: HostStatistics) -> str:
    """Why an endpoint is not well, in a sentence; empty if all is well."""
    if not record.joined:
        return "This host has not joined the network yet."
    if not record.online:
        return "No guard answers, so this host is offline."
    if not record.reachable:
        return "Strangers do not reach this endpoint; what it says on stdout has the reason."
    return ""


def _is_held(data: Path) -> bool:
    """Whether some process holds the folder. Makes nothing."""
    if not (data / "lock").is_file():
        return False
    try:
        return DataDirectory(data).is_held()
    except (OSError, Error):
        return False
