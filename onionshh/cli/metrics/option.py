"""`--metrics`: where a program serves its numbers. The rest of the folder is loaded only if it is given."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click
import trio

from onionshh.cli.defaults import InWords
from onionshh.cli.log_lines import INFO
from onionshh.cli.options import host_port
from onionshh.cli.talk import note
from onionshh.net.http import listen
from onionshh.wire.descriptor import format_address

if TYPE_CHECKING:
    from onionshh.cli.metrics.families import Sample

F = TypeVar("F", bound=Callable[..., Any])

LOOPBACK: Final = "127.0.0.1"


def metrics_option(command: F) -> F:
    """`--metrics`; see `metrics_listener`."""
    said = "Serve numbers for Prometheus here; :PORT is on this machine alone."
    return click.option("--metrics", cls=InWords, metavar="HOST:PORT", show_default="off", help=said)(command)


def where(text: str) -> tuple[str, int]:
    """The host and port of `--metrics`. A port alone, or :PORT, is at 127.0.0.1. Usage."""
    port = text.removeprefix(":")
    return host_port(f"{LOOPBACK}:{port}" if port.isascii() and port.isdigit() else text, "--metrics")


def check_metrics(given: str | None) -> None:
    """Check what was given, before anything is written. Usage."""
    if given is not None:
        where(given)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches it."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@contextmanager
def metrics_listener(given: str | None, kind: str) -> Iterator[socket.socket | None]:
    """Listen at `given`, for `serve_metrics`; None for None. It says where that is, and warns if others can
    reach it. Usage, Error."""
    if given is None:
        yield None
        return
    with listen(*where(given), "--metrics") as listener:
        host, port = listener.getsockname()[:2]
        if not is_loopback(host):
            note(f"--metrics at {host} can be read by others, and {_DANGER[kind]}.")
        note(f"numbers for Prometheus are at http://{format_address(host, port)}/metrics", INFO)
        yield listener


async def serve_metrics(
    listener: socket.socket | None,
    kind: str,
    samples: Callable[[], Iterable[Sample]],
    why_not_well: Callable[[], str] | None = None,
) -> None:
    """Serve a program's numbers until cancelled; without a listener, only wait. `samples()`: as they are
    now. `why_not_well()`: for `/health`, a sentence or empty; None for a program that has no such answer."""
    if listener is None:
        await trio.sleep_forever()
    # Only now, since this loads what nobody needs without the option.
    from onionshh.cli.metrics.serving import serve

    await serve(listener, kind, samples, why_not_well)


_DANGER: Final = {
    "relay": "what passes through a relay helps those who watch the network; keep it on this machine",
    "directory": "they are for you alone; keep it on this machine",
    "host": "whoever sends you whispers can tell by them whose endpoint this is; keep it on this machine",
}
