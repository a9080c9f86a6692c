"""A source and a journalist who know only an address, and are never there at the same time.

    python tests/examples/confirmations.py journalist              # prints an address; Ctrl-C ends it
    python tests/examples/confirmations.py source shh1… "the invoice is of May"
    python tests/examples/confirmations.py source shh1… "there is more" --last
    python tests/examples/confirmations.py source shh1…            # later: what the journalist answered

Each claim of the source waits at relays until the journalist runs the program, and so does the answer. The
journalist keeps what was checked in a file, `--checked FILE`: {"the invoice is of May": "true"}. With the
answer to the last claim the two go on elsewhere: a uri, a key that nobody else has, and until when.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass, field
from pathlib import Path

import trio

import onionshh

THREE_DAYS = 3 * 86_400.0
ELSEWHERE = "https://drop.example/"


@dataclass(frozen=True)
class HandOver:
    """Where the two go on. The key is the same at both ends and was never sent."""

    uri: str
    key: bytes = field(repr=False)
    until: int


async def claim(contact: onionshh.Contact, text: str, *, last: bool = False) -> onionshh.Receipt:
    """The source says something, and may go as soon as this returns."""
    body = json.dumps({"claim": text, "last": last}).encode()
    return await contact.send(body, ttl_seconds=THREE_DAYS).stored()


async def confirm(endpoint: onionshh.Endpoint, checked: dict[str, str], seconds: float) -> list[HandOver]:
    """The journalist reads what waits for so many seconds, and answers each claim from what was checked."""
    found = []
    with trio.move_on_after(seconds):
        async for whisper in endpoint:
            try:
                said = json.loads(whisper.body)
                text, last = str(said["claim"]), bool(said["last"])
            except (ValueError, KeyError, TypeError, RecursionError):  # anyone may whisper to an address
                await whisper.done()
                continue
            answer: dict[str, object] = {"answer": checked.get(text, "not known")}
            if last:
                uri, until = f"{ELSEWHERE}{whisper.id}", int(time.time()) + 86_400
                answer |= {"uri": uri, "until": until}
                found.append(HandOver(uri, whisper.derive_key("drop"), until))
            await whisper.reply(json.dumps(answer).encode())
    return found


def handed_over(receipt: onionshh.Receipt, answer: dict[str, object]) -> HandOver | None:
    """What the journalist's answer to the last claim leads to, at the source."""
    if "uri" not in answer:
        return None
    return HandOver(str(answer["uri"]), receipt.derive_key("drop"), int(str(answer["until"])))


def plain(text: object) -> str:
    """What the other one wrote, without what would move the cursor or forge a line."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in str(text))


async def at_the_desk(checked: dict[str, str]) -> None:
    """The journalist's side, until Ctrl-C."""
    async with onionshh.join(data_dir="desk") as node, node.host("desk/identity") as endpoint:
        print(endpoint.address, flush=True)
        await endpoint.reachable()
        await confirm(endpoint, checked, float("inf"))


async def at_the_source(address: str, text: str | None, *, last: bool) -> None:
    """The source's side: say something, or see what was answered."""
    async with (
        onionshh.join(data_dir="source") as node,
        node.contact(address, name="desk") as contact,
    ):
        waiting = contact.pending()
        if text is not None:
            receipt = await claim(contact, text, last=last)
            print("left at", receipt.copies[0], "relays")
            return
        for receipt in waiting:
            reply = await receipt.reply()
            if reply is None:
                print(f"no answer ({receipt.status})")
                continue
            answer = json.loads(reply)
            print(plain(answer["answer"]))
            found = handed_over(receipt, answer)
            if found is not None:
                print("go on at", plain(found.uri), "with a key that only you two have, until", found.until)


async def main() -> None:
    parser = argparse.ArgumentParser(description="A source and a journalist.")
    sides = parser.add_subparsers(dest="side", required=True)
    sides.add_parser("journalist").add_argument("--checked", type=Path, metavar="FILE")
    source = sides.add_parser("source")
    source.add_argument("address")
    source.add_argument("claim", nargs="?")
    source.add_argument("--last", action="store_true")
    asked = parser.parse_args()
    if asked.side == "journalist":
        await at_the_desk(json.loads(asked.checked.read_text()) if asked.checked else {})
    else:
        await at_the_source(asked.address, asked.claim, last=asked.last)


if __name__ == "__main__":
    try:
        trio.run(main)
    except* KeyboardInterrupt:
        pass
