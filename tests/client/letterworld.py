"""What the tests of letters share: an endpoint that was there and left, and comes back now and then.

Hours and days pass in these tests, so the links are quiet, a consensus is made every ten minutes or every
hour, and each node looks at its clock every half minute, or every five minutes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio

import onionshh
from onionshh import testing
from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.net import link_loop
from onionshh.rendezvous.mailboxes import Mailboxes
from tests.client.hostile import role_of
from tests.client.mail.postal import Bent
from tests.client.world import PATIENCE_SECONDS, QUIET, WALL, hosted, small

HOUR = 3600
DAY = 86_400
SHORT = HOUR
"""A time to live that makes a letter, and costs little work."""
LONG = 3 * DAY
HOURS = {**QUIET, "interval_seconds": 600}
DAYS = {**QUIET, "interval_seconds": 3600, "valid_seconds": 3 * 3600}


@contextmanager
def slowly(seconds: float) -> Iterator[None]:
    """Nodes look at their clocks only every so many seconds."""
    usual, link_loop.TICK_SECONDS = link_loop.TICK_SECONDS, seconds
    try:
        yield
    finally:
        link_loop.TICK_SECONDS = usual


@dataclass
class Post:
    """A network, an endpoint's address, a visitor's node, and what its program was shown, in all its runs."""

    net: testing.Network
    address: str
    visitor: Node | None
    shown: list[onionshh.Whisper] = field(default_factory=list)

    @property
    def node(self) -> Node:
        """The visitor's node."""
        if self.visitor is None:
            raise LookupError("it does not run")
        return self.visitor

    @property
    def bodies(self) -> list[bytes]:
        """The bodies of what was shown."""
        return [whisper.body for whisper in self.shown]

    @asynccontextmanager
    async def returned(
        self, *, replies: bool = False, reads: bool = True, name: str = "host"
    ) -> AsyncIterator[Endpoint]:
        """The endpoint runs. Its program finishes what it is shown, or replies in capital letters. `reads`:
        False for one that looks at nothing."""

        async def read() -> None:
            async for whisper in endpoint:
                self.shown.append(whisper)
                if replies:
                    await whisper.reply(whisper.body.upper())
                else:
                    await whisper.done()

        async with (
            self.net.join(name) as node,
            node.host(self.net.folder / "identity", introducers=2) as endpoint,
            trio.open_nursery() as nursery,
        ):
            if reads:
                nursery.start_soon(read)
            yield endpoint
            nursery.cancel_scope.cancel()

    @property
    def items(self) -> int:
        """Items at all relays."""
        return sum(mailboxes_of(running).kept for running in self.net.relays)


@asynccontextmanager
async def away(
    *, relays: int = 8, wall: int = WALL, inbox: bool = True, params: dict[str, int] = HOURS
) -> AsyncIterator[Post]:
    """An endpoint was there and left. Where days pass no visitor's node runs, as that takes its time."""
    with slowly(30.0 if params is HOURS else 300.0):
        async with small(relays, wall=wall, **params) as net:
            async with hosted(net, inbox=inbox) as (_, endpoint):
                address = endpoint.address
                await trio.sleep(60)
            async with AsyncExitStack() as stack:
                node = None if params is DAYS else await stack.enter_async_context(net.join("visitor"))
                yield Post(net, address, node)


def mailboxes_of(running: testing.RunningRelay) -> Mailboxes:
    """A relay's mailboxes, also where something stands before them."""
    role = role_of(running, Mailboxes.accepts)
    if isinstance(role, Bent):
        role = role.honest
    if not isinstance(role, Mailboxes):
        raise TypeError
    return role


async def stored(receipt: onionshh.Receipt, *, copies: int = 2, seconds: float = 600) -> None:
    """Wait until it is stored, with so many copies."""
    with trio.fail_after(seconds):
        await receipt.stored()
        while receipt.copies[0] < copies:
            await receipt.changed()


async def status_of(receipt: onionshh.Receipt, seconds: float = 3 * HOUR) -> str:
    """Its final status."""
    with trio.fail_after(seconds):
        return (await receipt.final()).status


async def waits_for(true: Callable[[], bool], seconds: float = 3 * HOUR) -> None:
    """Wait for a condition that may take hours."""
    with trio.fail_after(seconds):
        while not true():
            await trio.sleep(5)


def again(contact: Contact, receipt: onionshh.Receipt) -> onionshh.Receipt:
    """The receipt of the same whisper, in a later run of its contact."""
    found = contact.receipt(receipt.id)
    if found is None:
        raise LookupError("it is not known any more")
    return found


__all__ = [
    "DAY",
    "DAYS",
    "HOUR",
    "HOURS",
    "LONG",
    "PATIENCE_SECONDS",
    "SHORT",
    "Post",
    "again",
    "away",
    "mailboxes_of",
    "slowly",
    "status_of",
    "stored",
    "waits_for",
]
