"""`onionshh send`: a file to an endpoint, in parts."""

from __future__ import annotations

import json
import os
import select
import stat
import sys
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import click
import trio

from onionshh.advice import advice
from onionshh.cli.bar import Bar, drawn
from onionshh.cli.completing import contact_names, files
from onionshh.cli.ending import run
from onionshh.cli.failures import FAILED, Usage
from onionshh.cli.folders import network_folder
from onionshh.cli.following import IN_THE_WAY_SECONDS, OFFLINE
from onionshh.cli.options import (
    DURATION,
    PATH,
    bind_option,
    check_bind,
    check_reach,
    class_options,
    folder_option,
    json_option,
    network_option,
    via_option,
)
from onionshh.cli.sources import STDIN
from onionshh.cli.talk import counted, note
from onionshh.cli.teller import GIVEN_UP, MAYBE
from onionshh.cli.text import one_line
from onionshh.cli.verbose import verbose_option
from onionshh.cli.whisper import check_terms, whom
from onionshh.client.contact import TRANSFER_TTL_SECONDS
from onionshh.client.node import Node, join
from onionshh.client.transfer import Transfer, TransferProgress
from onionshh.core.delivery.parts import check_size
from onionshh.net.network_file import read_network_file

INTERRUPTED = "interrupted before all of it had arrived"
READ_BYTES = 65_536


HELP = """Send a file of up to 8 MiB to an endpoint, in parts.

After 2 to 6 parts of 64 KB it goes on over other relays, so that no relay behind the guards carries much
of it. This is not for bulk: every byte passes up to seven relays. The endpoint's program gets all of it
or nothing; `onionshh host --receive` makes a file of it. The file's name is not sent.

Exit status 0 means that the endpoint has all of it. What was sent is of no use if this command ends
before that: the next one begins anew.

Every user of this machine can see the command line of a program that runs, with ADDRESS. If there are
other users, use --address-file.

\b
With --json, one object:
  {"status": "delivered", "why": "", "id": "…", "size": 300000, "sent_bytes": 300000,
   "seconds": 4.2, "paths": [{"hops": 3, "relays": ["…", "…", "…", "…"]}, …]}
status: delivered, expired or failed; why: in words, if not delivered. size is null if it is not known.

\b
Examples:
  onionshh send --network net.toml shh1… letter.pdf
  onionshh send --network net.toml --address-file friend letter.pdf
  tar c folder | onionshh send --network net.toml shh1… -

\b
Arguments:
  [ADDRESS]  The endpoint, shh1…, if there is no --address-file.
  FILE | -   What to send; -: stdin.
"""


@click.command(help=HELP)
@click.argument("address", metavar="[ADDRESS]", required=False)
@network_option()
@click.argument("file", metavar="FILE | -", required=False, shell_complete=files)
@click.option("--address-file", type=PATH, metavar="FILE", help="Take the address from it; - is stdin.")
@class_options
@click.option(
    "--ttl",
    type=DURATION,
    metavar="TIME",
    default=float(TRANSFER_TTL_SECONDS),
    show_default="1h",
    help="Until when all of it must have arrived: 90s, 30m, 3h, 3d; at most 7d.",
)
@click.option(
    "--name",
    metavar="WHO",
    shell_complete=contact_names,
    help="Go on with the conversation of this name, as `onionshh whisper` does.",
)
@folder_option
@verbose_option
@bind_option
@via_option
@json_option
def send(
    address: str | None,
    network: Path,
    file: str | None,
    address_file: Path | None,
    hops: int | None,
    privacy: str,
    ttl: float,
    name: str | None,
    data: Path | None,
    bind: str | None,
    via: str | None,
    as_json: bool,
) -> int:
    """Send a file of up to 8 MiB to an endpoint, in parts."""
    check_terms(privacy, ttl, name)
    check_bind(bind)
    if address_file is not None and file is None:
        address, file = None, address  # the one argument
    if file is None:
        raise Usage("What is to be sent? Give ADDRESS and FILE, - for stdin.")
    if file == "-" and address_file == STDIN:
        raise Usage("stdin cannot be both the address and what is sent; give the address another way.")
    to = whom(address, address_file, file)
    joined = read_network_file(network)
    check_reach(bind, joined, via)
    with _Opened(file) as opened:
        parcel = _Parcel(to, opened, privacy, hops, ttl, name)
        teller = Teller(as_json=as_json)
        node = join(network, data_dir=data or network_folder(joined), bind=bind, via=via)
        status = run(lambda: _send(parcel, node, teller))
        teller.end()
        return status


