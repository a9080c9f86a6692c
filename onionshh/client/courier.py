"""Brings one contact's whispers to their endpoint, each once, over as many paths as it takes (SPEC 13).

One task owns the joined circuit. Whatever is not acknowledged in time goes out again over another path
under the same id, waiting twice as long each time; the endpoint knows an id it has seen. A whisper whose
reply is awaited counts as unfinished, so that a lost circuit is made anew for the reply to come back on.
"""

from __future__ import annotations

from contextlib import suppress
from math import inf

import trio

from onionshh.client.connect import NoAnswer, NotIntroduced, connect
from onionshh.client.context import Context
from onionshh.client.exchange import Exchange
from onionshh.client.finder import NoDescriptor, find_or_known
from onionshh.client.known import Found
from onionshh.client.outstanding import Outstanding, askable_until
from onionshh.client.owed import Owed
from onionshh.client.receipt import Receipt
from onionshh.core.classes import PrivacyClass
from onionshh.core.introduce import fits_introduction
from onionshh.core.path import PathImpossible
from onionshh.core.whisper import EXPIRED, EXPIRY_GRACE_SECONDS, REFUSED, WHISPER, Record, receipt_for
from onionshh.core.words import duration
from onionshh.errors import NetworkUnreachable, NoDirectory
from onionshh.net.circuits import CircuitFailed
from onionshh.wire.endpoint import IntroducerEntry

WAITING_MOST = 1024
SENDERS = 2
"""Whispers that leave at a time: one fills what window the other leaves open."""
IDLE_SECONDS = 120.0
LINGER_SECONDS = 2.0
PAUSES_SECONDS = (0.1, 0.5, 1.0, 2.0, 5.0)
NO_DESCRIPTOR_ROUNDS = 3
NO_DESCRIPTOR_PAUSE_SECONDS = 2.0

NO_ENDPOINT = (
    "no endpoint is published under this address: it is not running, or has not been reachable for a while"
)
NO_ANSWER = "the endpoint is there, but does not answer"


