"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from onionshh.cli.failures import Usage

NetworkFile = Annotated[
    Path,
    typer.Option(
        "--network",
        envvar="ONIONSHH_NETWORK",
        metavar="FILE",
        help="The network file, as whoever runs the network hands it out.",
        show_default=False,
    ),
]
Bind = Annotated[
    str | None,
    typer.Option(
        "--bind", metavar="ADDRESS", help="Local IP address of every outgoing connection.", show_default=False
    ),
]
Json = Annotated[bool, typer.Option("--json", help="For programs: one JSON object a line on stdout.")]


def host_port(text: str, option: str) -> tuple[str, int]:
    """HOST:PORT, an IPv6 host in brackets. Usage."""
    host, colon, port = text.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    host = host[1:-1] if bracketed else host
    number = int(port) if port.isascii() and port.isdigit() and len(port) <= 5 else 65536
    if not colon or not host or number > 65535 or (":" in host) != bracketed:
        raise Usage(f"{option} needs HOST:PORT, for example 127.0.0.1:7000 or [::1]:7000, not {text!r}.")
    return host, number


def is_wildcard(host: str) -> bool:
    """Whether listening on this host means listening on every address."""
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host).is_unspecified
    return False


def check_bind(bind: str | None) -> None:
    """An address of this machine that connections can start from. Usage."""
    if bind is None:
        return
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(bind).version == 6 else socket.AF_INET
        with socket.socket(family, socket.SOCK_STREAM) as trial:
            trial.bind((bind, 0))
    except (ValueError, OSError) as error:
        raise Usage(f"--bind needs an IP address of this machine, not {bind!r}.") from error


@contextlib.contextmanager
def as_usage() -> Iterator[None]:
    """A ValueError in here is what a person typed, told in its own words. Usage."""
    try:
        yield
    except ValueError as error:
        raise Usage(str(error)) from error