class _Opened:
    """The file to send, open, and its size if that is known. Usage, TooLarge."""

    def __init__(self, name: str) -> None:
        self.size: int | None = None
        self._stdin = name == "-"
        if self._stdin:
            if sys.stdin is None:
                raise Usage("There is nothing to read on stdin; give a file.")
            self.descriptor = sys.stdin.fileno()
            return
        try:
            self.descriptor = os.open(os.path.expanduser(name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            raise Usage(f"Cannot read {name}: {error.strerror}{advice(error)}.") from error
        try:
            found = os.fstat(self.descriptor)
            if stat.S_ISDIR(found.st_mode):
                raise Usage(f"Cannot read {name}: it is a folder; make one file of it.")
            if stat.S_ISREG(found.st_mode):
                self.size = found.st_size
                check_size(found.st_size)
        except BaseException:
            os.close(self.descriptor)
            raise

    def __enter__(self) -> _Opened:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._stdin:
            os.close(self.descriptor)

    async def pieces(self) -> AsyncIterator[bytes]:
        """What is in it. Reading never holds up the node."""
        while data := await trio.to_thread.run_sync(self._read, abandon_on_cancel=True):
            yield data

    async def whole(self) -> bytes:
        """All of it, for what does not tell its size. TooLarge, before anything is sent."""
        data = bytearray()
        async for piece in self.pieces():
            data += piece
            check_size(len(data))
        return bytes(data)

    def _read(self) -> bytes:
        while True:
            try:
                return os.read(self.descriptor, READ_BYTES)
            except BlockingIOError:
                select.select([self.descriptor], [], [])


@dataclass(frozen=True, slots=True)
class _Parcel:
    """What is to be sent, to whom, and on what terms."""

    address: str = field(repr=False)
    opened: _Opened
    privacy: str
    hops: int | None
    ttl_seconds: float
    name: str | None


async def _send(parcel: _Parcel, joining: AbstractAsyncContextManager[Node], teller: Teller) -> int:
    async with (
        joining as node,
        node.contact(parcel.address, name=parcel.name, privacy=parcel.privacy, hops=parcel.hops) as contact,
    ):
        opened = parcel.opened
        source = await opened.whole() if opened.size is None else opened.pieces()
        transfer = contact.transfer(source, size=opened.size, ttl_seconds=parcel.ttl_seconds)
        return await see_it_through(transfer, node, teller)


async def see_it_through(transfer: Transfer, node: Node, teller: Teller) -> int:
    """Wait for the end of a transfer, and show meanwhile how far it is. If a signal ends the waiting, that is
    told. Returns the exit status."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_say_what_is_in_the_way, transfer, node, teller)
        try:
            async for progress in transfer:
                teller.progress(progress)
        except trio.Cancelled:  # a signal
            teller.tell(transfer, INTERRUPTED)
            raise
        nursery.cancel_scope.cancel()
    return teller.tell(transfer, transfer.why)


async def _say_what_is_in_the_way(transfer: Transfer, node: Node, teller: Teller) -> None:
    said = ""
    while True:
        await trio.sleep(IN_THE_WAY_SECONDS)
        if transfer.is_final:
            return
        why = transfer.why if node.online else OFFLINE
        if why != said:
            said = why
            if said:
                teller.meanwhile(f"{said}; trying on.")


class Teller:
    """Tells how far a transfer is, and once what became of it: to a person, or as one object of JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._bar = Bar()
        self._began = 0.0
        self._is_told = False

    def progress(self, progress: TransferProgress) -> None:
        """This much has arrived."""
        self._began = self._began or trio.current_time()
        if not self._as_json:
            self._bar.show(drawn(progress))

    def meanwhile(self, line: str) -> None:
        """Say what a person who waits should know. A program waits for the object."""
        if not self._as_json:
            note(line)

    def tell(self, transfer: Transfer, why: str) -> int:
        """Tell everything. `why`: why it was not delivered, if it was not. Returns the exit status."""
        self._is_told = True
        self._bar.clear()
        seconds = trio.current_time() - self._began if self._began else 0.0
        delivered = transfer.status == "delivered"
        status = transfer.status if transfer.is_final else "failed"
        why = "" if delivered else one_line(why)
        if not self._as_json:
            if delivered:
                ways = counted(len(transfer.paths), "way")
                note(f"delivered: {counted(transfer.sent_bytes, 'byte')} over {ways} in {seconds:.1f} s.")
            else:
                note(f"not delivered ({status}): {why}; {_what_then(transfer)}.")
        else:
            print(json.dumps(_as_object(transfer, status, why, seconds)), flush=True)
        return 0 if delivered else FAILED

    def end(self) -> None:
        """The command ends. If a signal came before there was anything to tell, say so."""
        if not self._is_told:
            sentence = "interrupted before anything was sent."
            note(sentence)
            if self._as_json:
                print(json.dumps({"error": sentence}), flush=True)


def _what_then(transfer: Transfer) -> str:
    return MAYBE if transfer.size is not None and transfer.sent_bytes == transfer.size else GIVEN_UP


def _as_object(transfer: Transfer, status: str, why: str, seconds: float) -> dict[str, object]:
    return {
        "status": status,
        "why": why,
        "id": transfer.id,
        "size": transfer.size,
        "sent_bytes": transfer.sent_bytes,
        "seconds": round(seconds, 6),
        "paths": [{"hops": path.hops, "relays": list(path.relays)} for path in transfer.paths],
    }
