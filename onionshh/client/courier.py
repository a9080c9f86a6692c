"""Brings one contact's whispers to their endpoint, each once, over as many paths as it takes (SPEC 13).

One task owns the joined circuit. Whatever is not acknowledged in time goes out again over another path
under the same id, waiting twice as long each time; the endpoint knows an id it has seen. A whisper whose
reply is awaited counts as unfinished, so that a lost circuit is made anew for the reply to come back on.
"""

from __future__ import annotations

import trio

from onionshh.client.connect import NoAnswer, NotIntroduced, connect
from onionshh.client.context import Context
from onionshh.client.exchange import Exchange
from onionshh.client.finder import Found, NoDescriptor
from onionshh.client.receipt import Receipt
from onionshh.core.classes import PrivacyClass
from onionshh.core.introduce import fits_introduction
from onionshh.core.path import PathImpossible
from onionshh.core.whisper import EXPIRY_GRACE_SECONDS, WHISPER, Record, receipt_for
from onionshh.errors import NetworkUnreachable, NoDirectory
from onionshh.ids import WhisperId
from onionshh.net.circuits import CircuitFailed
from onionshh.wire.endpoint import IntroducerEntry

WAITING_MOST = 1024
KEPT_MOST = 1024
KEPT_BYTES = 1024 * 1024
SENDERS = 2
"""Whispers that leave at a time: one fills what window the other leaves open."""
REPLY_GRACE_SECONDS = EXPIRY_GRACE_SECONDS / 2
IDLE_SECONDS = 120.0
ACKNOWLEDGE_SECONDS = 1.0
LINGER_SECONDS = 2.0
PAUSES_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
NO_DESCRIPTOR_ROUNDS = 3
NO_DESCRIPTOR_PAUSE_SECONDS = 2.0

NO_ENDPOINT = (
    "no endpoint is published under this address: it is not running, or has not been reachable for a while"
)
NO_ANSWER = "the endpoint is there, but does not answer"


