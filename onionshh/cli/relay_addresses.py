"""Where a relay listens and where others reach it: `--listen`, `--advertise` and `--onion`."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from onionshh.cli.failures import Usage
from onionshh.cli.options import host_port, is_wildcard
from onionshh.net.onion import OnionKey, OverTorListener
from onionshh.net.store import DataDirectory
from onionshh.net.tcp import TcpListener
from onionshh.net.transport import Listener
from onionshh.wire.descriptor import Address, canonical_host

if TYPE_CHECKING:
    from onionshh.net.tor import Control, OnionService


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the options say, checked as far as that goes before anything is opened."""

    listen: tuple[tuple[str, int], ...]
    advertise: tuple[Address, ...]
    control: Control | None


@dataclass(frozen=True, slots=True)
class Places:
    """Where the relay takes links, and where others find it."""

    listeners: tuple[Listener, ...]
    addresses: tuple[Address, ...]
    bound: tuple[tuple[str, int], ...]
    """Host and port of each --listen, as it was bound."""
    onion: tuple[Address, ...]
    """Its onion address, if it has one."""
    service: Callable[[Callable[[str], None]], OnionService] | None
    """Makes what keeps the onion service up, from what takes its lines."""


def wanted(listen: Sequence[str], advertise: Sequence[str], onion: str | None) -> Wanted:
    """Read the options. Usage."""
    if not listen and onion is None:
        raise Usage("Where are links taken? Give --listen HOST:PORT, or --onion CONTROL for over tor.")
    if advertise and not listen:
        raise Usage("--advertise needs --listen; with --onion alone the relay has its onion address.")
    listening = tuple(host_port(text, "--listen") for text in listen)
    if len({":" in host for host, _ in listening}) < len(listening):
        raise Usage("--listen can be given twice: once for IPv4, once for IPv6.")
    told = _advertise(advertise)
    for (host, _), text in zip(listening, listen, strict=True):
        if not told and is_wildcard(host):
            raise Usage(
                f"--listen {text} is not an address that others can reach: add --advertise HOST:PORT."
            )
    return Wanted(listening, told, None if onion is None else _control(onion))


def opened(options: Wanted, folder: DataDirectory, held: ExitStack) -> Places:
    """Listen at these places, until `held` ends. Usage, PortInUse, BadData."""
    listeners: list[Listener] = []
    bound = []
    for host, port in options.listen:
        listener = TcpListener(host, port, only_ipv6=len(options.listen) > 1)
        held.callback(listener.close)
        listeners.append(listener)
        bound.append(listener.address)
    addresses = _addresses(options.advertise, bound)
    if options.control is None:
        return Places(tuple(listeners), tuple(sorted(addresses)), tuple(bound), (), None)
    from onionshh.net.tor import OnionService, publish  # only here: stem need not be installed

    control, key, behind = options.control, OnionKey.load_or_create(folder, os.urandom), OverTorListener()
    held.callback(behind.close)
    return Places(
        (*listeners, behind),
        tuple(sorted((*addresses, key.address))),
        tuple(bound),
        (key.address,),
        lambda say: OnionService(lambda: publish(control, key, behind.address), say),
    )


def advertised(advertise: Sequence[str], places: Places) -> tuple[Address, ...]:
    """The relay's addresses if --advertise is this from now on. Usage."""
    if advertise and not places.bound:
        raise Usage("--advertise needs --listen; with --onion alone the relay has its onion address.")
    return tuple(sorted((*_addresses(_advertise(advertise), places.bound), *places.onion)))


def _advertise(texts: Sequence[str]) -> tuple[Address, ...]:
    told = tuple(_address(*host_port(text, "--advertise"), "--advertise") for text in texts)
    if len({address.kind for address in told}) < len(told):
        raise Usage("--advertise can be given twice: once for IPv4, once for IPv6.")
    return told


def _addresses(told: tuple[Address, ...], bound: Sequence[tuple[str, int]]) -> tuple[Address, ...]:
    return told or tuple(_address(*place, "--listen") for place in bound)


def _address(given: str, port: int, option: str) -> Address:
    """An address for the descriptor: an IP address in its canonical form."""
    host = canonical_host(given)
    if host is None or is_wildcard(host) or not port:
        raise Usage(f"{option} needs an IP address and a port that others reach, not {given}:{port}.")
    return Address.of(host, port)


def _control(text: str) -> Control:
    """Where tor's control port is: a path, or HOST:PORT. Usage."""
    try:
        from onionshh.net.tor import PASSWORD_VARIABLE, Control
    except ImportError as error:
        raise Usage("--onion needs stem: install onionshh[tor], or stem beside it.") from error

    password = os.environ.get(PASSWORD_VARIABLE)
    if "/" in text:
        return Control(path=Path(os.path.expanduser(text)), password=password)
    host, port = host_port(text, "--onion")
    host = "127.0.0.1" if host == "localhost" else host
    if canonical_host(host) != host or ":" in host or not port:
        raise Usage(f"--onion needs tor's control port, for example 127.0.0.1:9051, or a path, not {text!r}.")
    return Control(host, port, password=password)
