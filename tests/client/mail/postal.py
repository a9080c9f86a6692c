"""What the tests of mail share: a mailbox and its owner, letters, relays that can be told to lie."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field

import trio

from onionshh import geometry as g
from onionshh.client.context import Context
from onionshh.client.mail.depositing import Deposit, deposit
from onionshh.client.mail.deposits import Deposits, DepositsInMemory, SealedItem
from onionshh.client.mail.leaving import Leaving, NotStored
from onionshh.client.mail.proving import prove
from onionshh.core.mailbox.places import readable
from onionshh.core.mailbox.price import price
from onionshh.core.mailbox.work import put_task
from onionshh.core.roles import CircuitHandle, Reply, Role, RoleAction
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import kdf
from onionshh.ids import RelayId, WhisperId
from onionshh.rendezvous.mailboxes import Mailboxes
from onionshh.testing import Network, RunningRelay
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from tests.client.hostile import mount, role_of
from tests.seeded import seeded

OWNER = SigningKey.generate(seeded(5))
DAY_SECONDS = 86_400
LETTER = WhisperId(b"letter".ljust(16, b"\0"))


def mailbox_of(context: Context, kind: int = w.INBOX, *, before: int = 0) -> w.Mailbox:
    """The owner's mailbox of the present period, or of one before."""
    return w.Mailbox(kind, OWNER.public, context.view.period - before)


def sealed(mailbox: w.Mailbox, expires: int, parts: int = 1, mark: str = "") -> list[SealedItem]:
    """A letter of so many parts. `mark`: for other values under other ids."""
    return [
        SealedItem(
            mailbox,
            kdf("test seed", mark.encode(), bytes((part,))),
            expires,
            kdf("test value", mark.encode(), bytes((part,)), length=g.MAILBOX_VALUE),
        )
        for part in range(parts)
    ]


@dataclass(slots=True)
class Heard:
    """What was told of letters."""

    copies: list[tuple[int, bool]] = field(default_factory=list)
    why: list[NotStored] = field(default_factory=list)
    tries: int = 0
    gone: list[WhisperId] = field(default_factory=list)

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        if tries < self.tries:
            raise AssertionError("the tries of one letter never fall")
        self.tries = tries

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        self.copies.append((copies, enough))

    def not_stored(self, letter: WhisperId, why: NotStored) -> None:
        self.why.append(why)

    def lapsed(self, letter: WhisperId) -> None:
        self.gone.append(letter)


class SlowDeposits(DepositsInMemory):
    """A value that is needed for a PUT comes when `go` is set."""

    def __init__(self) -> None:
        super().__init__()
        self.go = trio.Event()
        self.asked = 0

    async def value(self, item_id: bytes) -> bytes:
        self.asked += 1
        if self.asked > 1:  # the first is for the proof
            await self.go.wait()
        return await super().value(item_id)


@asynccontextmanager
async def leaving(context: Context, deposits: Deposits, heard: Heard) -> AsyncIterator[Leaving]:
    """A Leaving that runs, with what the last run left."""
    made = Leaving(context, deposits, heard)
    await made.restore()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        yield made
        nursery.cancel_scope.cancel()


class Bent:
    """A relay's mailboxes, honest but for what `on_put` and `on_list` answer in their place. `silent`: it
    answers nothing. `puts` and `lists`: what came, and when, over which circuits."""

    accepts = Mailboxes.accepts

    def __init__(self, honest: Role) -> None:
        self.honest = honest
        self.on_put: Callable[[w.Put], w.Kept | None] = lambda put: None
        self.on_list: Callable[[w.List], w.Items | None] = lambda asked: None
        self.silent = False
        self.puts: list[tuple[float, w.Put, CircuitHandle]] = []
        self.lists: list[tuple[float, w.List, CircuitHandle]] = []

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """As the honest one, unless it was told otherwise."""
        if message_type == m.PUT:
            put = w.Put.decode_untrusted(body)
            self.puts.append((now, put, circuit))
            kept = self.on_put(put)
            answer = None if kept is None else Reply(circuit, m.KEPT, kept.encode())
        else:
            asked = w.List.decode_untrusted(body)
            self.lists.append((now, asked, circuit))
            found = self.on_list(asked)
            answer = None if found is None else Reply(circuit, m.ITEMS, found.encode())
        if self.silent:
            return ()
        return (answer,) if answer else self.honest.handle(circuit, message_type, body, now, wall)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self.honest.circuit_ready(circuit, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self.honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return self.honest.tick(now, wall)

    @property
    def is_due_soon(self) -> bool:
        return bool(getattr(self.honest, "is_due_soon", False))

    def ended(self) -> None:
        if isinstance(self.honest, Mailboxes):
            self.honest.ended()

    @property
    def kept(self) -> int:
        """Items that it keeps."""
        if not isinstance(self.honest, Mailboxes):
            raise TypeError
        return self.honest.kept


def bend(net: Network) -> dict[RelayId, Bent]:
    """Every relay's mailboxes, honest at first, by the relay's identity."""
    found = {}
    for running in net.relays:
        bent = Bent(role_of(running, Mailboxes.accepts))
        mount(running, bent)
        found[running.relay.keys.relay_id] = bent
    return found


def relay_of(net: Network, relay: RelayId) -> RunningRelay:
    """The running relay of this identity."""
    return next(running for running in net.relays if running.relay.keys.relay_id == relay)


def places_of(context: Context, mailbox: w.Mailbox) -> tuple[tuple[RelayId, ...], ...]:
    """Per place, the relays that are read."""
    places = readable(context.view, mailbox)
    if places is None:
        raise AssertionError("the period has no random value")
    return tuple(tuple(row.identity for row in rows) for rows in places)


@contextmanager
def all_puts(relays: dict[RelayId, Bent]) -> Iterator[list[tuple[float, RelayId, w.Put]]]:
    """All PUTs that came within the block, in the order of their times."""
    found: list[tuple[float, RelayId, w.Put]] = []
    yield found
    found += [(now, relay, put) for relay, bent in relays.items() for now, put, _ in bent.puts]
    found.sort(key=lambda row: row[:2])


async def place(context: Context, items: list[SealedItem], *relays: RelayId) -> None:
    """Leave each item at each of these relays, in this order."""
    for item in items:
        random, earliest = context.view.shared_random(item.mailbox.period), context.clock.earliest()
        if random is None:
            raise AssertionError("the period has no random value")
        effort = price(item.mailbox.kind, item.expires, earliest, relay_used=0, relay_most=1, mailbox_used=0)
        task = put_task(random, item.mailbox, item.item_id, item.expires, item.value)
        nonce = await prove(context, task, effort)
        put = Deposit(item.mailbox, item.seed, item.expires, item.value, nonce, effort)
        for relay in relays:
            row = context.view.relay(relay)
            if row is None or await deposit(context, put, row) != w.Kept(w.STORED):
                raise AssertionError("it was not stored")
