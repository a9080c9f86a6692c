"""`onionshh whisper`: one whisper to an endpoint, its receipt and the reply."""

from __future__ import annotations

import math
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from onionshh.cli.failures import FAILED, Usage, one_line
from onionshh.cli.options import PATH, as_usage, bind_option, check_bind, json_option, network_option
from onionshh.cli.talk import note, printable
from onionshh.errors import BadAddress, TooLarge

if TYPE_CHECKING:
    from onionshh.client.receipt import Receipt

OFFLINE = "no guard answers: this machine's network is down, or the network's relays are"
INTERRUPTED = "interrupted before a receipt came"
REPLY_SOON_SECONDS = 1.0


@click.command()
@click.argument("address", metavar="ADDRESS")
@network_option()
@click.argument("text", metavar="[TEXT | -]", default="-")
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
    help="How long to wait for receipt and reply; 0: for the receipt alone.",
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
    address: str,
    network: Path,
    text: str,
    hops: int | None,
    privacy: str,
    ttl: float,
    wait: float,
    data: Path | None,
    bind: str | None,
    as_json: bool,
) -> int:
    """Whisper to an endpoint: at most 65 535 bytes, from the command line or stdin.

    The reply, if one comes within --wait, goes to stdout byte by byte, all else to stderr. Exit status 0
    means delivered, with or without a reply. With --wait 0 it ends as soon as the receipt is there.

    \b
    With --json, one object:
      {"status": "delivered", "why": "", "id": "…", "hops": 3, "class": "talk",
       "connect_seconds": 0.4, "round_trip_seconds": 0.1, "reply": "…"}
    status: delivered, expired, failed, or queued or sent when the wait ended first; why: in words, if
    not delivered; hops and the two times are null if there was no circuit, reply if none came; a
    reply that is not UTF-8 comes as reply_base64.

    \b
    Examples:
      onionshh whisper --network net.toml shh1… "hello"
      onionshh whisper --network net.toml shh1… --hops 3 --json < letter.txt

    \b
    Arguments:
      ADDRESS     The endpoint, shh1…  [required]
      [TEXT | -]  What to whisper; - or nothing: read stdin.
    """
    from onionshh.cli.ending import run, when_ended
    from onionshh.cli.folders import network_folder
    from onionshh.core.classes import privacy_class
    from onionshh.core.whisper import check_body, check_ttl
    from onionshh.crypto.identity import decode_address_untrusted
    from onionshh.net.directory import read_network_file

    with as_usage():
        privacy_class(privacy)
        check_ttl(ttl)
    if not math.isfinite(wait):
        raise Usage("--wait needs a number of seconds.")
    check_bind(bind)
    try:
        decode_address_untrusted(address)
    except BadAddress as error:
        given = one_line(address)[:80] or "An empty text"
        raise BadAddress(f"{given} is no onionshh address. {error}") from error
    file = read_network_file(network)
    folder = data if data is not None else network_folder(file)
    body = _body(text)
    check_body(body)

    told = False

    async def send() -> int:
        nonlocal told
        import trio

        from onionshh.client.node import join

        async with (
            join(network, data_dir=folder, bind=bind) as node,
            node.contact(address, privacy=privacy, hops=hops) as contact,
        ):
            receipt = contact.send(body, ttl_seconds=ttl)
            waited = False
            try:
                with trio.move_on_after(wait or float("inf")):
                    await receipt.final()
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


def _body(text: str) -> bytes:
    """What to send: the argument as it was typed, or stdin, one byte more than a whisper can hold."""
    from onionshh.geometry import WHISPER_MAX

    if text != "-":
        return os.fsencode(text)
    if sys.stdin is None:
        raise Usage("There is nothing to read on stdin; give the whisper as TEXT.")
    if sys.stdin.isatty():
        note("type the whisper, then Ctrl-D.")
    body = sys.stdin.buffer.read(WHISPER_MAX + 1)
    if len(body) > WHISPER_MAX:
        raise TooLarge(f"A whisper holds at most {WHISPER_MAX} bytes; what comes on stdin is more.")
    return body


def _report(receipt: Receipt, why: str, privacy: str, wait: float, as_json: bool) -> int:
    """Say what became of it. Returns the exit status."""
    delivered = receipt.status == "delivered"
    why = "" if delivered else one_line(why)
    if as_json:
        import json

        print(json.dumps(outcome(receipt, why, privacy)), flush=True)
    elif delivered:
        missing = "; no reply came" if wait and receipt.reply_body is None else ""
        note(f"delivered over {receipt.hops} hops{_timing(receipt)}{missing}.")
        if receipt.reply_body is not None:
            _print_reply(receipt.reply_body)
    else:
        note(f"not delivered ({receipt.status}): {why}.")
    return 0 if delivered else FAILED


def outcome(receipt: Receipt, why: str, privacy: str) -> dict[str, object]:
    """The object that --json prints."""
    from onionshh.cli.lines import as_text

    found: dict[str, object] = {
        "status": receipt.status,
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
