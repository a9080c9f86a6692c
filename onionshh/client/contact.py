"""A contact: a peer known by its address, and the whispers sent to it (SPEC 13)."""

from __future__ import annotations

import math

import trio

from onionshh.client.arguments import check_timeout
from onionshh.client.context import Context
from onionshh.client.correspondence import Correspondence, Terms
from onionshh.client.pool import IDLE_CIRCUITS, STUBS
from onionshh.client.receipt import Receipt
from onionshh.core.circuit.purpose import PathKind, Purpose, meeting_kind
from onionshh.core.delivery.record import (
    TTL_DEFAULT_SECONDS,
    TTL_MOST_SECONDS,
    check_body,
    check_ttl,
    new_whisper,
)
from onionshh.core.delivery.sender import WAITING_MOST, TooMany
from onionshh.errors import Away, Closed, Full, NotDelivered


class Contact:
    """A peer known by its address alone (SPEC 13). Made by `Node.contact`; enter it once, with `async with`.

    Any number of tasks may use one contact at once. Its whispers share a circuit while there is one; nothing
    links the circuits of one contact to those of another. Leaving the block closes the contact, and a whisper
    without a receipt fails then: wait for `Receipt.final` where that matters.

    - `address: str`. The endpoint's address, as it is written by itself.

    ```python
    import onionshh


    async def main(node: onionshh.Node, address: str) -> None:
        async with node.contact(address) as contact:
            print(await contact.ask(b"hello"))  # b'HELLO'
            receipt = await contact.whisper(b"no answer needed")
            print(receipt.status)  # delivered
            print(contact.address == address)  # True
    ```
    """

    def __init__(self, context: Context, address: str, terms: Terms) -> None:
        self._address = address
        self._context = context
        self._terms = terms
        self._correspondence = Correspondence(context, terms)
        self._scope: trio.CancelScope | None = None
        self._open = False
        """Whether it delivers by now: what is sent before would wait for nobody."""
        self._closed = False

    @property
    def address(self) -> str:
        """The endpoint that this leads to."""
        return self._address

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
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Stop now, before the block ends. Whispers without a receipt fail; calling it twice does no harm.

        ```python
        import onionshh


        async def main(node: onionshh.Node, address: str) -> None:
            async with node.contact(address) as contact:
                receipt = contact.send(b"hello")
                contact.close()
                print(receipt.status, receipt.why)  # failed the contact was closed before a receipt came
                try:
                    contact.send(b"once more")
                except onionshh.Closed as error:
                    print(error)  # This contact is not open.
        ```
        """
        if self._closed:
            return
        self._closed = True
        self._correspondence.sending.close("the contact was closed before a receipt came")
        if self._scope is None:
            return  # it was never entered, and asked the pool for nothing
        self._scope.cancel()
        for kind in self._meeting_kinds():
            self._context.pool.leave(kind, idle=IDLE_CIRCUITS)
        self._context.pool.leave(self._context.builder.kind(Purpose.INTRODUCE), stubs=STUBS)

    def send(self, body: bytes, *, ttl_seconds: float = TTL_DEFAULT_SECONDS) -> Receipt:
        """Take on a whisper of at most 65 535 bytes and return at once; its `Receipt` follows what becomes of
        it.

        - `ttl_seconds`: until when it may be delivered, more than 0 and at most 604 800 (7 days). While
          nobody is found at the address, the whisper waits; when its TTL ends without a receipt, it has
          expired.

        Raises Full while 1 024 whispers of this contact have no receipt, TooLarge, ValueError for a TTL out
        of range, TypeError when the body is not bytes, Closed.

        ```python
        import onionshh


        async def main(node: onionshh.Node, address: str) -> None:
            async with node.contact(address) as contact:
                receipts = []
                try:
                    while True:
                        receipts.append(contact.send(b"hello", ttl_seconds=3600))
                except onionshh.Full as error:
                    print(error)  # 1024 whispers to this contact wait already; …
                print(len(receipts), receipts[0].status)  # 1024 queued
                print((await receipts[0].final()).status)  # delivered
        ```
        """
        check_body(body)
        check_ttl(ttl_seconds)
        if self._closed or not self._open:
            raise Closed("This contact is not open.")
        clock = self._context.clock
        record = new_whisper(
            body,
            expires=clock.best() + math.ceil(ttl_seconds),
            privacy_class=self._terms.privacy.number,
            random_bytes=self._context.chance.bytes,
        )
        try:
            return self._correspondence.sending.submit(record, clock.monotonic() + ttl_seconds)
        except TooMany:
            raise Full(
                f"{WAITING_MOST} whispers to this contact wait already; send more once some have a receipt."
            ) from None

    async def whisper(self, body: bytes, *, ttl_seconds: float = TTL_DEFAULT_SECONDS) -> Receipt:
        """As `send`, and wait until the status is final. Nothing is raised for a whisper that is not
        delivered: look at the receipt. If you cancel the wait, the whisper stays on its way.

        Raises what `send` raises.
        """
        return await self.send(body, ttl_seconds=ttl_seconds).final()

    async def put(self, body: bytes, *, ttl_seconds: float = TTL_DEFAULT_SECONDS) -> Receipt:
        """As `send`, but where `send` raises Full this waits for room. Raises TooLarge, ValueError,
        TypeError, Closed.

        ```python
        import onionshh


        async def main(node: onionshh.Node, address: str) -> None:
            async with node.contact(address) as contact:
                receipts = [await contact.put(b"line %d" % number) for number in range(1100)]
                await receipts[-1].final()
                print(len(receipts))  # 1100
        ```
        """
        await trio.lowlevel.checkpoint()
        while True:
            try:
                return self.send(body, ttl_seconds=ttl_seconds)
            except Full:
                await self._correspondence.sending.changed()

    async def ask(
        self,
        body: bytes,
        *,
        timeout_seconds: float = 30.0,
        ttl_seconds: float | None = None,
        unless_away: bool = False,
    ) -> bytes:
        """Send a whisper, wait for the endpoint's reply to it, and return the reply.

        - `timeout_seconds`: how long to wait for the reply, more than 0.
        - `ttl_seconds`: until when the whisper may be delivered, as in `send`. With None it is the timeout,
          which then is at most 7 days.
        - `unless_away`: raise Away as soon as nobody is found at the address, rather than at the timeout.

        Raises NotDelivered when no reply comes in time; its `status` and `why` say what is known of the
        whisper, which may have been delivered. Raises Away, Full, TooLarge, ValueError, TypeError and Closed
        besides.

        ```python
        import onionshh


        async def main(node: onionshh.Node) -> None:
            nobody = onionshh.Identity.generate().address
            async with node.contact(nobody) as contact:
                try:
                    await contact.ask(b"hello", timeout_seconds=300, unless_away=True)
                except onionshh.Away as error:
                    print(error)  # No reply: no endpoint is published …
                    print(error.status)  # queued
                print(contact.problem)  # no endpoint is published …
        ```
        """
        check_timeout("timeout_seconds", timeout_seconds)
        if ttl_seconds is None:
            ttl_seconds = min(timeout_seconds, TTL_MOST_SECONDS)
        receipt = self.send(body, ttl_seconds=ttl_seconds)
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
                while receipt.is_final or not self._correspondence.sending.sender.away:
                    await self._correspondence.sending.changed()
                nursery.cancel_scope.cancel()

            reply = await receipt.reply()
            nursery.cancel_scope.cancel()
        if reply is None and self._correspondence.sending.sender.away and not receipt.is_final:
            raise Away(f"No reply: {self.problem}.", receipt.status, self.problem)
        return reply

    @property
    def problem(self) -> str:
        """What stands in the way of delivery right now, in words. Empty when nothing does."""
        return self._correspondence.sending.sender.problem

    def _meeting_kinds(self) -> tuple[PathKind, ...]:
        hops = self._terms.privacy.hops if self._terms.hops is None else (self._terms.hops,)
        return tuple(meeting_kind(count, self._terms.privacy.number) for count in hops)

    async def _run(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            with scope:
                await self._correspondence.run(task_status.started)
        finally:
            self.close()
