"""`onionshh whisper`: one whisper to an endpoint, its receipt and the reply."""

from __future__ import annotations

import os
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import click
import trio

from onionshh.cli.completing import contact_names
from onionshh.cli.ending import run
from onionshh.cli.failures import Usage
from onionshh.cli.folders import network_folder
from onionshh.cli.following import see_it_through
from onionshh.cli.options import (
    DURATION,
    PATH,
    as_usage,
    bind_option,
    check_bind,
    check_reach,
    class_options,
    folder_option,
    json_option,
    network_option,
    via_option,
)
from onionshh.cli.sources import STDIN, read_source
from onionshh.cli.storing import COPIES_SECONDS, can_be_stored, is_being_stored, usual_tries
from onionshh.cli.talk import counted
from onionshh.cli.teller import Teller
from onionshh.cli.text import one_line
from onionshh.cli.verbose import verbose_option
from onionshh.client.arguments import check_name
from onionshh.client.contact import Contact
from onionshh.client.node import NAME_MOST, Node, join
from onionshh.client.receipt import Receipt
from onionshh.core.base.classes import privacy_class
from onionshh.core.delivery.record import check_body, check_ttl
from onionshh.crypto.identity import decode_address_untrusted
from onionshh.errors import BadAddress, TooLarge
from onionshh.geometry import WHISPER_MAX
from onionshh.net.network_file import read_network_file

UNREAD_SECONDS = 0.5
"""What is on disk is shown at once. After that nothing more is waited for."""
ADDRESS_FILE_MOST = 4096
SHOWN_MOST = 80


HELP = """Whisper to an endpoint: at most 65 535 bytes, from the command line, a file or stdin.

The reply, if one comes within --wait, goes to stdout byte by byte, all else to stderr. Exit status 0
means delivered, with or without a reply, stored for an endpoint that is away, or sent where no receipt
can come; 3 means delivered, but stdout
took no reply. With --wait 0 it ends as soon as the receipt is there. Without --name every try ends with
the command, nothing waits anywhere to be sent later, and no run can be linked to another.

With --name the runs of one name are one conversation: the endpoint knows that the same one came back,
and the next whisper goes on with one cell. What is not delivered stays in an outbox, and goes on with
the next run of that name. With --wait 0 the whisper is left there at once (exit status 0, "queued").
What the endpoint said meanwhile is told at the end.

With a --ttl over 10m, a whisper that nobody takes within half a minute is left with four relays, for when
the endpoint returns. This machine works for that, seconds to a minute, and all of it takes a minute or
two, whatever --wait says. Then the command ends with "stored" and exit status 0, and nothing needs to run
here any more. The relays cannot read it. With --name a later run sees the receipt; without it nobody does.

Every user of this machine can see the command line of a program that runs, with ADDRESS and TEXT. If
there are other users, use --address-file and --file or stdin.

\b
With --json, one object, and with --name one more for each thing that the endpoint said meanwhile:
  {"status": "delivered", "why": "", "id": "…", "hops": 3, "class": "talk",
   "connect_seconds": 0.4, "round_trip_seconds": 0.1, "resumed": false,
   "copies": 0, "proof_seconds": 0.0,
   "paths": [{"hops": 3, "relays": ["…", "…", "…", "…"]}], "reply": "…"}
  {"event": "said", "in_reply_to": "id of an earlier whisper" or null, "body": "…"}
  {"event": "earlier", "id": "…", "status": "stored", "why": "", "copies": 4}
status: delivered, stored (relays keep it for the endpoint), expired, failed, queued (it waits in the
outbox), or sent (it left, no receipt came within --wait or none can come, and it may have arrived); why:
in words, if not delivered. copies: how many relays keep it, 0 to 4; proof_seconds: what this machine
worked for that. hops and the two times are null if they are not known; reply is null if none came. What
is not UTF-8 comes as reply_base64 and body_base64. An event "earlier" tells of a whisper of an earlier run
that waited when this one began.

\b
Examples:
  onionshh whisper --network net.toml shh1… "hello"
  onionshh whisper --network net.toml shh1… --hops 3 --json < letter.txt
  onionshh whisper --network net.toml shh1… --name press "are you there?"
  onionshh whisper --network net.toml shh1… --name press --ttl 3d "read this when you are back"
  onionshh whisper --network net.toml --address-file friend --file letter.txt

\b
Arguments:
  [ADDRESS]   The endpoint, shh1…, if there is no --address-file.
  [TEXT | -]  What to whisper; - or nothing: read stdin. Put -- before a text that begins with -.
"""


