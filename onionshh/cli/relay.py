"""`onionshh relay`: forwards cells, and serves as introducer, rendezvous point and ring relay."""

from __future__ import annotations

import contextlib
import gc
import os
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click
import trio

from onionshh.cli.completing import relay_ids
from onionshh.cli.config.reloading import reload_with
from onionshh.cli.draining import drain_on_sigterm, drain_option
from onionshh.cli.ending import run
from onionshh.cli.failures import Usage
from onionshh.cli.folders import check_whose
from onionshh.cli.log_lines import INFO, WARNING
from onionshh.cli.logs import log_options
from onionshh.cli.metrics.option import check_metrics, metrics_listener, metrics_option, serve_metrics
from onionshh.cli.metrics.samples import of_relay
from onionshh.cli.monthly import monthly_of, monthly_options
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
from onionshh.cli.relay_addresses import Places, advertised, opened, wanted
from onionshh.cli.service import ready, status
from onionshh.cli.statistics import Statistics, in_words
from onionshh.cli.status_socket import serve_status
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
from onionshh.relay.accounting import Monthly
from onionshh.relay.keys import RelayKeys
from onionshh.relay.publish import About
from onionshh.relay.serve import Mounting, Relay
from onionshh.rendezvous.serve import roles
from onionshh.wire.descriptor import FAMILY_MOST, Address, good_nickname, only_over_tor

if TYPE_CHECKING:
    from onionshh.net.tor import OnionService

NICKNAME = "unnamed"
REPORT_SECONDS = 3600.0
LIVE: Final = frozenset({"nickname", "advertise", "family", "rate"})
"""What SIGHUP takes up: see `take_up`."""


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
    shell_complete=relay_ids,
    help="Id of another relay of yours; may be repeated. No path uses two of a family.",
)
@click.option(
    "--rate",
    type=click.IntRange(min=0),
    metavar="BYTES",
    default=0,
    help="Limit in bytes per second; 0: no limit.",
)
@monthly_options
@drain_option
@log_options
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
    monthly: int | None,
    month_day: int | None,
    drain_seconds: int,
    metrics: str | None,
    bind: str | None,
    via: str | None,
) -> int:
    """Run a relay: it passes on cells that it cannot read.

    It says when the directory lists it, or why not, and once an hour what it did. SIGUSR1 asks for its
    statistics, as one line of JSON. With --config, SIGHUP has it take up --nickname, --advertise, --family
    and --rate from the file, without ending a link. With --metrics it serves rounded numbers at /metrics,
    and at /health whether it is listed. With --monthly it hibernates once its bytes for the month are used
    up, and wakes by itself in the next month. Back up the file `relay-keys` in DIR: with it the relay keeps
    its id. To keep the id on another machine, see `onionshh master`.

    On SIGTERM it takes no new circuits, gives those that it has some seconds, and ends once none is left.
    SIGINT and a second signal end it at once.

    \b
    Examples:
      onionshh relay --network net.toml --listen 127.0.0.1:0 --data relay1
      onionshh relay --network net.toml --listen 0.0.0.0:9001 --advertise 192.0.2.7:9001 --data relay1
      onionshh relay --network net.toml --onion 127.0.0.1:9051 --data relay1
    """
    options = wanted(listen, advertise, onion)
    check_bind(bind)
    check_metrics(metrics)
    amount = monthly_of(monthly, month_day)
    _check_nickname(nickname)
    members = _family(family)
    file = network_file_when_there(network)
    check_reach(bind, file, via)
    check_whose(data, "relay")
    folder = DataDirectory(data)
    with folder.lock(), ExitStack() as held:
        numbers = held.enter_context(metrics_listener(metrics, "relay"))
        places = opened(options, folder, held)
        # All relays of a family may share one list, so our own id in it is left out.
        ours = RelayKeys(folder, os.urandom).relay_id
        about = _about(nickname, places.addresses, (one for one in members if one != ours), rate)
        _ask_for_long_turns()
        reader = HostedReader()
        given = (file, folder, places.listeners, about, bind, via_of(via))
        made = make_relay(*given, reader=reader, rate=rate, monthly=amount, say=say_standing)
        reload_with(LIVE, lambda now: take_up(made, now, places))
        service = None if places.service is None else places.service(tell)
        return _run_on(reader, _Running(made, service, numbers, data, drain_seconds))


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
    monthly: Monthly | None = None,
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
        monthly=monthly,
    )


