"""`onionshh meet`: a conversation of two who share a secret."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
import trio

from onionshh.cli.answers import parse_body
from onionshh.cli.ending import ended_by, run, when_ended
from onionshh.cli.failures import FAILED, Usage
from onionshh.cli.folders import network_folder
from onionshh.cli.lines import LINE_BYTES, LineReader, Output, as_json, as_text
from onionshh.cli.options import (
    DURATION,
    PATH,
    bind_option,
    check_bind,
    check_reach,
    folder_option,
    json_option,
    network_option,
    via_option,
)
from onionshh.cli.sources import STDIN, read_secret
from onionshh.cli.talk import counted, encoded, note, stamped
from onionshh.cli.text import one_line, printable
from onionshh.cli.topics import check_board_name
from onionshh.cli.verbose import verbose_option
from onionshh.cli.whisper import check_terms
from onionshh.client.meeting.meeting import Meeting
from onionshh.client.node import Node, join
from onionshh.client.receipt import Receipt
from onionshh.errors import Error
from onionshh.net.network_file import read_network_file

SAID_EVERY_SECONDS = 5.0

HELP = """Talk with whoever has the same secret: neither needs an address.

Neither learns where the other is, and no endpoint is published anywhere.

SECRETFILE holds 32 random bytes, or 64 hex digits, that two people share:
  (umask 077; head -c 32 /dev/urandom > secret)
If other users of this machine could read it, the command says so and closes it to them.

Each line on stdin is a whisper to the other one. What the other one says is shown. Once stdin has ended, the
command waits until each whisper is delivered, or stored at relays for later if --ttl is over 10m, and ends
with exit status 0; with --stay it goes on until it is ended. The first time, both must be there within the
same hour. With --name the conversation goes on with the next run of that name, whenever that is. Ctrl-C ends
it, with exit status 0 if all was delivered or stored, else 1; it says how many whispers were not.

It is for two. Whoever else has the file can come, too, and the command says so. Each line then goes to one of
them alone: the one who showed himself last.

\b
With --json, one object per line:
  {"event": "met", "others": 1}
  {"event": "whisper", "id": "…", "received_at": Unix seconds, "waited": false, "body": "…"}
  {"event": "receipt", "id": "…", "status": "delivered", "why": "", "copies": 0}
  {"event": "problem", "why": "…"}
and lines on stdin are {"body": "…"} or {"body_base64": "…"}. A line that is not is answered by
{"error": "…"}.

\b
Examples:
  onionshh meet secret --name anna
  echo "I am here" | onionshh meet secret --name anna --ttl 3d

\b
Arguments:
  SECRETFILE  The file of the secret.