class Courier:
    """`hops`: as asked, None to draw them from the class for each path. `background`: leave others room."""

    def __init__(
        self,
        context: Context,
        address_key: bytes,
        privacy: PrivacyClass,
        hops: int | None,
        *,
        background: bool = False,
    ) -> None:
        self._context = context
        self._address_key = address_key
        self._privacy = privacy
        self._hops = hops
        self._background = background
        self._whispers = Outstanding(context.clock.monotonic)
        self._poke = trio.Event()
        self._news = trio.Event()
        self._look_at = inf
        """When `_watch` looks next, monotonic seconds, unless there is news."""
        self._owed = Owed()
        self._exchange: Exchange | None = None
        self._began = inf
        """When connecting it began, monotonic seconds."""
        self._connected_in = 0.0
        self._found: Found | None = None
        self._tried: set[bytes] = set()
        self._nothing_found = 0
        self._failures = 0
        """Connections in a row that failed, or ended before anything came back on them."""
        self._heard = False
        self._not_before = 0.0
        """When to connect again at the earliest, monotonic seconds."""
        self._closed = False
        self.problem = ""
        """What stands in the way right now, in words; empty when nothing does."""

    def submit(self, record: Record, deadline: float) -> Receipt:
        """Take a whisper on; its receipt tells what becomes of it."""
        receipt = Receipt(record, deadline)
        if len(self._whispers) >= WAITING_MOST:
            waiting = sum(not one.is_final for one in self._whispers.unfinished())
            if waiting >= WAITING_MOST:
                receipt.conclude("failed", f"more than {WAITING_MOST} whispers are waiting already")
                return receipt
        receipt.on_reply_wanted = self._reply_wanted
        self._whispers.add(receipt)
        self._poke.set()
        self._look_by(deadline)
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
                    with suppress(CircuitFailed):
                        self._owed.pay(self._exchange)
                    self._context.nursery.start_soon(self._let_go, self._exchange)

    async def _let_go(self, exchange: Exchange) -> None:
        """A moment late: the end of a circuit overtakes what waits in it, perhaps our last receipt."""
        try:
            if not self._context.closed.is_set():
                await trio.sleep(LINGER_SECONDS)
        finally:
            exchange.close("contact-closed")

    def close(self, why: str) -> None:
        """Nothing more will be tried, nor come."""
        self._closed = True
        for receipt in self._whispers.unfinished():
            receipt.conclude("failed", why)
        for receipt in self._whispers.awaited():
            receipt.give_up()

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
        if all(self._send_at_once(exchange, receipt) for receipt in self._due()):
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
            until, late = inf, False
            for receipt in self._whispers.unfinished():
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
            for receipt in self._whispers.awaited():
                if self._whispers.is_askable(receipt):
                    until = min(until, askable_until(receipt))
                elif not self._reply_may_come(receipt):
                    receipt.give_up()
            if late:
                self._lost("receipt-late", NO_ANSWER)
                continue
            self._look_at = until
            with trio.move_on_at(until):
                await self._news.wait()

    def _look_by(self, when: float) -> None:
        if when < self._look_at:
            self._news.set()

    def _due(self) -> list[Receipt]:
        return [one for one in self._whispers.unfinished() if one.sent_at is None]

    def _reply_wanted(self, receipt: Receipt) -> None:
        """A reply is awaited from now on: without a circuit it could not come."""
        self._whispers.reopen(receipt)
        if self._closed:
            receipt.give_up()
        elif receipt.status == "delivered" and not self._reply_may_come(receipt):
            if self._whispers.is_askable(receipt):
                receipt.sent_at = None
            else:
                receipt.give_up()
        self._poke.set()
        self._look_by(askable_until(receipt))

    def _reply_may_come(self, receipt: Receipt) -> bool:
        """Whether the circuit that it went out on is there: the endpoint knows no other way back."""
        exchange, sent_at = self._exchange, receipt.sent_at
        return exchange is not None and exchange.open and sent_at is not None and sent_at >= self._began

    def _patience(self, receipt: Receipt) -> float:
        """Until when a connection for this whisper is worth making, monotonic seconds."""
        return receipt.deadline if not receipt.is_final else inf

    async def _rest(self) -> None:
        """Until poked; a circuit that nothing waits on is given up once it has idled long enough."""
        idle_at = 0.0
        while (exchange := self._exchange) is not None and exchange.open:
            idle_at = max(idle_at, exchange.used_at + IDLE_SECONDS)
            with trio.move_on_at(idle_at):
                await self._poke.wait()
                return
            now = self._context.clock.monotonic()
            if self._whispers.unfinished():
                idle_at = now + IDLE_SECONDS
            elif now >= exchange.used_at + IDLE_SECONDS:
                exchange.close("idle")
                self._gone()
        await self._poke.wait()

    def _send_at_once(self, exchange: Exchange, receipt: Receipt) -> bool:
        """Whether it has left, and what is owed with it; no other task is needed then."""
        try:
            if not exchange.send_at_once(*self._owed.records, receipt.record):
                return False
        except CircuitFailed as error:
            self._lost(error.reason, "")
            return False
        self._owed.take()
        receipt.sent_at = self._context.clock.monotonic()
        self._sent(receipt, exchange)
        return True

    async def _send(self, exchange: Exchange, receipt: Receipt) -> None:
        if not self._whispers.is_unfinished(receipt) or receipt.sent_at is not None:
            return
        receipt.sent_at, receipt.due = self._context.clock.monotonic(), inf
        owed = self._owed.take()
        try:
            with trio.move_on_after(self._wait_of(receipt)):
                await exchange.send(*owed, receipt.record)
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
        self._look_by(receipt.due)

    # Connecting.

    async def _connect(self, first: Receipt, nursery: trio.Nursery) -> Exchange | None:
        await trio.sleep_until(self._not_before)
        context = self._context
        started = context.clock.monotonic()
        try:
            if self._found is None or self._found.descriptor.expiry <= context.clock.earliest():
                self._found = await find_or_known(context, self._address_key)
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
            self._failed(str(error), forget=error.gone)
        except NoAnswer:
            self._failed(NO_ANSWER, forget=True)  # its keys may be new
        except NoDirectory as error:
            self._failed(str(error), forget=False)
        except (CircuitFailed, NetworkUnreachable) as error:
            self._failed(f"the network does not carry us there ({error})", forget=False)
        else:
            if self._background:
                exchange.circuit.leave_room()
            self._exchange = exchange
            self._began = started
            self._connected_in = context.clock.monotonic() - started
            self._heard = False
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
        earliest = self._context.clock.earliest()
        good = [one for one in found.descriptor.introducers if one.expiry > earliest] or list(
            found.descriptor.introducers
        )
        left = [one for one in good if one.auth_key not in self._tried]
        if not left:
            self._tried.clear()
        chosen = self._context.chance.choice(left or good)
        self._tried.add(chosen.auth_key)
        return chosen

    def _failed(self, why: str, *, forget: bool) -> None:
        self.problem = why
        self._failures += 1
        if forget or (self._found and len(self._tried) >= len(self._found.descriptor.introducers)):
            self._found = None  # every introducer was tried: perhaps there is a newer descriptor
            self._context.known.forget(self._address_key)
        self._explain(why)
        self._pause()

    def _pause(self) -> None:
        """Connect again after a while, longer each time it was in vain."""
        seconds = PAUSES_SECONDS[min(self._failures, len(PAUSES_SECONDS)) - 1]
        self._not_before = self._context.clock.monotonic() + seconds * self._context.chance.between(0.5, 1.0)

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
        for receipt in self._whispers.unfinished():
            receipt.conclude("failed", why)

    def _explain(self, why: str) -> None:
        for receipt in self._whispers.unfinished():
            if not receipt.is_final:
                receipt.why = why

    # What comes back.

    async def _receive(self, exchange: Exchange) -> None:
        try:
            while True:
                record: Record | None = None
                with trio.move_on_at(self._owed.until):
                    record = await exchange.receive()
                if record is None:
                    self._owed.pay(exchange)
                else:
                    self._received(record, exchange)
        except CircuitFailed:
            if exchange is self._exchange:
                if not self._heard:  # joined and thrown out: the endpoint may be full
                    self._failures += 1
                    self._pause()
                self._lost("exchange-ended", "")

    def _received(self, record: Record, exchange: Exchange) -> None:
        self._heard = True
        self._failures = 0
        receipt = self._whispers.get(record.in_reply_to)
        if record.kind == REFUSED:
            if receipt is not None:
                self._refused(receipt, record.body[0])
            return
        if receipt is not None and not receipt.is_final:
            # An answer says as much as a receipt.
            if receipt.sent_at is not None:  # else another path was just to be tried
                receipt.round_trip_seconds = self._context.clock.monotonic() - receipt.sent_at
            receipt.hops = exchange.relays_between
            receipt.conclude("delivered")
        if record.kind != WHISPER:
            return
        answer = exchange.refusal(record)
        if answer is None:
            answer = receipt_for(record, self._context.chance.bytes)
            if receipt is not None:
                receipt.answer(record.body)
                self._whispers.answered(receipt)
        if self._owed.add(answer):
            self._owed.pay(exchange)

    def _refused(self, receipt: Receipt, why: int) -> None:
        """It came, and the endpoint will never take it on. Whose clock that is, its dates tell."""
        clock, record = self._context.clock, receipt.record
        if why == EXPIRED:
            # The endpoint judged by its consensus; `expires` was made by our clock, and our consensus.
            behind = EXPIRY_GRACE_SECONDS + receipt.deadline - clock.monotonic()
            sentence = "the endpoint refused it: by the network's time, its time to live was over"
            if behind > EXPIRY_GRACE_SECONDS / 2:
                sentence += f"; this machine's clock is at least {duration(behind)} behind, set it right"
            receipt.conclude("expired", sentence)
        else:
            ahead = clock.wall() - clock.earliest() - 2 * self._context.params.interval_seconds
            whose = "the endpoint's clock is behind the network's"
            if ahead > EXPIRY_GRACE_SECONDS:
                whose = f"this machine's clock is about {duration(ahead)} ahead, set it right"
            late = duration(record.expires - clock.earliest())
            receipt.conclude("failed", f"the endpoint refused it, since it would expire in {late}: {whose}")
        receipt.give_up()

    def _lost(self, reason: str, problem: str) -> None:
        """The circuit is no good: what it has not acknowledged goes over another."""
        if self._exchange is not None:
            self._exchange.close(reason)
        if problem:
            self.problem = problem
        for receipt in self._whispers.unfinished():
            receipt.sent_at = None
        self._gone()
        self._poke.set()

    def _gone(self) -> None:
        """There is no circuit now: what cannot be asked for again cannot come."""
        self._exchange = None
        for receipt in self._whispers.awaited():
            if not self._whispers.is_askable(receipt):
                receipt.give_up()