@click.command(help=HELP)
@click.argument("address", metavar="[ADDRESS]", required=False)
@network_option()
@click.argument("text", metavar="[TEXT | -]", required=False)
@click.option("--address-file", type=PATH, metavar="FILE", help="Take the address from it; - is stdin.")
@click.option("--file", type=PATH, metavar="FILE", help="Take the whisper from it; - is stdin.")
@class_options
@click.option(
    "--ttl",
    type=DURATION,
    metavar="TIME",
    default="10m",
    help="Until when it may be delivered: 90s, 30m, 3h, 3d; at most 7d.",
)
@click.option(
    "--wait",
    type=DURATION,
    metavar="TIME",
    default="30s",
    help="How long to try, and to wait for the reply; then it is given up. 0: until there is a receipt. What"
    " relays can keep is tried until they do.",
)
@click.option(
    "--name",
    metavar="WHO",
    shell_complete=contact_names,
    help="Go on with the conversation of this name, and keep an outbox for it: what is not delivered goes on"
    " with the next run.",
)
@click.option(
    "--no-store",
    is_flag=True,
    help="Leave nothing with relays while the endpoint is away, whatever the --ttl.",
)
@click.option(
    "--no-receipt", is_flag=True, help="Ask for no receipt. The whisper ends as sent, unless a reply comes."
)
@folder_option
@verbose_option
@bind_option
@via_option
@json_option
def whisper(
    address: str | None,
    network: Path,
    text: str | None,
    address_file: Path | None,
    file: Path | None,
    hops: int | None,
    privacy: str,
    ttl: float,
    wait: float,
    name: str | None,
    no_store: bool,
    no_receipt: bool,
    data: Path | None,
    bind: str | None,
    via: str | None,
    as_json: bool,
) -> int:
    """Whisper to an endpoint: at most 65 535 bytes, from the command line, a file or stdin."""
    check_terms(privacy, ttl, name)
    check_bind(bind)
    to, what = _whom_and_what(address, text, address_file, file)
    joined = read_network_file(network)
    check_reach(bind, joined, via)
    letter = Letter(to, _body(what), privacy, hops, ttl, name, receipt=not no_receipt, store=not no_store)
    teller = Teller(privacy, wait, as_json=as_json, named=name is not None)
    node = join(network, data_dir=data or network_folder(joined), bind=bind, via=via)
    return _run(letter, node, wait, teller)


@dataclass(frozen=True, slots=True)
class Letter:
    """What is to be sent, to whom, and on what terms."""

    address: str = field(repr=False)
    body: bytes = field(repr=False)
    privacy: str
    hops: int | None
    ttl_seconds: float
    name: str | None
    receipt: bool
    store: bool

    @property
    def usual_tries(self) -> int:
        """How many tries the proof of work takes on average that stores it. 0: it is not to be stored."""
        if not self.store or not can_be_stored(self.ttl_seconds):
            return 0
        return usual_tries(len(self.body), self.ttl_seconds)


def check_terms(privacy: str, ttl: float, name: str | None) -> None:
    """Check what was said of a whisper, or of a transfer. Usage."""
    with as_usage():
        if name is not None:
            check_name("--name", name, NAME_MOST)
        privacy_class(privacy)
        check_ttl(ttl)


def _run(letter: Letter, joining: AbstractAsyncContextManager[Node], wait: float, teller: Teller) -> int:
    status = run(lambda: deliver(letter, joining, wait, teller))
    if not teller.is_told:  # a signal, before there was anything to tell
        teller.nothing_was_sent()
    return status


