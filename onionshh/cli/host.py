"""`onionshh host`: an endpoint that others reach by its address."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import trio

from onionshh.cli.address import IDENTITY_FILE
from onionshh.cli.answers import Answers
from onionshh.cli.config.reloading import reload_with
from onionshh.cli.defaults import InWords
from onionshh.cli.draining import answer_before_the_end
from onionshh.cli.ending import run
from onionshh.cli.folders import check_whose
from onionshh.cli.handling import Handling, Patience, Tally
from onionshh.cli.lines import LineReader, Output
from onionshh.cli.logs import log_options
from onionshh.cli.metrics.option import check_metrics, metrics_listener, metrics_option, serve_metrics
from onionshh.cli.metrics.samples import of_host
from onionshh.cli.options import (
    PATH,
    bind_option,
    check_bind,
    check_reach,
    json_option,
    network_option,
    via_option,
)
from onionshh.cli.patience import network_file_when_there, until_directory_answers
from onionshh.cli.received import ReceivedFiles
from onionshh.cli.replying import LIVE, Replying, check_receive, take_up
from onionshh.cli.service import ready, status
from onionshh.cli.showing import Showing, ShowingAndHolding
from onionshh.cli.standing import Standing
from onionshh.cli.statistics import HostStatistics
from onionshh.cli.status_socket import serve_status, why_host
from onionshh.cli.taking import Taking, Way
from onionshh.cli.verbose import verbose_option
from onionshh.cli.voice import JsonVoice, PeopleVoice, Voice
from onionshh.client.endpoint import Endpoint
from onionshh.client.identities import Identity
from onionshh.client.node import Node, join
from onionshh.net.store import DataDirectory

HELP = """Host an endpoint and show the whispers that come, or answer them.

The first start makes the identity in DIR; back up the file `identity`.

With --exec a program gets each body on its stdin, and its stdout is the reply; 8 run at once. PROGRAM may
have arguments, quoted as in a shell. A run ends when the program itself ends: processes that it leaves
behind go on, but their output is not taken. A program that ends by itself has handled the whisper: with a
reply if its status is 0, without one if not. The whisper is kept when the program cannot be started,
takes more than 60 s, is ended by a signal, writes more than 65 535 bytes, or ends with status 75, 126 or
127. It is then tried again after 1 s, and after longer each time, up to 5 min. A full disk ends nothing
either: what waits for it is tried again.

With --receive each transfer (up to 8 MiB, see `onionshh send`) becomes a file in DIR. Its name is the
time and the first digits of the transfer's id, since the sender gives no name. Only you can read it.
While the disk is full, the transfer waits.

Visitors may leave whispers with relays while the endpoint is away, for up to 7 days. It takes them when it
starts, and looks for more every 10 to 20 minutes.

With --config, SIGHUP has it take up --exec, --echo and --receive from the file, also where there was none of
them or where none is left. A program that runs goes on, and what was shown is not shown again. SIGUSR1
asks for statistics, as one line of JSON. With --metrics it serves rounded numbers at /metrics. Keep them to
yourself: whoever reads them while sending you whispers may find out whose endpoint this is.

\b
With --json, one object per line:
  {"event": "address", "address": "shh1…"}
  {"event": "reachable", "introducers": 1, "seconds": 3.2}
  {"event": "introducers", "introducers": 6}  how many there are, once that has settled
  {"event": "unreachable", "why": "…"}
  {"event": "whisper", "id": "…", "received_at": Unix seconds, "peer": "…" or null,
   "sender": "shh1…" or null, "waited": whether it lay in the inbox, "body": "…"}
                                   a body that is not UTF-8 comes as body_base64
  {"event": "transfer", "id": "…", "size": 300000, "received_at": Unix seconds, "file": "DIR/…"}
  {"event": "transfer", "id": "…", "size": bytes that came, "failed": "…"}  it did not come whole
  {"event": "statistics", …}       on SIGUSR1
and without --echo and --exec also lines on stdin:
  {"reply_to": "id", "body": "…"}  answer, or with body_base64
  {"done": "id"}                   finish without an answer
A line that is not one of these is answered by {"error": "…"}. A whisper that is neither answered nor
done is shown again after a restart. Once stdin has ended, each whisper is finished when it was shown.

While stdout cannot be written (nobody reads it any more, or its disk is full), no whisper is shown, so
none is finished. This is said once on stderr, and writing is tried again. With --echo and --exec whispers
are handled even then, and lines are lost while 1 MiB of them waits.

\b
Examples:
  onionshh host --network net.toml --data me
  onionshh host --network net.toml --data me --echo
  onionshh host --network net.toml --data me --exec "tr a-z A-Z"
  onionshh host --network net.toml --data me --receive received