def _check_nickname(nickname: str) -> None:
    if not good_nickname(nickname):
        raise Usage(f"--nickname needs 1 to 19 letters, digits or dashes, not {nickname!r}.")


def _about(nickname: str, addresses: Sequence[Address], family: Iterable[RelayId], rate: int) -> About:
    first, *more = addresses
    about = About(nickname, first.host, first.port, tuple(family), more=tuple(more))
    return replace(about, bandwidth=rate) if rate else about


def take_up(made: Relay, now: Mapping[str, Any], places: Places) -> tuple[str, ...]:
    """The relay's options are these now: it publishes itself anew, and reads at the new rate. Usage."""
    _check_nickname(now["nickname"])
    family = (member for member in _family(now["family"]) if member != made.keys.relay_id)
    addresses = advertised(now["advertise"], places)
    made.change(_about(now["nickname"], addresses, family, now["rate"]), now["rate"])
    return ()


def _roles(mounting: Mounting) -> tuple[Role, ...]:
    return roles(mounting.relay_id, mounting.params, mounting.view, mounting.wall, mounting.folder)


def say_standing(line: str) -> None:
    """What the relay says of its place in the network also goes to a service manager."""
    tell_standing(line)
    status(line)


@dataclass(frozen=True, slots=True)
class _Running:
    """One run of this command."""

    made: Relay
    service: OnionService | None
    numbers: socket.socket | None
    data: Path
    drain_seconds: int


def _run_on(reader: HostedReader, it: _Running) -> int:
    statistics = Statistics("relay")
    return run(
        lambda: _run_with_numbers(it),
        on=reader,
        report=lambda: utter(statistics.line(it.made.statistics(), cipher=CIPHER.name)),
    )


async def _run_with_numbers(it: _Running) -> int:
    """Whoever asks for its health is answered from the start, also while no directory is there yet."""
    made = it.made
    async with trio.open_nursery() as nursery:
        nursery.start_soon(
            serve_metrics, it.numbers, "relay", lambda: of_relay(made.statistics()), made.why_not_well
        )
        nursery.start_soon(serve_status, it.data, "relay", made.statistics, made.why_not_well)
        ended_with = await _run(it)
        nursery.cancel_scope.cancel()
    return ended_with


async def _run(it: _Running) -> int:
    made, service = it.made, it.service
    about = made.publisher.about
    tell(f"relay {about.nickname}, id {made.keys.relay_id.hex()}")
    tell(f"cipher: {CIPHER.name}")
    status("waits for the directory to answer")
    async with trio.open_nursery() as nursery:
        if service is not None and only_over_tor(about.addresses):
            await nursery.start(_keep_up, service)  # a check before that could only fail
        elif service is not None:
            nursery.start_soon(service.run)
        await until_directory_answers(made.first)
        await nursery.start(lambda task_status: made.run(task_status=task_status))
        where = " and ".join(map(str, about.addresses))
        tell(f"links are taken at {where}; waiting for the directory's check")
        ready("links are taken; waits for the directory's check")
        drain_on_sigterm(made, it.drain_seconds)
        gc.collect()
        gc.freeze()  # what exists now stays, so later collections need not look at it
        nursery.start_soon(report_hourly, made)
    return 0


def tell_standing(line: str) -> None:
    """Say how this relay stands. That it is listed is as it should be; all else is a warning."""
    tell(line, INFO if line.startswith("listed") else WARNING)


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
