"""`onionshh relay`: forwards cells, and serves as introducer, rendezvous point and ring relay."""

from __future__ import annotations

import contextlib
import gc
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import click
import trio

from onionshh.cli.ending import run
from onionshh.cli.failures import Usage
from onionshh.cli.options import (
    PATH,
    bind_option,
    check_bind,
    check_reach,
    host_port,
    is_wildcard,
    network_option,
    via_of,
    via_option,
)
from onionshh.cli.patience import network_file_when_there, until_directory_answers
from onionshh.cli.statistics import Statistics, in_words
from onionshh.cli.talk import tell, utter
from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.roles import Role
from onionshh.crypto.uiv import CIPHER
from onionshh.geometry import KEY
from onionshh.ids import RelayId
from onionshh.net.authority_client import HttpSource
from onionshh.net.clocks import Clock
from onionshh.net.hosted import HostedReader
from onionshh.net.socks import dialer_of
from onionshh.net.store import DataDirectory
from onionshh.net.tcp import TcpListener
from onionshh.net.transport import Reader
from onionshh.net.via import Via
from onionshh.relay.keys import RelayKeys
from onionshh.relay.publish import About
from onionshh.relay.serve import Mounting, Relay
from onionshh.rendezvous.serve import roles
from onionshh.wire.descriptor import FAMILY_MOST, canonical_host, format_address, good_nickname

NICKNAME = "unnamed"
REPORT_SECONDS = 3600.0


@click.command()
@network_option()
@click.option(
    "--listen", metavar="HOST:PORT", required=True, help="Where links are accepted; port 0: any free port."
)
@click.option(
    "--data",
    type=PATH,
    metavar="DIR",
    required=True,
    help="Folder of the relay's keys; no other process may use it.",
)
@click.option(
    "--nickname",
    metavar="NAME",
    default=NICKNAME,
    help="1 to 19 letters, digits, dashes; for people only.",
)
@click.option(
    "--advertise", metavar="HOST:PORT", help="Where others reach it, if not at the --listen address."
)
@click.option(
    "--family",
    multiple=True,
    metavar="ID",
    help="Id of another relay of yours; may be repeated. No path uses two of a family.",
)
@click.option(
    "--rate",
    type=click.IntRange(min=0),
    metavar="BYTES",
    default=0,
    help="Limit in bytes per second; 0: no limit.",
)
@bind_option
@via_option
def relay(
    network: Path,
    listen: str,
    data: Path,
    nickname: str,
    advertise: str | None,
    family: tuple[str, ...],
    rate: int,
    bind: str | None,
    via: str | None,
) -> int:
    """Run a relay: it passes on cells that it cannot read.

    It says when the directory lists it, or why not, and once an hour what it did. SIGUSR1 asks for its
    statistics, as one line of JSON. Back up the file `relay-keys` in DIR: with it the relay keeps its id.

    \b
    Examples:
      onionshh relay --network net.toml --listen 127.0.0.1:0 --data relay1
      onionshh relay --network net.toml --listen 0.0.0.0:9001 --advertise 192.0.2.7:9001 --data relay1
    """
    host, port = host_port(listen, "--listen")
    check_bind(bind)
    if not good_nickname(nickname):
        raise Usage(f"--nickname needs 1 to 19 letters, digits or dashes, not {nickname!r}.")
    members = _family(family)
    if advertise is not None:
        host_port(advertise, "--advertise")
    elif is_wildcard(host):
        raise Usage(f"--listen {listen} is not an address that others can reach: add --advertise HOST:PORT.")
    file = network_file_when_there(network)
    check_reach(bind, file, via)
    folder = DataDirectory(data)
    with folder.lock():
        listener = TcpListener(host, port)
        try:
            seen = _advertised(advertise, listener.address)
            # All relays of a family may share one list, so our own id in it is left out.
            ours = RelayKeys(folder, os.urandom).relay_id
            about = About(nickname, *seen, tuple(member for member in members if member != ours))
            if rate:
                about = replace(about, bandwidth=rate)
            _ask_for_long_turns()
            reader = HostedReader()
            made = make_relay(
                file, folder, listener, about, bind, via_of(via), reader=reader, rate=rate, say=tell
            )
            statistics = Statistics("relay")
            return run(
                lambda: _run(made, about),
                on=reader,
                report=lambda: utter(statistics.line(made.statistics(), cipher=CIPHER.name)),
            )
        finally:
            listener.close()


def make_relay(
    network: NetworkFile,
    folder: DataDirectory,
    listener: TcpListener,
    about: About,
    bind: str | None = None,
    via: Via | None = None,
    *,
    reader: Reader | None = None,
    rate: int = 0,
    say: Callable[[str], None],
) -> Relay:
    """A relay on TCP with every role mounted."""
    return Relay(
        network=network,
        source=HttpSource(bind, via=via),
        dialer=dialer_of(bind, via),
        listener=listener,
        reader=reader,
        folder=folder,
        about=about,
        clock=Clock(),
        chance=Chance(os.urandom),
        mount=_roles,
        say=say,
        rate_bytes=rate,
    )


def _roles(mounting: Mounting) -> tuple[Role, ...]:
    return roles(mounting.relay_id, mounting.params, mounting.view, mounting.wall, mounting.folder)


async def _run(made: Relay, about: About) -> int:
    tell(f"relay {about.nickname}, id {made.keys.relay_id.hex()}")
    tell(f"cipher: {CIPHER.name}")
    await until_directory_answers(made.first)
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: made.run(task_status=task_status))
        tell(
            f"links are taken at {format_address(about.host, about.port)}; waiting for the directory's check"
        )
        gc.collect()
        gc.freeze()  # what exists now stays, so later collections need not look at it
        nursery.start_soon(report_hourly, made)
    return 0


async def report_hourly(made: Relay) -> None:
    """What the relay did so far, once an hour, until cancelled."""
    while True:
        await trio.sleep(REPORT_SECONDS)
        tell(in_words(made.statistics()))


def _ask_for_long_turns() -> None:
    """Tell the scheduler that this process is about throughput. When a frame wakes it, it does not take the
    core from the frame's sender, perhaps in the middle of a pass."""
    if hasattr(os, "SCHED_BATCH"):
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _advertised(advertise: str | None, bound: tuple[str, int]) -> tuple[str, int]:
    """Host and port for the descriptor. The host is an IP address in its canonical form."""
    given, port = bound if advertise is None else host_port(advertise, "--advertise")
    host = canonical_host(given)
    if host is None or is_wildcard(host) or not port:
        option = "--listen" if advertise is None else "--advertise"
        raise Usage(f"{option} needs an IP address and a port that others reach, not {given}:{port}.")
    return host, port


def _family(texts: Iterable[str]) -> tuple[RelayId, ...]:
    members = set()
    for text in texts:
        try:
            member = bytes.fromhex(text)
        except ValueError:
            member = b""
        if len(member) != KEY:
            raise Usage(f"--family needs a relay's id, {2 * KEY} hexadecimal digits, not {text!r}.")
        members.add(RelayId(member))
    if len(members) > FAMILY_MOST:
        raise Usage(f"--family can be given at most {FAMILY_MOST} times.")
    return tuple(sorted(members))
