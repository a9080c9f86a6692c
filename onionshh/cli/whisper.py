"""`onionshh whisper`: one whisper to an endpoint, its receipt and the reply."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onionshh.advice import advice
from onionshh.cli.failures import FAILED, Usage
from onionshh.cli.options import (
    PATH,
    as_usage,
    bind_option,
    check_bind,
    check_reach,
    json_option,
    network_option,
)
from onionshh.cli.talk import note, nothing_more_to_stdout
from onionshh.cli.text import one_line, printable
from onionshh.errors import BadAddress, TooLarge

if TYPE_CHECKING:
    from onionshh.client.contact import Contact
    from onionshh.client.receipt import Receipt

OFFLINE = "no guard answers: this machine's network is down, or the network's relays are"
UNWRITTEN = 3
"""Exit status: delivered, and the reply could not be written."""
INTERRUPTED = "interrupted before a receipt came"
GIVEN_UP = "given up, nothing more is sent"
MAYBE = "it may have arrived, nothing more is sent"
REPLY_SOON_SECONDS = 1.0
IN_THE_WAY_SECONDS = 5.0
STDIN = Path("-")
ADDRESS_FILE_MOST = 4096
SHOWN_MOST = 80


@click.command()
@click.argument("address", metavar="[ADDRESS]", required=False)
@network_option()
@click.argument("text", metavar="[TEXT | -]", required=False)
@click.option("--address-file", type=PATH, metavar="FILE", help="Take the address from it; - is stdin.")
@click.option("--file", type=PATH, metavar="FILE", help="Take the whisper from it; - is stdin.")
@click.option(
    "--hops",
    type=click.IntRange(0, 3),
    metavar="0..3",
    help="Relays between us and the meeting relay. With 0 that relay sees our address."
    "  [default: drawn from the class]",
)
@click.option("--class", "privacy", metavar="CLASS", default="talk", help="Privacy class: talk or flash.")
@click.option(
    "--ttl",
    type=float,
    metavar="SECONDS",
    default=600.0,
    help="Until when it may be delivered; at most 7 days.",
)
@click.option(
    "--wait",
    type=click.FloatRange(min=0),
    metavar="SECONDS",
    default=30.0,
    help="How long to try, and to wait for the reply; then it is given up. 0: until there is a receipt.",
)
@click.option(
    "--data",
    type=PATH,
    metavar="DIR",
    help="Folder of guards and the last consensus, shared by any number of processes."
    "  [default: one a network, in $XDG_STATE_HOME/onionshh]",
)
@bind_option
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
    data: Path | None,
    bind: str | None,
    as_json: bool,
) -> int:
    """Whisper to an endpoint: at most 65 535 bytes, from the command line, a file or stdin.

    The reply, if one comes within --wait, goes to stdout byte by byte, all else to stderr. Exit status 0
    means delivered, with or without a reply; 3 means delivered, but stdout took no reply. With --wait 0 it
    ends as soon as the receipt is there. When it ends, so does every try: nothing waits anywhere to be sent
    later.

    Every user of this machine can see the command line of a program that runs, with ADDRESS and TEXT: where
    there are others, use --address-file and --file or stdin.

    \b
    With --json, one object:
      {"status": "delivered", "why": "", "id": "…", "hops": 3, "class": "talk",
       "connect_seconds": 0.4, "round_trip_seconds": 0.1, "reply": "…"}
    status: delivered, expired, failed, or sent: it left, no receipt came within --wait, and it may have
    arrived; why: in words, if not delivered; hops and the two times are null if there was no circuit,
    reply if none came; a reply that is not UTF-8 comes as reply_base64.

    \b
    Examples:
      onionshh whisper --network net.toml shh1… "hello"
      onionshh whisper --network net.toml shh1… --hops 3 --json < letter.txt
      onionshh whisper --network net.toml --address-file friend --file letter.txt

    \b
    Arguments:
      [ADDRESS]   The endpoint, shh1…, if there is no --address-file.
      [TEXT | -]  What to whisper; - or nothing: read stdin. Before one that begins with -, put --.
    """
    from onionshh.cli.ending import run, when_ended
    from onionshh.cli.folders import network_folder
    from onionshh.core.base.classes import privacy_class
    from onionshh.core.delivery.record import check_body, check_ttl
    from onionshh.net.network_file import read_network_file

    with as_usage():
        privacy_class(privacy)
        check_ttl(ttl)
    if not math.isfinite(wait):
        raise Usage("--wait needs a number of seconds.")
    check_bind(bind)
    to, what = _whom_and_what(address, text, address_file, file)
    joined = read_network_file(network)
    check_reach(bind, joined)
    folder = data if data is not None else network_folder(joined)
    body = _body(what) if isinstance(what, Path) else what
    check_body(body)

    told = False

    async def send() -> int:
        nonlocal told
        import trio

        from onionshh.client.node import join

        async with (
            join(network, data_dir=folder, bind=bind) as node,
            node.contact(to, privacy=privacy, hops=hops) as contact,
        ):
            receipt = contact.send(body, ttl_seconds=ttl)
            waited = False
            try:
                with trio.move_on_after(wait or float("inf")):
                    await _final(receipt, contact, as_json)
                    if receipt.status == "delivered":
                        when_ended(0)
                        if wait:
                            await _reply(receipt, wait, as_json)
                waited = True
            finally:
                if not waited:  # a signal
                    told = True
                    _report(receipt, receipt.why or INTERRUPTED, privacy, 0.0, as_json)
            why = receipt.why or contact.problem
            if not node.online:
                why = OFFLINE
            why = why or f"no receipt came within {wait:g} s"
            told = True
            return _report(receipt, why, privacy, wait, as_json)

    status = run(send)
    if not told:  # a signal, before there was anything to tell
        _say_nothing_was_sent(as_json)
    return status


async def _final(receipt: Receipt, contact: Contact, as_json: bool) -> None:
    """Wait for it, and say meanwhile what is in the way."""
    import trio

    said = ""
    while True:
        with trio.move_on_after(IN_THE_WAY_SECONDS):
            await receipt.final()
            return
        if contact.problem != said and not as_json:
            said = contact.problem
            if said:
                note(f"{said}; trying on.")


async def _reply(receipt: Receipt, wait: float, as_json: bool) -> None:
    """Wait for it, and say so when it does not come at once: nobody shall think that nothing happens."""
    import trio

    with trio.move_on_after(REPLY_SOON_SECONDS):
        await receipt.reply()
        return
    if not as_json:
        note(f"delivered; waiting for a reply, {wait:g} s in all.")
    await receipt.reply()


def _say_nothing_was_sent(as_json: bool) -> None:
    sentence = "interrupted before the whisper was sent."
    note(sentence)
    if as_json:
        import json

        print(json.dumps({"error": sentence}), flush=True)


def _whom_and_what(
    address: str | None, text: str | None, address_file: Path | None, file: Path | None
) -> tuple[str, bytes | Path]:
    """The address, and what to send as it was typed, or where it is to be read."""
    if address_file is not None:
        if text is not None:
            raise Usage("ADDRESS and --address-file exclude each other.")
        address, text = None, address  # the one argument
    if file is not None and text is not None:
        raise Usage("TEXT and --file exclude each other.")
    what = os.fsencode(text) if text not in (None, "-") else file or STDIN
    if what == STDIN == address_file:
        raise Usage("stdin cannot be both the address and the whisper; give one of them another way.")
    if address_file is not None:
        address = _read(address_file, ADDRESS_FILE_MOST, "address").decode(errors="replace")
    if address is None:
        raise Usage("Whom is it for? Give ADDRESS, or a file with it as --address-file.")
    if address_file is None:
        given = one_line(address)
        _check_address(address, given if len(given) <= SHOWN_MOST else f"{given[:SHOWN_MOST]}…", text)
    else:  # which may be the wrong file, one of keys even: it is not shown
        _check_address(address, f"What {'stdin' if address_file == STDIN else address_file} holds", text)
    return address, what


def _check_address(address: str, given: str, text: str | None) -> None:
    """BadAddress that shows what was `given` as one, or that it is the other argument."""
    from onionshh.crypto.identity import decode_address_untrusted

    try:
        decode_address_untrusted(address)
    except BadAddress as error:
        try:
            decode_address_untrusted(text or "")
        except BadAddress:
            raise BadAddress(f"{given or 'An empty text'} is no onionshh address. {error}") from error
        raise Usage(f"The address comes first and then the text; {given} is no address.") from error


def _body(source: Path) -> bytes:
    """What to send, from a file or stdin, unless it is more than a whisper can hold."""
    from onionshh.geometry import WHISPER_MAX

    body = _read(source, WHISPER_MAX + 1, "whisper")
    if len(body) > WHISPER_MAX:
        where = "what comes on stdin" if source == STDIN else str(source)
        raise TooLarge(f"A whisper holds at most {WHISPER_MAX} bytes; {where} is more.")
    return body


def _read(source: Path, most: int, what: str) -> bytes:
    """At most so many bytes of a file or of stdin."""
    if source != STDIN:
        try:
            with source.open("rb") as file:
                return file.read(most)
        except OSError as error:
            raise Usage(f"Cannot read the {what} from {source}: {error.strerror}{advice(error)}.") from error
    if sys.stdin is None:
        raise Usage(f"There is nothing to read on stdin; give the {what} as an argument or a file.")
    if sys.stdin.isatty():
        note(f"type the {what}, then Ctrl-D.")
    return sys.stdin.buffer.read(most)


def _report(receipt: Receipt, why: str, privacy: str, wait: float, as_json: bool) -> int:
    """Say what became of it. Returns the exit status."""
    status, why = _at_the_end(receipt, why)
    exit_status = 0 if status == "delivered" else FAILED
    if not as_json:
        if status == "delivered":
            missing = "; no reply came" if wait and receipt.reply_body is None else ""
            note(f"delivered over {receipt.hops} hops{_timing(receipt)}{missing}.")
        else:
            note(f"{'sent without a receipt' if status == 'sent' else f'not delivered ({status})'}: {why}.")
    try:
        if as_json:
            import json

            print(json.dumps(outcome(receipt, status, why, privacy)), flush=True)
        elif receipt.reply_body is not None:
            _print_reply(receipt.reply_body)
    except OSError as error:
        if status != "delivered":
            raise
        nothing_more_to_stdout()
        note(
            f"stdout cannot be written: {error.strerror}. The whisper was delivered; its reply, if one came,"
            " is lost. Do not send it again for that."
        )
        exit_status = UNWRITTEN
    return exit_status


def _at_the_end(receipt: Receipt, why: str) -> tuple[str, str]:
    """The status, and why: with this command every try ends, so nothing stays queued."""
    if receipt.status == "delivered":
        return receipt.status, ""
    if receipt.is_final:
        return receipt.status, one_line(why)
    status, then = ("sent", MAYBE) if receipt.status == "sent" else ("failed", GIVEN_UP)
    return status, f"{one_line(why)}; {then}"


def outcome(receipt: Receipt, status: str, why: str, privacy: str) -> dict[str, object]:
    """The object that --json prints."""
    from onionshh.cli.lines import as_text

    found: dict[str, object] = {
        "status": status,
        "why": why,
        "id": receipt.id,
        "hops": receipt.hops,
        "class": privacy,
        "connect_seconds": _rounded(receipt.connect_seconds),
        "round_trip_seconds": _rounded(receipt.round_trip_seconds),
    }
    reply = receipt.reply_body
    return found | ({"reply": None} if reply is None else as_text("reply", reply))


def _print_reply(reply: bytes) -> None:
    if sys.stdout is None:  # closed by whoever started us
        return
    if sys.stdout.isatty():
        print(printable(reply), flush=True)
    else:
        sys.stdout.buffer.write(reply)
        sys.stdout.buffer.flush()


def _timing(receipt: Receipt) -> str:
    if receipt.connect_seconds is None or receipt.round_trip_seconds is None:
        return ""
    return f", connected in {receipt.connect_seconds:.2f} s, receipt after {receipt.round_trip_seconds:.2f} s"


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 6)