"""


@click.command(help=HELP)
@click.argument("secretfile", type=PATH)
@network_option()
@click.option(
    "--ttl",
    type=DURATION,
    metavar="TIME",
    default="10m",
    help="Until when each whisper may be delivered: 90s, 30m, 3h, 3d; at most 7d.",
)
@click.option("--name", metavar="WHO", help="Keep the conversation under this name, and go on with it.")
@click.option("--stay", is_flag=True, help="Go on when stdin has ended, until ended.")
@folder_option
@verbose_option
@bind_option
@via_option
@json_option
def meet(
    secretfile: Path,
    network: Path,
    ttl: float,
    name: str | None,
    stay: bool,
    data: Path | None,
    bind: str | None,
    via: str | None,
    as_json: bool,
) -> int:
    """Talk with whoever has the same secret: neither needs an address."""
    check_terms("talk", ttl, None)
    check_board_name(name)
    check_bind(bind)
    if secretfile == STDIN:
        raise Usage("The secret cannot come on stdin: that is for what you say.")
    secret = read_secret(secretfile, "secret")
    joined = read_network_file(network)
    check_reach(bind, joined, via)
    node = join(network, data_dir=data or network_folder(joined), bind=bind, via=via)
    if stay:
        when_ended(0)
    talk = _Talk(secret, name, ttl, stay=stay, as_json=as_json)
    return run(lambda: talk.run(node))


@dataclass(slots=True)
class _Talk:
    """One run of the command."""

    secret: bytes = field(repr=False)
    name: str | None
    ttl_seconds: float
    stay: bool
    as_json: bool
    output: Output = field(default_factory=Output)
    said: list[Receipt] = field(default_factory=list)
    """What was said in this run and is not known to be settled."""
    status: int = 0

    async def run(self, joining: AbstractAsyncContextManager[Node]) -> int:
        """Meet and talk. Returns the exit status."""
        async with (
            joining as node,
            node.meet(self.secret, name=self.name) as meeting,
            trio.open_nursery() as nursery,
        ):
            ended_by(lambda: self._ended(nursery.cancel_scope.cancel))
            nursery.start_soon(self.output.run)
            nursery.start_soon(self._tell_met, meeting)
            nursery.start_soon(self._tell_problems, meeting)
            nursery.start_soon(self._show, meeting)
            for receipt in meeting.pending():  # those of earlier runs go on
                nursery.start_soon(self._follow, receipt)
            await self._say(meeting, nursery)
            if self.stay:
                await trio.sleep_forever()
            if any(not receipt.is_final and receipt.status != "stored" for receipt in self.said):
                self._waits()
            for receipt in self.said:
                await _until_safe(receipt)
            self._settle()
            await self.output.show(b"")  # what was said before is written
            nursery.cancel_scope.cancel()
        return self.status

    def _ended(self, cancel: Callable[[], None]) -> None:
        """A signal. The node still takes back what shows that we are here."""
        left = sum(receipt.status not in ("delivered", "stored") for receipt in self.said)
        if not left and not self.status:
            when_ended(0)
        elif left:
            fate = "when it runs again with this --name before their --ttl ends" if self.name else "no more"
            self._problem(f"{counted(left, 'whisper')} not delivered so far, to be sent {fate}")
        cancel()

    def _settle(self) -> None:
        """Forget the receipts that are final, but for what they mean for the exit status."""
        if any(receipt.status in ("expired", "failed") for receipt in self.said):
            self.status = FAILED
        self.said = [receipt for receipt in self.said if not receipt.is_final]

    async def _say(self, meeting: Meeting, nursery: trio.Nursery) -> None:
        """Send each line of stdin."""
        reader = LineReader()
        while (line := await reader.next()) is not None:
            try:
                if not isinstance(line, bytes):
                    raise Usage(f"A line is at most {LINE_BYTES} bytes.")
                if self.as_json and not line.strip():
                    continue
                body = parse_body(line) if self.as_json else line
                receipt = await meeting.put(body, ttl_seconds=self.ttl_seconds)
            except Error as error:
                self._wrong(str(error))
            else:
                self._settle()
                self.said.append(receipt)
                nursery.start_soon(self._follow, receipt)

    async def _show(self, meeting: Meeting) -> None:
        async for whisper in meeting:
            event: dict[str, Any] = {
                "event": "whisper",
                "id": whisper.id,
                "received_at": round(whisper.received_at, 3),
                "waited": whisper.waited,
            }
            # Each line of the body begins with a mark, so that none can pass for a line of ours.
            lines = "".join(f"  | {line}\n" for line in printable(whisper.body).split("\n"))
            await self.output.show(
                as_json(event | as_text("body", whisper.body)) if self.as_json else encoded(lines)
            )

    async def _follow(self, receipt: Receipt) -> None:
        """Say what becomes of a whisper: that it is stored, and how it ends."""
        await _until_safe(receipt)
        self._receipt(receipt)
        if not receipt.is_final:
            await receipt.final()
            self._receipt(receipt)

    def _receipt(self, receipt: Receipt) -> None:
        if self.as_json:
            self._event(
                event="receipt",
                id=receipt.id,
                status=receipt.status,
                why=one_line(receipt.why),
                copies=receipt.copies[0],
            )
        elif receipt.status == "stored":
            note(f"stored for the other one, {receipt.copies[0]} of {receipt.copies[1]} copies.")
        elif receipt.status != "delivered":
            note(f"not delivered ({receipt.status}): {one_line(receipt.why)}.")

    async def _tell_met(self, meeting: Meeting) -> None:
        await meeting.met()
        if self.as_json:
            self._event(event="met", others=meeting.others)
        else:
            self.output.say(encoded(f"{stamped('met')}\n"))

    async def _tell_problems(self, meeting: Meeting) -> None:
        said = ""
        while True:
            await trio.sleep(SAID_EVERY_SECONDS)
            if meeting.problem != said:
                said = meeting.problem
                if said:
                    self._problem(said)

    def _waits(self) -> None:
        """stdin has ended, and something is not delivered."""
        if not self.as_json:
            note("waiting until what was said is delivered, or its --ttl is over; Ctrl-C ends it.")

    def _wrong(self, why: str) -> None:
        if self.as_json:
            self._event(error=why)
        else:
            note(why)

    def _problem(self, why: str) -> None:
        if self.as_json:
            self._event(event="problem", why=one_line(why))
        else:
            note(f"{why}.")

    def _event(self, **event: object) -> None:
        self.output.say(json.dumps(event).encode() + b"\n")


async def _until_safe(receipt: Receipt) -> None:
    """Wait until it is stored, or final."""
    while not receipt.is_final and receipt.status != "stored":
        await receipt.changed()