async def deliver(
    letter: Letter, joining: AbstractAsyncContextManager[Node], wait: float, teller: Teller
) -> int:
    """Join, send it, and tell what became of it, and of what waited from earlier runs. Returns the exit
    status."""
    named, usual = letter.name is not None, letter.usual_tries
    async with (
        joining as node,
        node.contact(
            letter.address,
            name=letter.name,
            session=named or usual > 0,  # what is stored begins a session, so that its receipt finds back
            privacy=letter.privacy,
            hops=letter.hops,
            store=letter.store,
        ) as contact,
    ):
        earlier = contact.pending()
        receipt = contact.send(letter.body, ttl_seconds=letter.ttl_seconds, receipt=letter.receipt)
        if named and not wait:
            return teller.kept(receipt)
        if earlier:
            on = "goes on" if len(earlier) == 1 else "go on"
            teller.meanwhile(f"{counted(len(earlier), 'whisper')} of earlier runs {on} as well.")
        end = trio.current_time() + wait
        status = await see_it_through(receipt, contact, node, wait, teller, usual)
        await _until_earlier(earlier, end, away=receipt.status == "stored")
        _tell_earlier(earlier, teller)
        if named:
            await _tell_unread(contact, teller)
        return status


async def _until_earlier(earlier: list[Receipt], end: float, *, away: bool) -> None:
    """Wait until `end` for the receipts of whispers of earlier runs. If the endpoint is `away`, wait only for
    those that are being stored as well."""
    with trio.move_on_at(trio.current_time() + COPIES_SECONDS if away else end):
        for before in earlier:
            while not before.is_final if not away else is_being_stored(before):
                await before.changed()


async def _tell_unread(contact: Contact, teller: Teller) -> None:
    """What the endpoint said first, and late replies to earlier whispers."""
    with trio.move_on_after(UNREAD_SECONDS):
        async for whisper in contact:
            teller.said(whisper.in_reply_to, whisper.body)


def _tell_earlier(earlier: list[Receipt], teller: Teller) -> None:
    """What became of the whispers of earlier runs."""
    teller.waiting([before for before in earlier if not before.is_final])
    for before in earlier:
        teller.earlier(before)


def _whom_and_what(
    address: str | None, text: str | None, address_file: Path | None, file: Path | None
) -> tuple[str, bytes | Path]:
    """The address, and what to send: the typed text, or the file to read."""
    if address_file is not None:
        if text is not None:
            raise Usage("ADDRESS and --address-file exclude each other.")
        address, text = None, address  # the one argument
    if file is not None and text is not None:
        raise Usage("TEXT and --file exclude each other.")
    what = os.fsencode(text) if text not in (None, "-") else file or STDIN
    if what == STDIN == address_file:
        raise Usage("stdin cannot be both the address and the whisper; give one of them another way.")
    return whom(address, address_file, text), what


def whom(address: str | None, address_file: Path | None, other: str | None) -> str:
    """The address, typed or read from the file. `other`: the other argument, to notice when both are in the
    wrong order. Usage, BadAddress."""
    if address_file is not None:
        if address is not None:
            raise Usage("ADDRESS and --address-file exclude each other.")
        address = read_source(address_file, ADDRESS_FILE_MOST, "address").decode(errors="replace")
    if address is None:
        raise Usage("Whom is it for? Give ADDRESS, or a file with it as --address-file.")
    if address_file is None:
        given = one_line(address)
        _check_address(address, given if len(given) <= SHOWN_MOST else f"{given[:SHOWN_MOST]}…", other)
    else:  # this may be the wrong file, even one with keys: its content is not shown
        _check_address(address, f"What {'stdin' if address_file == STDIN else address_file} holds", other)
    return address


def _check_address(address: str, given: str, other: str | None) -> None:
    """Check an address. BadAddress shows what was `given`; Usage says that the other argument is one."""
    try:
        decode_address_untrusted(address)
    except BadAddress as error:
        try:
            decode_address_untrusted(other or "")
        except BadAddress:
            raise BadAddress(f"{given or 'An empty text'} is not an onionshh address. {error}") from error
        raise Usage(f"The address comes first; {given} is not an address.") from error


def _body(what: bytes | Path) -> bytes:
    """What to send, read from a file or stdin if it was not typed. TooLarge for more than a whisper holds."""
    if isinstance(what, Path):
        body = read_source(what, WHISPER_MAX + 1, "whisper")
        if len(body) > WHISPER_MAX:
            where = "what comes on stdin" if what == STDIN else str(what)
            raise TooLarge(f"A whisper holds at most {WHISPER_MAX} bytes; {where} is more.")
        return body
    check_body(what)
    return what
