"""What the tests of meetings share: a network, what both programs say and hear, and posts of strangers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

import onionshh
from onionshh import testing
from onionshh.client.board.board import Board
from onionshh.client.meeting.meeting import Meeting
from onionshh.client.node import Node
from onionshh.core.meeting.hello import HELLO, Hello, is_answer_to, meeting_topic
from onionshh.crypto.refresh import SEED, Offer
from onionshh.errors import BadData, Closed
from tests.client.letterworld import HOURS, mailboxes_of
from tests.client.world import PATIENCE_SECONDS, small
from tests.seeded import seeded

SECRET = bytes(range(32))
TOPIC = meeting_topic(SECRET)
HOUR = 3600


def network(relays: int = 8, *, seed: int = 1) -> AbstractAsyncContextManager[testing.Network]:
    """A quiet network of a few relays, with a consensus every ten minutes."""
    return small(relays, seed=seed, **HOURS)


@dataclass
class Program:
    """One of the two: what it was shown, in all its runs. It answers what begins with "ask"."""

    shown: list[onionshh.Whisper] = field(default_factory=list)

    @property
    def bodies(self) -> list[bytes]:
        return [whisper.body for whisper in self.shown]

    async def read(self, meeting: Meeting) -> None:
        """Finish or answer each whisper, until the meeting is closed or the disk fails."""
        with suppress(Closed, BadData):
            async for whisper in meeting:
                if whisper.body.startswith(b"ask"):
                    await whisper.reply(whisper.body.upper())
                else:
                    await whisper.done()
                self.shown.append(whisper)

    @asynccontextmanager
    async def at(self, node: Node, name: str | None = None, secret: bytes = SECRET) -> AsyncIterator[Meeting]:
        """It is there, and reads."""
        async with node.meet(secret, name=name) as meeting, trio.open_nursery() as nursery:
            nursery.start_soon(self.read, meeting)
            yield meeting
            nursery.cancel_scope.cancel()


async def both_met(*meetings: Meeting, seconds: float = PATIENCE_SECONDS) -> None:
    with trio.fail_after(seconds):
        for meeting in meetings:
            await meeting.met()


async def delivered(*receipts: onionshh.Receipt, seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until the other side has them."""
    with trio.fail_after(seconds):
        for receipt in receipts:
            status = (await receipt.final()).status
            if status != "delivered":
                raise AssertionError(f"{status}: {receipt.why}")


def hello(instance: bytes, secret: bytes = SECRET, seed: int = 50) -> bytes:
    """The hello of somebody who was never there."""
    return Hello.of(secret, instance, Offer.of_seed(seeded(seed)(SEED)).public).encoded


async def bodies(board: Board) -> list[bytes]:
    """What lies on the board now."""
    with trio.fail_after(PATIENCE_SECONDS):
        return [post.body for post in await board.read()]


def hellos(found: list[bytes]) -> list[bytes]:
    """The instances that say hello there, one for each post."""
    return [body[:16] for body in found if len(body) == HELLO]


def replies(found: list[bytes], instance: bytes) -> list[bytes]:
    """The answers to an instance that lie there."""
    return [body for body in found if is_answer_to(body, instance)]


def items(net: testing.Network) -> int:
    """Items at all relays."""
    return sum(mailboxes_of(running).kept for running in net.relays)


__all__ = [
    "HOUR",
    "PATIENCE_SECONDS",
    "SECRET",
    "TOPIC",
    "Program",
    "bodies",
    "both_met",
    "delivered",
    "hello",
    "hellos",
    "items",
    "network",
    "replies",
]
