"""`onionshh relay`: forwards cells, and serves as introducer, rendezvous point and ring relay."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click
import trio

from onionshh.cli.ending import run
from onionshh.cli.failures import Usage
from onionshh.cli.metrics.option import check_metrics, metrics_listener, metrics_option, serve_metrics
from onionshh.cli.metrics.samples import of_relay
from onionshh.cli.options import (
    PATH,
    bind_option,
    check_bind,
    check_reach,
    network_option,
    via_of,
    via_option,
)
from onionshh.cli.patience import network_file_when_there, until_directory_answers
from onionshh.cli.relay_addresses import opened, wanted
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
from onionshh.net.transport import Listener, Reader
from onionshh.net.via import Via
from onionshh.relay.keys import RelayKeys
from onionshh.relay.publish import About
from onionshh.relay.serve import Mounting, Relay
from onionshh.rendezvous.serve import roles
from onionshh.wire.descriptor import FAMILY_MOST, good_nickname, only_over_tor

if TYPE_CHECKING:
    from onionshh.net.tor import OnionService

NICKNAME = "unnamed"
REPORT_SECONDS = 3600.0


@click.command()
@network_option()
@click.option(
    "--listen",
    multiple=True,
    metavar="HOST:PORT",
    help="Where links are accepted; port 0: any free port. May be given twice, for IPv4 and IPv6.",
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
    "--advertise",
    multiple=True,
    metavar="HOST:PORT",
    help="Where others reach it, if not at the --listen address. May be given twice, for IPv4 and IPv6.",
)
@click.option(
    "--onion",
    metavar="CONTROL",
    help="Be an onion service, too, or nothing else without --listen. CONTROL: HOST:PORT or the socket of"
    " tor's control port; a password for it in ONIONSHH_TOR_PASSWORD.",
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
@metrics_option
@bind_option
@via_option
def relay(
    network: Path,
    listen: tuple[str, ...],
    data: Path,
    nickname: str,
    advertise: tuple[str, ...],
    onion: str | None,
    family: tuple[str, ...],
    rate: int,
    metrics: str | None,
    bind: str | None,
    via: str | None,
) -> int:
    """Run a relay: it passes on cells that it cannot read.

    It says when the directory lists it, or why not, and once an hour what it did. SIGUSR1 asks for its
    statistics, as one line of JSON. With --metrics it serves rounded numbers at /metrics, and at /health
    whether it is listed. Back up the file `relay-keys` in DIR: with it the relay keeps its id.
    To keep the id on another machine, see `onionshh master`.

    \b
    Examples:
      onionshh relay --network net.toml --listen 127.0.0.1:0 --data relay1
      onionshh relay --network net.toml --listen 0.0.0.0:9001 --advertise 192.0.2.7:9001 --data relay1
      onionshh relay --network net.toml --onion 127.0.0.1:9051 --data relay1
    """
    options = wanted(listen, advertise, onion)
    check_bind(bind)
    check_metrics(metrics)
    if not good_nickname(nickname):
        raise Usage(f"--nickname needs 1 to 19 letters, digits or dashes, not {nickname!r}.")
    members = _family(family)
    file = network_file_when_there(network)
    check_reach(bind, file, via)
    folder = DataDirectory(data)
    with folder.lock(), ExitStack() as held:
        numbers = held.enter_context(metrics_listener(metrics, "relay"))
        places = opened(options, folder, held)
        # All relays of a family may share one list, so our own id in it is left out.
        ours = RelayKeys(folder, os.urandom).relay_id
        first, *more = places.addresses
        family_of = tuple(member for member in members if member != ours)
        about = About(nickname, first.host, first.port, family_of, more=tuple(more))
        if rate:
            about = replace(about, bandwidth=rate)
        _ask_for_long_turns()
        reader, proxy = HostedReader(), via_of(via)
        made = make_relay(
            file, folder, places.listeners, about, bind, proxy, reader=reader, rate=rate, say=tell
        )
        service = None if places.service is None else places.service(tell)
        return _run_on(reader, made, service, numbers)


def make_relay(
    network: NetworkFile,
    folder: DataDirectory,
    listeners: Sequence[Listener],
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
        listeners=listeners,
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


def _run_on(
    reader: HostedReader, made: Relay, service: OnionService | None, numbers: socket.socket | None
) -> int:
    statistics = Statistics("relay")
    return run(
        lambda: _run_with_numbers(made, service, numbers),
        on=reader,
        report=lambda: utter(statistics.line(made.statistics(), cipher=CIPHER.name)),
    )


async def _run_with_numbers(made: Relay, service: OnionService | None, numbers: socket.socket | None) -> int:
    """Whoever asks for its health is answered from the start, also while no directory is there yet."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            serve_metrics, numbers, "relay", lambda: of_relay(made.statistics()), made.why_not_well
        )
        status = await _run(made, service)
        nursery.cancel_scope.cancel()
    return status


async def _run(made: Relay, service: OnionService | None) -> int:
    about = made.publisher.about
    tell(f"relay {about.nickname}, id {made.keys.relay_id.hex()}")
    tell(f"cipher: {CIPHER.name}")
    async with trio.open_nursery() as nursery:
        if service is not None and only_over_tor(about.addresses):
            await nursery.start(_keep_up, service)  # a check before that could only fail
        elif service is not None:
            nursery.start_soon(service.run)
        await until_directory_answers(made.first)
        await nursery.start(lambda task_status: made.run(task_status=task_status))
        where = " and ".join(map(str, about.addresses))
        tell(f"links are taken at {where}; waiting for the directory's check")
        gc.collect()
        gc.freeze()  # what exists now stays, so later collections need not look at it
        nursery.start_soon(report_hourly, made)
    return 0


async def _keep_up(service: OnionService, *, task_status: trio.TaskStatus[None]) -> None:
    tell("asking tor for the onion service")
    await service.run(task_status=task_status)


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
