"""Exchange offers that stay findable for minutes to days, and are taken back.

    python tests/examples/offers.py offer "2 ETH" "100 DAI" --for 3600
    python tests/examples/offers.py list
    python tests/examples/offers.py take-back ID

Everyone who knows the name of the market finds the offers. Nobody learns who offers what; the author's mark
says only which offers are of one trader. While `onionshh network` runs, the program finds it by itself.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from functools import partial

import trio

import onionshh

MARKET = "example market"
COPIES_SECONDS = 60.0


@dataclass(frozen=True)
class Offer:
    """What a trader gives, and wants for it. `id` and `trader` come from the board."""

    gives: str
    wants: str
    id: str = ""
    trader: str | None = None
    until: int = 0


class NotMine(LookupError):
    """This offer is not one's own, or is over."""


async def make(board: onionshh.Board, gives: str, wants: str, seconds: float) -> onionshh.Posting:
    """Put an offer up for so many seconds. It is there, whatever becomes of this program, when this
    returns."""
    body = json.dumps({"gives": gives, "wants": wants}).encode()
    return await (await board.post(body, ttl_seconds=seconds)).stored()


async def copied(posting: onionshh.Posting) -> onionshh.Posting:
    """Wait a while for the relays beyond those that are needed: some may leave before the offer ends."""
    with trio.move_on_after(COPIES_SECONDS):
        while not posting.is_final and posting.copies[0] < posting.copies[1]:
            await posting.changed()
    return posting


async def find(board: onionshh.Board) -> list[Offer]:
    """All offers that stand now. What others may have posted here besides offers is left out."""
    found = []
    for post in await board.read(limit=1000):
        try:
            said = json.loads(post.body)
            found.append(Offer(str(said["gives"]), str(said["wants"]), post.id, post.author, post.expires))
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
    return found


async def take_back(board: onionshh.Board, offer_id: str) -> bool:
    """Take an offer of one's own back, also one of an earlier run. Returns whether nobody finds it now.
    NotMine if it is not one's own."""
    for posting in board.postings():
        if posting.id == offer_id:
            return await posting.recall()
    raise NotMine(f"no offer of yours has the id {plain(offer_id)}")


def plain(text: str) -> str:
    """What strangers wrote, without what would move the cursor or forge a line."""
    return "".join(one if one.isprintable() else "\N{REPLACEMENT CHARACTER}" for one in text)


async def run(asked: argparse.Namespace) -> None:
    trader = onionshh.Identity.load_or_create("trader/identity")
    async with (
        onionshh.join(data_dir="trader") as node,
        node.board(MARKET, author=trader, name="trader") as board,
    ):
        if asked.command == "offer":
            posting = await copied(await make(board, asked.gives, asked.wants, asked.seconds))
            print(posting.id, "stands, at", posting.copies[0], "relays")
        elif asked.command == "take-back":
            gone = await take_back(board, asked.id)
            print("taken back" if gone else "not erased everywhere so far; run this again to go on")
        else:
            for one in await find(board):
                print(
                    f"{one.id}  {plain(one.gives)} for {plain(one.wants)}  ({(one.trader or 'nobody')[:8]})"
                )


def ended(program: Callable[[], Awaitable[None]]) -> int:
    """Run this until it ends. What a person can mend is said in a sentence. Returns the exit status."""
    status = 0
    try:
        trio.run(program)
    except* KeyboardInterrupt:
        pass
    except* (onionshh.Error, OSError, NotMine) as group:
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
    parser = argparse.ArgumentParser(description="Exchange offers.")
    commands = parser.add_subparsers(dest="command", required=True)
    offer = commands.add_parser("offer")
    offer.add_argument("gives")
    offer.add_argument("wants")
    offer.add_argument("--for", dest="seconds", type=float, default=3600.0, help="60 to 604800 seconds")
    commands.add_parser("list")
    commands.add_parser("take-back").add_argument("id")
    asked = parser.parse_args()
    if asked.command == "offer" and not 60 <= asked.seconds <= 604_800:
        parser.error("--for takes 60 to 604800 seconds")
    return ended(partial(run, asked))


if __name__ == "__main__":
    sys.exit(main())
