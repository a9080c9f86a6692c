"""A source and a journalist who know only an address, and are never there at the same time.

    python tests/examples/confirmations.py journalist              # prints an address; end it, start it again
    python tests/examples/confirmations.py source shh1… "the invoice is of May"
    python tests/examples/confirmations.py source shh1…            # later: what the journalist answered

Each claim of the source waits at relays until the journalist runs the program, and so does the answer. With
the answer to the last claim the two go on elsewhere: a uri, a key that nobody else has, and until when.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import dataclass, field

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
            said = json.loads(whisper.body)
            answer: dict[str, object] = {"answer": checked.get(said["claim"], "not known")}
            if said["last"]:
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


async def main() -> None:
    if sys.argv[1] == "journalist":
        async with onionshh.join(data_dir="desk") as node, node.host("desk/identity") as endpoint:
            print(endpoint.address, flush=True)
            await endpoint.reachable()
            await confirm(endpoint, {}, float("inf"))
        return
    async with (
        onionshh.join(data_dir="source") as node,
        node.contact(sys.argv[2], name="desk") as contact,
    ):
        waiting = contact.pending()
        if len(sys.argv) > 3:
            receipt = await claim(contact, sys.argv[3])
            print("left at", receipt.copies[0], "relays")
            return
        for receipt in waiting:
            answer = await receipt.reply()
            print(json.loads(answer)["answer"] if answer else f"no answer ({receipt.status})")


if __name__ == "__main__":
    trio.run(main)
