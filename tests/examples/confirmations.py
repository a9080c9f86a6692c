"""A source and a journalist who know only an address, and are never there at the same time.

    python tests/examples/confirmations.py journalist              # prints an address; Ctrl-C ends it
    python tests/examples/confirmations.py source shh1… "the invoice is of May"
    python tests/examples/confirmations.py source shh1… "there is more" --last
    python tests/examples/confirmations.py source shh1…            # later: what the journalist answered

Each claim of the source waits at relays until the journalist runs the program, and so does the answer. The
journalist keeps what was checked in a file, `--checked FILE`: {"the invoice is of May": "true"}; other claims
are answered with "not known". With the answer to the last claim the two go on elsewhere: a uri, a key that
nobody else has, and until when. Both sides print that. The key is in a file of theirs, which others cannot
read.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import trio

import onionshh

THREE_DAYS = 3 * 86_400.0
COPIES_SECONDS = 60.0
ELSEWHERE = "https://drop.example/"


@dataclass(frozen=True)
class HandOver:
    """Where the two go on, and until when (Unix seconds). The key is the same at both ends and was never
    sent."""

    uri: str
    until: int

    def in_words(self, key_file: Path) -> str:
        until = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(self.until))
        return f"go on at {plain(self.uri)} until {until}; the key is in {key_file}"


@dataclass(frozen=True)
class Answered:
    """What the journalist was told and said. The last claim has a `found`, with the file of the key."""

    claim: str
    answer: str
    found: tuple[HandOver, Path] | None


def write_secret(path: Path, data: bytes) -> Path:
    """A file that its owner alone can read. Writing the same again does no harm."""
    with open(path, "wb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(data)
    return path


async def claim(
    contact: onionshh.Contact, folder: Path, text: str, *, last: bool = False
) -> onionshh.Receipt:
    """The source says something, and may go as soon as this returns. What was said and the key lie in
    `folder` then: the answer may come in another run, which does not know them."""
    receipt = contact.send(json.dumps({"claim": text, "last": last}).encode(), ttl_seconds=THREE_DAYS)
    write_secret(folder / f"{receipt.id}.claim", text.encode())
    if last:
        write_secret(folder / f"{receipt.id}.key", receipt.derive_key("drop"))
    return await receipt.stored()


async def confirm(
    endpoint: onionshh.Endpoint, checked: dict[str, str], folder: Path
) -> AsyncIterator[Answered]:
    """The journalist answers each claim from what was checked. A key is on disk before the source hears of
    it."""
    async for whisper in endpoint:
        try:
            said = json.loads(whisper.body)
            text, last = str(said["claim"]), bool(said["last"])
        except (ValueError, KeyError, TypeError, RecursionError):  # anyone may whisper to an address
            await whisper.done()
            continue
        answer: dict[str, object] = {"answer": checked.get(text, "not known")}
        found = None
        if last:
            uri, until = f"{ELSEWHERE}{whisper.id}", int(time.time()) + 86_400
            answer |= {"uri": uri, "until": until}
            key_file = write_secret(folder / f"{whisper.id}.key", whisper.derive_key("drop"))
            found = HandOver(uri, until), key_file
        await whisper.reply(json.dumps(answer).encode())
        yield Answered(text, str(answer["answer"]), found)


def read_answer(reply: bytes) -> tuple[str, HandOver | None]:
    """What the journalist said, at the source, and where it leads if that was the last claim. ValueError."""
    try:
        said = json.loads(reply)
        answer = str(said["answer"])
        if "uri" not in said:
            return answer, None
        uri, until = str(said["uri"]), int(said["until"])
        time.gmtime(until)
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError, OSError):
        raise ValueError("an answer that this program does not understand") from None
    return answer, HandOver(uri, until)


def plain(text: str) -> str:
    """What the other one wrote, without what would move the cursor or forge a line."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