"""


@click.command(help=HELP)
@network_option()
@click.option(
    "--data",
    type=PATH,
    metavar="DIR",
    required=True,
    help="Folder of the endpoint; no other process may use it.",
)
@click.option("--echo", is_flag=True, help="Answer each whisper with its own body.")
@click.option(
    "--exec", "program", metavar="PROGRAM", help="Run this for each whisper; its output is the reply."
)
@click.option(
    "--receive",
    cls=InWords,
    type=PATH,
    metavar="DIR",
    show_default="transfers wait on disk",
    help="Make a file in DIR of each transfer.",
)
@click.option(
    "--introducers",
    type=click.IntRange(1, 20),
    metavar="N",
    default=6,
    help="Introducers wanted, 1 to 20.",
)
@click.option("--no-receipts", is_flag=True, help="Send no receipts, only replies.")
@click.option("--senders", is_flag=True, help="Check who visitors say they are, and show it.")
@click.option("--no-inbox", is_flag=True, help="Take no whispers that are left while it is away.")
@verbose_option
@log_options
@metrics_option
@bind_option
@via_option
@json_option
def host(
    network: Path,
    data: Path,
    echo: bool,
    program: str | None,
    receive: Path | None,
    introducers: int,
    no_receipts: bool,
    senders: bool,
    no_inbox: bool,
    metrics: str | None,
    bind: str | None,
    via: str | None,
    as_json: bool,
) -> int:
    """Host an endpoint and show the whispers that come, or answer them."""
    replying = Replying(echo, program)
    check_receive(receive, receipts=not no_receipts)
    check_bind(bind)
    check_metrics(metrics)
    check_reach(bind, network_file_when_there(network), via)
    check_whose(data, "host")
    folder = DataDirectory(data)
    with folder.lock():
        way = _Way(network, data, bind, via)
        terms = _Terms(introducers, receipts=not no_receipts, senders=senders, inbox=not no_inbox)
        this_run = _Host(way, terms, replying, ReceivedFiles(receive), as_json=as_json)
        reload_with(LIVE, this_run.take_up)
        with metrics_listener(metrics, "host") as numbers:
            return run(lambda: _run(this_run, numbers, data), report=this_run.report)


async def _run(host: _Host, numbers: socket.socket | None, data: Path) -> int:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(host.voice.run)
        nursery.start_soon(serve_metrics, numbers, "host", lambda: of_host(host.record()))
        nursery.start_soon(serve_status, data, "host", host.record, lambda: why_host(host.record()))
        await host.run()
        nursery.cancel_scope.cancel()
    return 0


@dataclass(frozen=True, slots=True)
class _Way:
    """How the node joins: see `join`."""

    network: Path
    data: Path
    bind: str | None
    via: str | None = field(repr=False)

    def join(self) -> AbstractAsyncContextManager[Node]:
        """Join, for the block."""
        return join(self.network, data_dir=self.data, bind=self.bind, via=self.via)


@dataclass(frozen=True, slots=True)
class _Terms:
    """How the endpoint is hosted: see `Node.host`."""

    introducers: int
    receipts: bool
    senders: bool
    inbox: bool


class _Host:
    """One run of this command."""

    def __init__(
        self,
        way: _Way,
        terms: _Terms,
        replying: Replying,
        received: ReceivedFiles,
        *,
        as_json: bool,
    ) -> None:
        self._way = way
        self._terms = terms
        self._replying = replying
        self._received = received
        output, patience = Output(), Patience()
        self.voice: Voice = JsonVoice(output) if as_json else PeopleVoice(output)
        self._tally = Tally()
        self._standing = Standing(self.voice, terms.introducers)
        self._joined: tuple[Node, Endpoint] | None = None
        self._handling = Handling(replying.reply, self.voice.came, patience, self._tally)
        self._showing: Showing | ShowingAndHolding = Showing(self.voice, patience, self._tally)
        if as_json:
            answers = Answers(LineReader(), output, patience, self._tally)
            self._showing = ShowingAndHolding(self.voice, answers)
        self._taking = Taking(self._chosen(), patience, self._tally)

    def _chosen(self) -> Way:
        return self._handling if self._replying.wanted else self._showing

    def take_up(self, now: Mapping[str, Any]) -> tuple[str, ...]:
        """The options are these now. Usage, before anything is changed."""
        take_up(self._replying, self._received, now, receipts=self._terms.receipts)
        self._taking.use(self._chosen())
        return ()

    async def run(self) -> None:
        """Host until the endpoint is closed."""
        identity = Identity.load_or_create(self._way.data / IDENTITY_FILE)
        self.voice.address(identity.address)
        status("waits for the directory to answer")
        async with AsyncExitStack() as stack:
            node = await until_directory_answers(lambda: stack.enter_async_context(self._way.join()))
            hosted = node.host(
                identity,
                introducers=self._terms.introducers,
                receipts=self._terms.receipts,
                senders=self._terms.senders,
                inbox=self._terms.inbox,
            )
            endpoint = await stack.enter_async_context(hosted)
            self._joined = node, endpoint
            ready("hosting; not reachable yet")
            answer_before_the_end()
            stack.callback(self._leave)
            nursery = await stack.enter_async_context(trio.open_nursery())
            nursery.start_soon(self._standing.run, endpoint)
            nursery.start_soon(self._received.run, endpoint, self.voice)
            nursery.start_soon(self._showing.run)
            await self._taking.run(endpoint)
            nursery.cancel_scope.cancel()

    def _leave(self) -> None:
        self._joined = None

    def report(self) -> None:
        """Say what this endpoint did so far."""
        self.voice.statistics(self.record())

    def record(self) -> HostStatistics:
        """What this endpoint did so far."""
        if self._joined is None:
            return HostStatistics()
        since = self._standing.since
        seconds = None if since is None else round(trio.current_time() - since, 1)
        return numbers_of(*self._joined, self._tally, seconds)


def numbers_of(node: Node, endpoint: Endpoint, tally: Tally, seconds: float | None) -> HostStatistics:
    """How a node and its endpoint stand now. `seconds`: since reachability was last gained or lost."""
    here, there = node.status(), endpoint.status()
    return HostStatistics(
        joined=True,
        online=here.online,
        guards_up=here.guards_up,
        relays=here.relays,
        consensus_age_seconds=here.consensus_age_seconds,
        circuits=here.circuits,
        reachable=there.reachable,
        seconds=seconds,
        introducers=there.introducers,
        visitors=there.visitors,
        taken=tally.taken,
        finished=tally.finished,
        unfinished=there.unfinished,
        kept=tally.kept,
        given_up=there.given_up,
        replies_waiting=there.replies_waiting,
        transfers=there.transfers,
        effort=there.effort,
        inbox_crowded=there.inbox_crowded,
        drops=here.drops,
    )