class Courier:
    """`hops`: as asked, None to draw them from the class for each path."""

    def __init__(self, context: Context, address_key: bytes, privacy: PrivacyClass, hops: int | None) -> None:
        self._context = context
        self._address_key = address_key
        self._privacy = privacy
        self._hops = hops
        self._receipts: dict[WhisperId, Receipt] = {}
        self._poke = trio.Event()
        self._news = trio.Event()
        self._exchange: Exchange | None = None
        self._connected_in = 0.0
        self._found: Found | None = None
        self._tried: set[bytes] = set()
        self._nothing_found = 0
        self._failures = 0
        self.problem = ""
        """What stands in the way right now, in words; empty when nothing does."""

    def submit(self, record: Record, deadline: float) -> Receipt:
        """Take a whisper on; its receipt tells what becomes of it."""
        receipt = Receipt(record, deadline)
        unfinished = sum(not one.is_final for one in self._receipts.values())
        if unfinished >= WAITING_MOST:
            receipt.conclude("failed", f"more than {WAITING_MOST} whispers are waiting already")
            return receipt
        self._forget_old()
        receipt.on_reply_wanted = self._reply_wanted
        self._receipts[record.whisper_id] = receipt
        self._poke.set()
        self._news.set()
        return receipt

    async def run(self) -> None:
        """Deliver, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._watch)
            try:
                while True:
                    await self._round(nursery)
            finally:
                if self._exchange is not None:
                    self._context.nursery.start_soon(self._let_go, self._exchange)

    async def _let_go(self, exchange: Exchange) -> None:
        """A moment late: the end of a circuit overtakes what waits in it, perhaps our last receipt."""
        try:
            if not self._context.closed.is_set():
                await trio.sleep(LINGER_SECONDS)
        finally:
            exchange.close("contact-closed")

    def close(self, why: str) -> None:
        """Nothing more will be tried."""
        for receipt in self._receipts.values():
            receipt.conclude("failed", why)

    # One round: connect if need be, send what is due, wait.

    async def _round(self, nursery: trio.Nursery) -> None:
        self._poke = trio.Event()
        due = self._due()
        if not due:
            await self._rest()
            return
        exchange = self._exchange
        if exchange is None or not exchange.open:
            # A TTL that ends while we connect must end that try too, if nobody else waits for it.
            with trio.move_on_at(max(self._patience(receipt) for receipt in due)):
                exchange = await self._connect(due[0], nursery)
            if exchange is None or not exchange.open:
                return
        async with trio.open_nursery() as senders:
            for _ in range(SENDERS):
                senders.start_soon(self._send_due, exchange)

    async def _send_due(self, exchange: Exchange) -> None:
        while exchange.open and (due := self._due()):
            await self._send(exchange, due[0])

    async def _watch(self) -> None:
        """Expire what is past its TTL, and give up a circuit that owes a receipt, on time and for ever."""
        while True:
            self._news = trio.Event()
            now = self._context.clock.monotonic()
            until, late = float("inf"), False
            for receipt in self._receipts.values():
                if receipt.is_final:
                    continue
                if now >= receipt.deadline:
                    why = self.problem or "no receipt came before its time to live ended"
                    receipt.conclude("expired", why)
                    continue
                if receipt.sent_at is not None and now >= receipt.due:
                    receipt.wait_seconds *= 2
                    late = True
                until = min(until, receipt.deadline, receipt.due if receipt.sent_at is not None else until)
            if late:
                self._lost("receipt-late", NO_ANSWER)
                continue
            with trio.move_on_at(until):
                await self._news.wait()

    def _due(self) -> list[Receipt]:
        return [one for one in self._receipts.values() if one.sent_at is None and self._unfinished(one)]

    def _unfinished(self, receipt: Receipt) -> bool:
        if receipt.status == "delivered":
            # Past its expiry the endpoint refuses even a copy, so a lost circuit cannot be made good.
            askable = self._context.clock.monotonic() < receipt.deadline + REPLY_GRACE_SECONDS
            return receipt.reply_wanted > 0 and receipt.reply_body is None and askable
        return not receipt.is_final

    def _reply_wanted(self, receipt: Receipt) -> None:
        """A reply is awaited from now on: without a circuit it could not come."""
        if receipt.status == "delivered" and (self._exchange is None or not self._exchange.open):
            receipt.sent_at = None
        self._poke.set()

    def _patience(self, receipt: Receipt) -> float:
        """Until when a connection for this whisper is worth making, monotonic seconds."""
        return receipt.deadline if not receipt.is_final else float("inf")

    async def _rest(self) -> None:
        """Until poked; a circuit that nothing waits on is given up once it has idled long enough."""
        exchange = self._exchange
        while exchange is not None and exchange.open:
            with trio.move_on_at(exchange.used_at + IDLE_SECONDS):
                await self._poke.wait()
                return
            if any(map(self._unfinished, self._receipts.values())):
                break
            if self._context.clock.monotonic() >= exchange.used_at + IDLE_SECONDS:
                self._exchange = None
                exchange.close("idle")
        await self._poke.wait()

    async def _send(self, exchange: Exchange, receipt: Receipt) -> None:
        if not self._unfinished(receipt) or receipt.sent_at is not None:
            return
        receipt.sent_at, receipt.due = self._context.clock.monotonic(), float("inf")
        try:
            with trio.move_on_after(self._wait_of(receipt)):
                await exchange.send(receipt.record)
                self._sent(receipt, exchange)
                return
        except CircuitFailed as error:
            self._lost(error.reason, "")
            return
        # The window stayed closed: the endpoint takes nothing, or what is between us does.
        receipt.wait_seconds *= 2
        self._lost("window-closed", NO_ANSWER)

    def _wait_of(self, receipt: Receipt) -> float:
        """How long to wait for this whisper on one path, seconds; doubled by whoever waited in vain."""
        if not receipt.wait_seconds:
            receipt.wait_seconds = float(self._context.params.talk_receipt_seconds)
        return receipt.wait_seconds

    def _sent(self, receipt: Receipt, exchange: Exchange) -> None:
        if receipt.sent_at is None:
            return  # the circuit was lost while the last cell left
        receipt.due = self._context.clock.monotonic() + self._wait_of(receipt)
        receipt.hops = exchange.relays_between
        receipt.connect_seconds = self._connected_in
        if receipt.status == "queued":
            receipt.status = "sent"
        self._news.set()

    # Connecting.

    async def _connect(self, first: Receipt, nursery: trio.Nursery) -> Exchange | None:
        context = self._context
        started = context.clock.monotonic()
        try:
            if self._found is None or self._found.descriptor.expiry <= context.clock.wall():
                self._found = await context.known.find(context, self._address_key)
                self._nothing_found = 0
            introducer = self._introducer(self._found)
            encoded = first.record.encode()
            riding = fits_introduction(encoded)
            exchange = await connect(
                context,
                self._found,
                introducer,
                hops=self._privacy.draw_hops(context.chance, self._hops),
                privacy_class=self._privacy.number,
                record=encoded if riding else b"",
            )
        except (NoDescriptor, PathImpossible) as error:
            await self._nowhere(error)
        except NotIntroduced as error:
            await self._failed(str(error), forget=error.gone)
        except NoAnswer:
            await self._failed(NO_ANSWER, forget=True)  # its keys may be new
        except NoDirectory as error:
            await self._failed(str(error), forget=False)
        except (CircuitFailed, NetworkUnreachable) as error:
            await self._failed(f"the network does not carry us there ({error})", forget=False)
        else:
            self._exchange = exchange
            self._connected_in = context.clock.monotonic() - started
            self._failures = 0
            self._tried.clear()
            self.problem = ""
            if riding:
                first.sent_at = started
                self._sent(first, exchange)
            nursery.start_soon(self._receive, exchange)
            return exchange
        return None

    def _introducer(self, found: Found) -> IntroducerEntry:
        """One not tried in vain since the last success, at random; all of them again once none is left."""
        wall = self._context.clock.wall()
        good = [one for one in found.descriptor.introducers if one.expiry > wall] or list(
            found.descriptor.introducers
        )
        left = [one for one in good if one.auth_key not in self._tried]
        if not left:
            self._tried.clear()
        chosen = self._context.chance.choice(left or good)
        self._tried.add(chosen.auth_key)
        return chosen

    async def _failed(self, why: str, *, forget: bool) -> None:
        self.problem = why
        self._failures += 1
        if forget or (self._found and len(self._tried) >= len(self._found.descriptor.introducers)):
            self._found = None  # every introducer was tried: perhaps there is a newer descriptor
            self._context.known.forget(self._address_key)
        self._explain(why)
        pause = PAUSES_SECONDS[min(self._failures, len(PAUSES_SECONDS)) - 1]
        await trio.sleep(pause * self._context.chance.between(0.5, 1.0))

    async def _nowhere(self, error: NoDescriptor | PathImpossible) -> None:
        """No such endpoint, or no such path: final, an endpoint that is just starting given a moment."""
        if isinstance(error, PathImpossible):
            self.problem = str(error)
            self._give_up(str(error))
            # A reply may still be waited for: perhaps the next consensus has a path.
            await trio.sleep(NO_DESCRIPTOR_PAUSE_SECONDS)
            return
        self.problem = NO_ENDPOINT
        self._explain(NO_ENDPOINT)
        self._nothing_found += 1
        if self._nothing_found >= NO_DESCRIPTOR_ROUNDS:
            self._nothing_found = 0
            self._give_up(NO_ENDPOINT)
            return
        await trio.sleep(NO_DESCRIPTOR_PAUSE_SECONDS)

    def _give_up(self, why: str) -> None:
        for receipt in self._receipts.values():
            receipt.conclude("failed", why)

    def _explain(self, why: str) -> None:
        for receipt in self._receipts.values():
            if not receipt.is_final:
                receipt.why = why

    # What comes back.

    async def _receive(self, exchange: Exchange) -> None:
        try:
            while True:
                record = await exchange.receive()
                if record.in_reply_to in self._receipts:
                    self._acknowledged(record, exchange)  # an answer says as much as a receipt
                if record.kind == WHISPER:
                    await self._replied(record, exchange)
        except CircuitFailed:
            if exchange is self._exchange:
                self._lost("exchange-ended", "")

    async def _replied(self, record: Record, exchange: Exchange) -> None:
        """The receipt goes first if it can: whoever waits for the answer may close us when it comes."""
        back = receipt_for(record, self._context.chance.bytes)
        left = False
        try:
            with trio.move_on_after(ACKNOWLEDGE_SECONDS):
                await exchange.send(back)
                left = True
        finally:
            if record.in_reply_to in self._receipts:
                self._receipts[record.in_reply_to].answer(record.body)
        if not left:
            await exchange.send(back)

    def _acknowledged(self, record: Record, exchange: Exchange) -> None:
        receipt = self._receipts[record.in_reply_to]
        if receipt.sent_at is None or receipt.is_final:
            return
        receipt.round_trip_seconds = self._context.clock.monotonic() - receipt.sent_at
        receipt.hops = exchange.relays_between
        receipt.conclude("delivered")
        self._poke.set()

    def _lost(self, reason: str, problem: str) -> None:
        """The circuit is no good: what it has not acknowledged goes over another."""
        if self._exchange is not None:
            self._exchange.close(reason)
            self._exchange = None
        if problem:
            self.problem = problem
        for receipt in self._receipts.values():
            if self._unfinished(receipt):
                receipt.sent_at = None
        self._poke.set()

    def _forget_old(self) -> None:
        done = [key for key, one in self._receipts.items() if not self._unfinished(one)]
        size = sum(len(self._receipts[key].record.body) for key in done)
        for number, key in enumerate(done):
            if len(done) - number <= KEPT_MOST and size <= KEPT_BYTES:
                return
            receipt = self._receipts.pop(key)
            size -= len(receipt.record.body)
            receipt.forget_body()
