"""Options that several commands have, and how their values are read."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import click
from click.shell_completion import CompletionItem

from onionshh.cli.completing import privacy_classes
from onionshh.cli.defaults import InWords
from onionshh.cli.failures import Usage
from onionshh.cli.log_lines import INFO
from onionshh.cli.talk import note
from onionshh.client.one_machine import find_network
from onionshh.config import NetworkFile
from onionshh.net.tcp import check_local
from onionshh.net.via import Via, parse_via

F = TypeVar("F", bound=Callable[..., Any])


class _Path(click.Path):
    """A path as it was typed. Whether it can be read is checked where it is opened.

    An empty path comes from a variable that was never set; it does not mean the current folder. `~` means
    what it means in a shell, since a shell does not replace the one in `--data=~/me`.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        typed = os.fspath(value)
        if not typed.strip():
            self.fail('it is empty; give a path, "." for the current folder.', param, ctx)
        path = Path(os.path.expanduser(typed))
        if path.parts[:1] == ("~",):
            self.fail("there is no home folder here that ~ could mean; give the whole path.", param, ctx)
        return path if path.parts else Path.cwd()

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(incomplete, type="dir" if param.metavar == "DIR" else "file")]


PATH = _Path(path_type=Path, readable=False)

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION: Final = re.compile(r"([0-9]+\.?[0-9]*|\.[0-9]+)([smhd]?)", re.ASCII)


class _Duration(click.types.FloatParamType):
    """A time as people write it: `90s`, `30m`, `3h`, `3d`. A number alone is seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, int | float):
            seconds = float(value)
        else:
            found = _DURATION.fullmatch(value.strip())
            seconds = math.inf if found is None else float(found[1]) * _UNITS[found[2]]
        if not (math.isfinite(seconds) and seconds >= 0):
            self.fail(f"{str(value)!r} is not a time; write 90s, 30m, 3h or 3d.", param, ctx)
        return seconds


DURATION = _Duration()
"""Seconds: not negative, and not infinite. Write a default with its unit, as "10m": --help shows it."""


def network_option(
    help: str = "The network file, from those who run the network.",
    *,
    found: bool = True,
) -> Callable[[F], F]:
    """`--network`, or ONIONSHH_NETWORK, or the network that runs on this machine (`found`)."""
    return click.option(
        "--network",
        cls=InWords,
        type=PATH,
        envvar="ONIONSHH_NETWORK",
        show_envvar=True,
        metavar="FILE",
        required=not found,
        show_default="that of `onionshh network`, while it runs" if found else None,
        callback=_network_found if found else None,
        help=help,
    )


def _network_found(context: click.Context, parameter: click.Parameter, given: Path | None) -> Path | None:
    if given is not None or context.resilient_parsing:
        return given

    file = find_network()
    note("using the network that `onionshh network` runs on this machine.", INFO)
    return file


def bind_option(command: F) -> F:
    """`--bind`; see `check_bind`."""
    said = "Local IP address of every outgoing connection."
    return click.option("--bind", metavar="ADDRESS", help=said)(command)


def via_option(command: F) -> F:
    """`--via`, or ONIONSHH_VIA: a text that `parse_via` takes."""
    said = (
        "The proxy through which everything leaves: socks5://HOST:PORT, socks5://USER:PASSWORD@HOST:PORT, or"
        " tor (tor=HOST:PORT). Others see command lines: put a password into the variable."
    )
    return click.option(
        "--via", envvar="ONIONSHH_VIA", show_envvar=True, metavar="PROXY", callback=_via_checked, help=said
    )(command)


def _via_checked(context: click.Context, parameter: click.Parameter, given: str | None) -> str | None:
    if given is not None:
        try:
            parse_via(given)
        except ValueError as error:
            raise Usage(f"--{error}") from None
    return given


def via_of(text: str | None) -> Via | None:
    """The proxy of `--via`, which was checked already."""
    return None if text is None else parse_via(text)


def class_options(command: F) -> F:
    """`--hops`, and `--class` as `privacy`."""
    hops = click.option(
        "--hops",
        cls=InWords,
        type=click.IntRange(0, 3),
        metavar="0..3",
        show_default="drawn from the class",
        help="Relays between us and each meeting relay. With 0 that relay sees our address.",
    )
    said = "Privacy class: talk or flash."
    privacy = click.option(
        "--class",
        "privacy",
        metavar="CLASS",
        default="talk",
        shell_complete=privacy_classes,
        help=said,
    )
    return hops(privacy(command))


def folder_option(command: F) -> F:
    """`--data`, the folder of a visitor."""
    return click.option(
        "--data",
        cls=InWords,
        type=PATH,
        metavar="DIR",
        show_default="one for each network, in $XDG_STATE_HOME/onionshh",
        help="Folder of guards and the last consensus, shared by any number of processes.",
    )(command)


def json_option(command: F) -> F:
    """`--json`, as `as_json`."""
    said = "For programs: JSON on stdout, one object per line."
    return click.option("--json", "as_json", is_flag=True, help=said)(command)


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
    """Check that connections can start from this address. Usage."""
    if bind is None:
        return
    try:
        check_local(bind)
    except ValueError as error:
        raise Usage(f"--bind needs an IP address of this machine, not {bind!r}.") from error


def check_reach(bind: str | None, network: NetworkFile, via: str | None = None) -> None:
    """Check that a directory of this network can be reached from this address at all. Usage. Where a proxy
    leads, only it knows."""
    if via is not None:
        return
    theirs = [_as_address(urlsplit(authority.url).hostname) for authority in network.authorities]
    if bind is None or None in theirs:  # a name is looked up only when the directory is asked
        return
    ours, url = ipaddress.ip_address(bind), network.authorities[0].url
    versions = {address.version for address in theirs if address is not None}
    if ours.version not in versions:
        raise Usage(
            f"--bind {bind} is an IPv{ours.version} address, and the network's directory {url} has an"
            f" IPv{versions.pop()} one; give one of the same kind."
        )
    if ours.is_loopback and not any(address is not None and address.is_loopback for address in theirs):
        raise Usage(f"--bind {bind} reaches this machine alone, and the network's directory is at {url}.")


def _as_address(host: str | None) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host or "")
    return None


@contextlib.contextmanager
def as_usage() -> Iterator[None]:
    """Turns a ValueError about what a person typed into Usage, in the same words."""
    try:
        yield
    except ValueError as error:
        raise Usage(str(error)) from error