async def at_the_desk(node: onionshh.Node, folder: Path, checked: dict[str, str]) -> None:
    """The journalist's side, until it is cancelled."""
    async with node.host(folder / "identity") as endpoint:
        print(endpoint.address, flush=True)
        await endpoint.reachable()
        async for one in confirm(endpoint, checked, folder):
            print(f"{plain(one.claim)}: {one.answer}", flush=True)
            if one.found is not None:
                found, key_file = one.found
                print(found.in_words(key_file), flush=True)


async def say(contact: onionshh.Contact, folder: Path, text: str, *, last: bool) -> None:
    """The source says something, and waits a while for the relays beyond those that are needed."""
    receipt = await claim(contact, folder, text, last=last)
    with trio.move_on_after(COPIES_SECONDS):
        while not receipt.is_final and receipt.copies[0] < receipt.copies[1]:
            await receipt.changed()
    copies = f", at {receipt.copies[0]} relays" if receipt.status == "stored" else ""
    print(f"{receipt.status}{copies}", flush=True)


async def hear(contact: onionshh.Contact, folder: Path) -> None:
    """The source sees what was answered to all that it ever said. One claim without an answer holds up no
    other."""

    async def follow(receipt: onionshh.Receipt, text: str) -> None:
        reply = await receipt.reply()
        if reply is None:
            print(f"{text}: no answer ({receipt.status})", flush=True)
            return
        try:
            answer, found = read_answer(reply)
        except ValueError as error:
            print(f"{text}: {error}", flush=True)
            return
        print(f"{text}: {plain(answer)}", flush=True)
        key_file = folder / f"{receipt.id}.key"
        if found is not None and key_file.exists():
            print(found.in_words(key_file), flush=True)

    print("waiting for answers; Ctrl-C ends this", file=sys.stderr)
    async with trio.open_nursery() as nursery:
        for said in sorted(folder.glob("*.claim")):
            receipt = contact.receipt(said.stem)
            if receipt is not None:  # else it is over
                nursery.start_soon(follow, receipt, plain(said.read_text(errors="replace")))


async def run_desk(checked: dict[str, str]) -> None:
    async with onionshh.join(data_dir="desk") as node:
        await at_the_desk(node, Path("desk"), checked)


async def run_source(address: str, text: str | None, last: bool) -> None:
    async with (
        onionshh.join(data_dir="source") as node,
        node.contact(address, name="desk") as contact,
    ):
        if text is None:
            await hear(contact, Path("source"))
        else:
            await say(contact, Path("source"), text, last=last)


def read_checked(path: Path) -> dict[str, str]:
    """What the journalist has checked. ValueError."""
    try:
        found = json.loads(path.read_bytes())
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is not JSON") from None
    if not isinstance(found, dict):
        raise ValueError(f'{path} should hold answers by claim: {{"the invoice is of May": "true"}}')
    return {claim: str(answer) for claim, answer in found.items()}


def ended(program: Callable[[], Awaitable[None]]) -> int:
    """Run this until it ends. What a person can mend is said in a sentence. Returns the exit status."""
    status = 0
    try:
        trio.run(program)
    except* KeyboardInterrupt:
        pass
    except* (onionshh.Error, OSError) as group:
        status = 1
        for sentence in sentences(group):
            print(sentence, file=sys.stderr)
    return status


def sentences(error: BaseException) -> Iterator[str]:
    """What went wrong, also where several things did."""
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            yield from sentences(one)
    else:
        yield str(error)


def main() -> int:
    parser = argparse.ArgumentParser(description="A source and a journalist.")
    sides = parser.add_subparsers(dest="side", required=True)
    sides.add_parser("journalist").add_argument("--checked", type=Path, metavar="FILE")
    source = sides.add_parser("source")
    source.add_argument("address")
    source.add_argument("claim", nargs="?")
    source.add_argument("--last", action="store_true")
    asked = parser.parse_args()
    if asked.side == "source":
        return ended(partial(run_source, asked.address, asked.claim, asked.last))
    try:
        checked = {} if asked.checked is None else read_checked(asked.checked)
    except ValueError as error:
        parser.error(str(error))
    return ended(partial(run_desk, checked))


if __name__ == "__main__":
    sys.exit(main())
