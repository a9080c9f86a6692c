"""`onionshh directory`: an authority that checks relays and publishes the consensus (SPEC 8)."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import click
import trio

from onionshh.cli.completing import parameters
from onionshh.cli.config.reloading import reload_with
from onionshh.cli.ending import run
from onionshh.cli.failures import Usage
from onionshh.cli.folders import check_whose
from onionshh.cli.logs import log_options
from onionshh.cli.metrics.option import check_metrics, metrics_listener, metrics_option, serve_metrics
from onionshh.cli.metrics.samples import of_directory
from onionshh.cli.options import (
    PATH,
    as_usage,
    bind_option,
    check_bind,
    host_port,
    is_wildcard,
    network_option,
    via_of,
    via_option,
)
from onionshh.cli.remarks import Trouble
from onionshh.cli.service import ready, status
from onionshh.cli.statistics import Statistics
from onionshh.cli.status_socket import serve_status
from onionshh.cli.talk import counted, note, tell, utter
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import ONE_MACHINE, Params, default_params, parse_override
from onionshh.core.paths.enough import lacking
from onionshh.core.paths.view import View
from onionshh.directory.authority import DirectoryAuthority, DirectoryStatistics
from onionshh.directory.changes import changes
from onionshh.directory.serve import choose_params, is_loopback, serve
from onionshh.directory.store import AuthorityStore, create_or_open
from onionshh.net.clocks import Clock
from onionshh.net.http import listen as listen_http
from onionshh.net.probe import LinkProbe
from onionshh.net.socks import dialer_of
from onionshh.net.store import DataDirectory
from onionshh.net.transport import Dialer
from onionshh.wire.consensus import Consensus
from onionshh.wire.descriptor import format_address

WATCH_SECONDS = 1.0
LIVE: Final = frozenset({"interval", "param"})
"""What SIGHUP takes up: from the next consensus on."""


@click.command()
@click.option(
    "--listen", metavar="HOST:PORT", required=True, help="Where HTTP is served; port 0: any free port."
)
@click.option(
    "--data",
    type=PATH,
    metavar="DIR",
    required=True,
    help="Folder of the signing key and of what is known about relays.",
)
@network_option("The network file; the first start writes it.", found=False)
@click.option(
    "--interval",
    type=int,
    metavar="SECONDS",
    help="Time from one consensus to the next, and from one check of a relay to the next."
    f"  [default: {Params().interval_seconds}; {ONE_MACHINE['interval_seconds']} on a one-machine network]",
)
@click.option(
    "--param",
    multiple=True,
    metavar="NAME=VALUE",
    shell_complete=parameters,
    help="A consensus parameter; may be repeated.",
)
@log_options
@metrics_option
@bind_option
@via_option
def directory(
    listen: str,
    data: Path,
    network: Path,
    interval: int | None,
    param: tuple[str, ...],
    metrics: str | None,
    bind: str | None,
    via: str | None,
) -> int:
    """Run a directory: it checks relays, and tells everyone which relays there are.

    The first start makes the signing key in DIR (back up the file `authority`) and writes the network file
    FILE. Everyone who joins the network needs a copy of that file. A directory that listens on a loopback
    address starts a one-machine network: a consensus every 5 seconds and no limits per address.

    It says which relays come and go and why, and how many are listed. SIGUSR1 asks for its statistics, as
    one line of JSON. With --config, SIGHUP has it take up --interval and --param from the file, for the next
    consensus. At its URL it has a page for people, and GET /health answers 200, or 503 and why nobody should
    rely on it now. With --metrics it serves rounded numbers at /metrics.

    \b
    Examples:
      onionshh directory --listen 127.0.0.1:7000 --data dir --network net.toml
      onionshh directory --listen 192.0.2.1:80 --data dir --network net.toml --interval 600
    """
    host, port = host_port(listen, "--listen")
    check_bind(bind)
    check_metrics(metrics)
    overrides = _overrides(interval, param)
    check_params(host, overrides)
    check_whose(data, "directory")
    with DataDirectory(data).lock():
        pass  # report a folder in use first: that explains a port in use, too
    listener = listen_http(host, port)
    port = listener.getsockname()[1]
    url = f"http://{format_address(host, port)}"
    with (
        listener,
        metrics_listener(metrics, "directory") as numbers,
        create_or_open(data, network, url=url, random_bytes=os.urandom) as store,
    ):
        with as_usage():
            params = choose_params(host, store.network, overrides)
        this_run = _Directory(store, network, url, data)
        reload_with(LIVE, lambda now: this_run.take_up(host, now))
        dialer = dialer_of(bind, via_of(via))
        return run(lambda: this_run.run(listener, params, dialer, numbers), report=this_run.report)


def check_params(host: str, overrides: dict[str, int]) -> None:
    """Check these parameters before anything is written. Usage."""
    with as_usage():
        default_params(one_machine=is_loopback(host)).with_overrides(overrides)


async def serve_authority(
    store: AuthorityStore,
    listener: socket.socket,
    params: Params,
    dialer: Dialer,
    *,
    task_status: trio.TaskStatus[DirectoryAuthority],
) -> None:
    """Run the authority with its HTTP and its probe, until cancelled. Started once it answers. `dialer`: by
    which relays are checked."""
    clock = Clock()
    await serve(
        store,
        listener,
        params=params,
        clock=clock,
        probe=LinkProbe(dialer=dialer, clock=clock, chance=Chance(os.urandom)),
        random_bytes=os.urandom,
        task_status=task_status,
    )


class _Directory:
    """One run of this command."""

    def __init__(self, store: AuthorityStore, network: Path, url: str, data: Path) -> None:
        self._data = data
        self._store = store
        self._network = network
        self._url = url
        self._authority: DirectoryAuthority | None = None
        self._statistics = Statistics("directory")

    async def run(
        self,
        listener: socket.socket,
        params: Params,
        dialer: Dialer,
        numbers: socket.socket | None,
    ) -> int:
        """Run until cancelled."""
        store, network = self._store, self._network
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                serve_metrics, numbers, "directory", lambda: of_directory(self.record()), self.why_not_well
            )
            nursery.start_soon(serve_status, self._data, "directory", self.record, self.why_not_well)
            self._authority = await nursery.start(
                lambda task_status: serve_authority(store, listener, params, dialer, task_status=task_status)
            )
            ready("answers; no relay is listed yet")
            tell(f"directory of {store.network.name} at {self._url} (a page for people, too)")
            tell(f"network file: {network}; everyone who joins needs a copy")
            seconds = params.interval_seconds
            tell(f"a consensus every {seconds} s; a relay that answers comes with the next one")
            _warn_of_urls(store, self._url, network)
            await watch(self._authority)
        return 0

    def take_up(self, host: str, now: Mapping[str, Any]) -> tuple[str, ...]:
        """Sign these parameters from the next consensus on. Usage."""
        if self._authority is None:
            raise Usage("this directory has no consensus yet; ask again.")
        with as_usage():
            params = choose_params(host, self._store.network, _overrides(now["interval"], now["param"]))
            self._authority.change(params)
        return ()

    def report(self) -> None:
        """Say what this directory did so far."""
        utter(self._statistics.line(self.record()))

    def record(self) -> DirectoryStatistics:
        """What this directory did so far."""
        return DirectoryStatistics() if self._authority is None else self._authority.statistics()

    def why_not_well(self) -> str:
        """Why nobody should rely on it now, in a sentence; empty if all is well."""
        authority = self._authority
        return "This directory has no consensus yet." if authority is None else authority.why_not_well()


def _warn_of_urls(store: AuthorityStore, url: str, network: Path) -> None:
    """Warn when the network file does not lead others here."""
    host, _ = host_port(url.removeprefix("http://"), "--listen")
    ours = next(authority.url for authority in store.network.authorities if authority.key == store.key.public)
    if is_wildcard(host) and ours == url:
        note(f"nobody can reach {url}: put this machine's own address as url into {network}.")
    elif not is_wildcard(host) and ours != url:
        note(f"{network} says {ours}; we listen at {url}. If {ours} does not lead here, change one.")


async def watch(authority: DirectoryAuthority) -> None:
    """Say which relays came and left, how many are listed, and when no new list comes."""
    stale = Trouble("a new consensus is out again.")
    before: Consensus | None = None
    listed = ""
    while True:
        consensus = authority.consensus
        if consensus is not None and consensus is not before:
            if before is not None:
                for line in changes(before, consensus, authority.known_of):
                    tell(line)
            now = _listed(consensus)
            if now != listed:
                listed = now
                tell(listed)
                status(listed)
            before = consensus
        if consensus is not None:
            late = authority.clock.wall() - consensus.fresh_until
            if late > authority.params.interval_seconds:
                stale.on("no new consensus is made; the last one serves while it is valid.")
            elif late <= 0:
                stale.off()
        await trio.sleep(WATCH_SECONDS)


def _listed(consensus: Consensus) -> str:
    """How many relays are listed, and what they are not enough for."""
    said = f"{counted(len(consensus.relays), 'relay')} listed"
    lack = lacking(View(consensus), Chance(os.urandom)) if consensus.relays else ""
    return f"{said}, not enough for whispers: {lack}" if lack else said


def _overrides(interval: int | None, params: Iterable[str]) -> dict[str, int]:
    with as_usage():
        overrides = dict(parse_override(text) for text in params)
    if interval is not None:
        overrides["interval_seconds"] = interval
    return overrides
