"""A contact: a peer known by its address, and the whispers sent to it (SPEC 13)."""

from __future__ import annotations

import math

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.visitor import Visitor
from onionshh.client.pool import IDLE_CIRCUITS, STUBS
from onionshh.client.reach.reach import Reach
from onionshh.client.receipt import Receipt
from onionshh.core.base.classes import PrivacyClass
from onionshh.core.circuit.purpose import PathKind, Purpose, meeting_kind
from onionshh.core.delivery.record import TTL_DEFAULT_SECONDS, check_body, check_ttl, new_whisper
from onionshh.core.delivery.sender import WAITING_MOST, TooMany
from onionshh.errors import Away, Closed, Full, NotDelivered


class Contact:
    """Made by `Node.contact`; use it as an async context manager.

    Any number of tasks may whisper at once. Whispers share a circuit while there is one; nothing links one
    contact's circuits to another's.
    """

    def __init__(
        self,
        context: Context,
        address: str,
        address_key: bytes,
        privacy: PrivacyClass,
        hops: int | None,
        *,
        background: bool,
    ) -> None:
        self.address = address
        self._context = context
        self._privacy = privacy
        self._hops = hops
        reach = Reach(
            context,
            address_key,
            draw_hops=lambda: privacy.draw_hops(context.chance, hops),
            privacy_class=privacy.number,
        )
        self._visitor = Visitor(context, reach, background=background)
        self._scope: trio.CancelScope | None = None
        self._closed = False

    async def __aenter__(self) -> Contact:
        if self._scope is not None:
            raise Closed("A contact is entered once.")
        await trio.lowlevel.checkpoint()
        self._context.check_open()
        self._scope = trio.CancelScope()
        for kind in self._meeting_kinds():
            self._context.pool.use(kind, idle=IDLE_CIRCUITS)
        self._context.pool.use(self._context.builder.kind(Purpose.INTRODUCE), stubs=STUBS)
        await self._context.nursery.start(self._run, self._scope)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop; whispers without a receipt fail."""
        if self._closed:
            return
        self._closed = True
        self._visitor.close("the contact was closed before a receipt came")
        if self._scope is None:
            return  # it was never entered, and has wished for nothing
        self._scope.cancel()
        for kind in self._meeting_kinds():
            self._context.pool.leave(kind, idle=IDLE_CIRCUITS)
        self._context.pool.leave(self._context.builder.kind(Purpose.INTRODUCE), stubs=STUBS)

    def send(self, body: bytes, *, ttl_seconds: float = TTL_DEFAULT_SECONDS) -> Receipt:
        """Take a whisper of at most 65 535 bytes on and return at once.

        The receipt's status moves queued → sent → delivered, expired (the TTL, at most 7 days, ended
        without a receipt) or failed (with why). Raises Full while too much waits, TooLarge, ValueError,
        Closed.
        """
        check_body(body)
        check_ttl(ttl_seconds)
        if self._closed or self._scope is None:
            raise Closed("This contact is not open.")
        clock = self._context.clock
        record = new_whisper(
            body,
            expires=clock.best() + math.ceil(ttl_seconds),
            privacy_class=self._privacy.number,
            random_bytes=self._context.chance.bytes,
        )
        try:
            return self._visitor.submit(record, clock.monotonic() + ttl_seconds)
        except TooMany:
            raise Full(
                f"{WAITING_MOST} whispers to this contact wait already; send more once some have a receipt."
            ) from None

    async def whisper(self, body: bytes, *, ttl_seconds: float = TTL_DEFAULT_SECONDS) -> Receipt:
        """Send a whisper and wait until its status is final; nothing is raised for a failed delivery.

        Raises TooLarge, ValueError, Closed. A cancellation leaves the whisper on its way.
        """
        return await self.send(body, ttl_seconds=ttl_seconds).final()

    async def put(self, body: bytes, *, ttl_seconds: float = TTL_DEFAULT_SECONDS) -> Receipt:
        """As `send`, but while too much waits this waits too. Raises TooLarge, ValueError, Closed."""
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self.send(body, ttl_seconds=ttl_seconds)
            except Full:
                await self._visitor.changed()

    async def ask(
        self,
        body: bytes,
        *,
        timeout_seconds: float = 30.0,
        ttl_seconds: float | None = None,
        unless_away: bool = False,
    ) -> bytes:
        """Send a whisper and wait for the endpoint's reply to it. `ttl_seconds`: until when it may still be
        delivered, by itself the timeout. `unless_away`: raise Away as soon as nobody is found there.

        Raises NotDelivered when no reply comes in time (its `status` and `why` say what is known), Full,
        TooLarge, ValueError, Closed.
        """
        if not timeout_seconds > 0:
            raise ValueError(f"timeout_seconds must be more than 0, not {timeout_seconds}.")
        receipt = self.send(body, ttl_seconds=timeout_seconds if ttl_seconds is None else ttl_seconds)
        reply: bytes | None = None
        with trio.move_on_after(timeout_seconds):
            reply = await (self._reply_unless_away(receipt) if unless_away else receipt.reply())
        if reply is None:
            why = receipt.why or self.problem or "no reply came in time"
            raise NotDelivered(f"No reply: {why}.", receipt.status, why)
        return reply

    async def _reply_unless_away(self, receipt: Receipt) -> bytes | None:
        reply: bytes | None = None
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def until_away() -> None:
                while receipt.is_final or not self._visitor.away:
                    await self._visitor.changed()
                nursery.cancel_scope.cancel()

            reply = await receipt.reply()
            nursery.cancel_scope.cancel()
        if reply is None and self._visitor.away and not receipt.is_final:
            raise Away(f"No reply: {self.problem}.", receipt.status, self.problem)
        return reply

    @property
    def problem(self) -> str:
        """What stands in the way of delivery right now, in words; empty when nothing does."""
        return self._visitor.problem

    def _meeting_kinds(self) -> tuple[PathKind, ...]:
        hops = self._privacy.hops if self._hops is None else (self._hops,)
        return tuple(meeting_kind(each, self._privacy.number) for each in hops)

    async def _run(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            with scope:
                await self._visitor.run(task_status.started)
        finally:
            self.close()
