"""A contact: a peer known by its address, and the whispers sent to it (SPEC 13)."""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from onionshh.client.arguments import check_key, check_timeout
from onionshh.client.context import Context
from onionshh.client.correspondence import Correspondence, Terms
from onionshh.client.delivery.outbox import KEY_MOST
from onionshh.client.delivery.transferring import Source
from onionshh.client.pool import IDLE_CIRCUITS, STUBS
from onionshh.client.receipt import Receipt
from onionshh.client.session.info import SessionInfo
from onionshh.client.transfer import Transfer
from onionshh.client.whisper import Iteration
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
from onionshh.ids import WhisperId

TRANSFER_TTL_SECONDS: Final = 3600


class Contact:
    """A peer known by its address alone (SPEC 13). Made by `Node.contact`; enter it once, with `async with`.

    Any number of tasks may use one contact at once. Its whispers share a circuit while there is one; nothing
    links the circuits of one contact to those of another. Leaving the block closes the contact, and a whisper
    without a receipt fails then: wait for `Receipt.final` where that matters.

    After its first whisper a contact goes on with a session. A conversation that pauses then holds no
    circuit, and goes on with one cell. The endpoint can tell that the same contact came back. With
    `session=False` each new circuit is a new stranger's.

    A contact with a name has an outbox on disk: what it accepted goes on when a contact to the same address
    is entered under the same name, also after a crash; in order, each whisper once, until its TTL ends. The
    receipts are found again by their ids, and the session goes on. Without a name nothing of a contact is on
    disk, and it ends with its block.

    A whisper with a TTL of more than 600 s waits for an endpoint that is away: two tries or half a minute
    without a receipt, and it is left as a letter with four relays of the endpoint's inbox. Its status is then
    `stored` (`Receipt.stored`), and your program may end: the endpoint gets the whisper when it returns.
    While the contact is open, its receipt and the reply are looked for every ten minutes or so, and the
    whisper also goes out live. At a contact with a name this goes on when it is entered again. One without a
    name ends its receipt as `failed`: stored, but nobody waits for the receipt any more. Leaving a letter
    takes work, from seconds to a minute of one processor, by TTL and size (`Receipt.proof_seconds`). A letter
    does not show a sender.

    With a way back, this node holds two circuits, each for 2 to 4 hours, by which the endpoint can speak
    first while you say nothing. The two relays at their ends see that somebody is there, under a key made for
    this session alone. A whisper of at most 256 bytes then costs one circuit and one cell.

    A sender shows the endpoint who you are: an address, which the endpoint can check, and which it can prove
    to nobody else. The endpoint must ask for that (`host(senders=True)`). Each first whisper then takes one
    round trip more.

    - `address: str`. The endpoint's address, as it is written by itself.

    ```python
    import onionshh


    async def main(node: onionshh.Node, address: str) -> None:
        async with node.contact(address) as contact:
            print(await contact.ask(b"hello"))  # b'HELLO'
            receipt = await contact.whisper(b"no answer needed")
            print(receipt.status)  # delivered
            print(contact.address == address)  # True
            print(contact.session.exchanges, contact.session.resumed)  # 1 0
    ```

    A name, and what it is for:

    ```python
    import onionshh


    async def main(node: onionshh.Node, address: str) -> None:
        async with node.contact(address, name="press") as contact:
            first = contact.send(b"first", ttl_seconds=3600)
            try:
                async with node.contact(address, name="press"):
                    pass
            except onionshh.DataInUse as error:
                print(error)  # A contact of this name to this address is open already, …
        print(first.status, first.why)  # failed the contact was closed; the whisper goes out when it …
        async with node.contact(address, name="press") as contact:
            again = contact.receipt(first.id)
            print((await again.final()).status)  # delivered
            print(await again.reply())  # b'FIRST'
    ```

    `async for whisper in contact` shows what the endpoint says first, and late replies, one `Whisper` after
    the other, until the contact is closed. Asking for the next one finishes the one before. The endpoint can
    speak first while this contact has a circuit open to it, and with a way back at any time. At most 1 024
    whispers and 16 MiB wait here to be finished. What does not fit stays with the endpoint. A contact without
    a name hears nothing before the first iteration, unless it has a way back. A contact with a name also
    shows the replies that came before that and that nobody has seen. Iterating raises ValueError with
    `session=False`, Closed when the contact is not open.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint:
            async with visitor.contact(endpoint.address, name="press") as contact:
                question = contact.send(b"is there any news?")
                async for whisper in endpoint:
                    await whisper.reply(b"there is")
                    break
                await question.final()
                async for whisper in contact:
                    print(whisper.body, whisper.in_reply_to == question.id)  # b'there is' True
                    break
    ```

    A program that may be started twice for one order, and sends it once:

    ```python
    import onionshh


    async def main(node: onionshh.Node, address: str) -> None:
        for start in (1, 2):
            async with node.contact(address, name="orders") as contact:
                receipt = contact.send(b"a lamp", key=b"order 17")
                await receipt.final()
                print(start, receipt.status)  # … delivered
                try:
                    contact.send(b"two lamps", key=b"order 17")
                except ValueError as error:
                    print(error)  # A whisper with another body was sent with this key; …
                quiet = await contact.whisper(b"no need to say so", receipt=False)
                print(quiet.status)  # sent
    ```
    """

    _what = "contact"
    _full = f"{WAITING_MOST} whispers to this contact wait already; send more once some have a receipt."

    def __init__(self, context: Context, address: str, terms: Terms, name: str | None = None) -> None:
        self._address = address
        self._context = context
        self._terms = terms
        self._name = name
        self._correspondence: Correspondence | None = None
        self._scope: trio.CancelScope | None = None
        self._open = False
        """Whether it delivers by now: what is sent before would wait for nobody."""
        self._closed = False
        self._ended = trio.Event()

    @property
    def address(self) -> str:
        """The endpoint that this leads to."""
        return self._address

    async def __aenter__(self) -> Contact:
        if self._scope is not None:
            raise Closed(f"A {self._what} is entered once.")
        await trio.lowlevel.checkpoint()
        self._context.check_open()
        if self._closed:
            raise Closed(f"This {self._what} was closed.")
        self._scope = trio.CancelScope()
        for kind in self._meeting_kinds():
            self._context.pool.use(kind, idle=IDLE_CIRCUITS)
        for kind in self._asking_kinds():
            self._context.pool.use(kind, stubs=STUBS)
        try:
            await self._context.nursery.start(self._run, self._scope)
        except BaseException:
            self.close()
            raise
        self._open = True
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()
        if self._name is not None:
            with trio.CancelScope(shield=True):  # once the block has ended, the name is free
                await self._ended.wait()

    def close(self) -> None:
        """Stop now, before the block ends. Whispers without a receipt fail, and those of a contact with a
        name go on when it is entered again. Calling this twice does no harm.

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
        if self._correspondence is not None:
            self._correspondence.close()
        if self._scope is None:
            return  # it was never entered, and asked the pool for nothing
        self._scope.cancel()
        for kind in self._meeting_kinds():
            self._context.pool.leave(kind, idle=IDLE_CIRCUITS)
        for kind in self._asking_kinds():
            self._context.pool.leave(kind, stubs=STUBS)

    def send(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """Take on a whisper of at most 65 535 bytes and return at once; its `Receipt` follows what becomes of
        it. At a contact with a name, the whisper is on disk when this returns.

        - `ttl_seconds`: until when it may be delivered, more than 0 and at most 604 800 (7 days). While
          nobody is found at the address, the whisper waits, with more than 600 s also at relays; when its TTL
          ends without a receipt, it has expired.
        - `receipt`: whether the endpoint should say that it has the whisper. With False the status `sent` is
          final, and the whisper is not sent a second time if it is lost.
        - `key`: 1 to 64 bytes that name this whisper for your program. The same key with the same body is
          the same whisper, so you get the receipt that there is. A contact with a name knows its keys as long
          as its receipts: until 7 days after the TTL, the last 8 192. Another contact knows them until it is
          closed.

        Raises Full while 1 024 whispers of this contact have no receipt, TooLarge, ValueError for a TTL out
        of range, for a wrong key, or for a key that was used with another body, TypeError when the body is
        not bytes, BadData when the disk takes nothing, Closed.

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
        if key is not None:
            check_key("key", key, KEY_MOST)
        sending = self._working().sending
        clock = self._context.clock
        record = new_whisper(
            body,
            expires=clock.best() + math.ceil(ttl_seconds),
            privacy_class=self._terms.privacy.number,
            random_bytes=self._context.chance.bytes,
            receipt_wanted=receipt,
        )
        try:
            return sending.accept(record, clock.monotonic() + ttl_seconds, key)
        except TooMany:
            raise Full(self._full) from None

    async def whisper(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """As `send`, and wait until the status is final. Nothing is raised for a whisper that is not
        delivered: look at the receipt. If you cancel the wait, the whisper stays on its way.

        Raises what `send` raises.
        """
        return await self.send(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key).final()

    async def put(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """As `send`, but where `send` raises Full this waits for room. Raises TooLarge, ValueError,
        TypeError, BadData, Closed.

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
                return self.send(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key)
            except Full:
                await self._working().sending.changed()

    async def ask(
        self,
        body: bytes,
        *,
        timeout_seconds: float = 30.0,
        ttl_seconds: float | None = None,
        unless_away: bool = False,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> bytes:
        """Send a whisper, wait for the endpoint's reply to it, and return the reply.

        - `timeout_seconds`: how long to wait for the reply, more than 0.
        - `ttl_seconds`: until when the whisper may be delivered, as in `send`. With None it is the timeout,
          which then is at most 7 days.
        - `unless_away`: raise Away as soon as nobody is found at the address, rather than at the timeout.
        - `receipt`, `key`: as in `send`. With the key of a question that was answered, this returns the same
          reply.

        Raises NotDelivered when no reply comes in time; its `status` and `why` say what is known of the
        whisper, which may have been delivered. Raises Away and what `send` raises besides.

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
        asked = self.send(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key)
        reply: bytes | None = None
        with trio.move_on_after(timeout_seconds):
            reply = await (self._reply_unless_away(asked) if unless_away else asked.reply())
        if reply is None:
            why = asked.why or self.problem or "no reply came in time"
            raise NotDelivered(f"No reply: {why}.", asked.status, why)
        return reply

    def transfer(
        self, source: Source, *, size: int | None = None, ttl_seconds: float = TRANSFER_TTL_SECONDS
    ) -> Transfer:
        r"""Send up to 8 MiB in parts, and return at once; the `Transfer` follows what becomes of it.
        Transfers are not for bulk: every byte passes up to seven relays.

        - `source`: bytes, or an async iterable of bytes, which is asked for more as parts arrive.
        - `size`: how many bytes the source gives, if you know it. Giving more or less is a failure then.
        - `ttl_seconds`: until when all of it must have arrived, more than 0 and at most 604 800 (7 days).

        The transfer fails when the source raises an error or gives more than 8 MiB, when it is cancelled, and
        when the contact is closed, also one with a name. 16 transfers may be on their way at a time.

        Raises TooLarge for more than 8 MiB, Full, ValueError for a size or TTL that cannot be, or when the
        endpoint is known to send no receipts, TypeError, Closed.

        ```python
        import onionshh
        from collections.abc import AsyncIterator


        async def lines() -> AsyncIterator[bytes]:
            for number in range(3):
                yield b"line %d\n" % number


        async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
            async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
                transfer = contact.transfer(lines(), ttl_seconds=600)
                async for incoming in endpoint.transfers():
                    print(await incoming.whole())  # b'line 0\nline 1\nline 2\n'
                    break
                print((await transfer.final()).status)  # delivered
                try:
                    contact.transfer(bytes(9_000_000))
                except onionshh.TooLarge as error:
                    print(error)  # A transfer holds at most 8388608 bytes (8 MiB), and this one has …
        ```
        """
        check_ttl(ttl_seconds)
        if isinstance(source, bytes):
            if size not in (None, len(source)):
                raise ValueError(f"The size is said to be {size}, and there are {len(source)} bytes.")
            size = len(source)
        elif not isinstance(source, AsyncIterable):
            raise TypeError(f"A source is bytes or an async iterable of bytes, not {type(source).__name__}.")
        return self._working().transfer(source, size, ttl_seconds)

    def __aiter__(self) -> Iteration:
        """What the endpoint says first, and late replies. ValueError without a session, Closed when the
        contact is not open."""
        return Iteration(self._working().listen())

    async def _reply_unless_away(self, receipt: Receipt) -> bytes | None:
        sending = self._working().sending
        reply: bytes | None = None
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def until_away() -> None:
                while receipt.is_final or not sending.sender.away:
                    await sending.changed()
                nursery.cancel_scope.cancel()

            reply = await receipt.reply()
            nursery.cancel_scope.cancel()
        if reply is None and sending.sender.away and not receipt.is_final:
            raise Away(f"No reply: {self.problem}.", receipt.status, self.problem)
        return reply

    def pending(self) -> list[Receipt]:
        """The receipts that are not final yet, in the order in which the whispers were sent. At a contact
        with a name, those of earlier runs are among them.

        ```python
        import onionshh


        async def main(node: onionshh.Node, address: str) -> None:
            async with node.contact(address, name="press") as contact:
                contact.send(b"first")
                contact.send(b"second")
            async with node.contact(address, name="press") as contact:
                print(len(contact.pending()))  # 2
                for receipt in contact.pending():
                    print((await receipt.final()).status)  # delivered
                print(contact.pending())  # []
        ```
        """
        return [] if self._correspondence is None else self._correspondence.sending.pending()

    def receipt(self, id: str) -> Receipt | None:
        """The receipt of a whisper that was sent here; None if there is none with this id. At a contact with
        a name, those of earlier runs are found as well: until 7 days after the TTL, the last 8 192.

        - `id`: as `Receipt.id` shows it.

        A receipt of an earlier run does not know paths and times. It has the reply until the whisper's TTL
        ends, and one that the program never got until 7 days later.

        Raises TypeError when the id is not text, BadData when the disk cannot be read, Closed.
        """
        if not isinstance(id, str):
            raise TypeError(f"An id is text, not {type(id).__name__}.")
        try:
            whisper_id = WhisperId(bytes.fromhex(id))
        except ValueError:
            return None
        return self._working().sending.receipt(whisper_id)

    @property
    def session(self) -> SessionInfo | None:
        """The session that this contact goes on with (SPEC 12). None before the endpoint has it, and with
        `session=False`."""
        return None if self._correspondence is None else self._correspondence.session

    @property
    def problem(self) -> str:
        """What stands in the way of delivery right now, in words. Empty when nothing does."""
        return "" if self._correspondence is None else self._correspondence.sending.sender.problem

    def _working(self) -> Correspondence:
        if self._closed or not self._open or self._correspondence is None:
            raise Closed(f"This {self._what} is not open.")
        return self._correspondence

    def _meeting_kinds(self) -> tuple[PathKind, ...]:
        hops = self._terms.privacy.hops if self._terms.hops is None else (self._terms.hops,)
        number, session = self._terms.privacy.number, self._terms.session
        return tuple(meeting_kind(count, number, of_session=session) for count in hops)

    def _asking_kinds(self) -> tuple[PathKind, ...]:
        purposes = (Purpose.INTRODUCE, Purpose.RESUME) if self._terms.session else (Purpose.INTRODUCE,)
        return tuple(self._context.builder.kind(purpose) for purpose in purposes)

    async def _run(
        self, scope: trio.CancelScope, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            with scope:
                async with self._correspondence_made() as correspondence:
                    await correspondence.load()
                    self._correspondence = correspondence
                    try:
                        await correspondence.run(task_status.started)
                    finally:
                        self.close()
            if not self._open:
                raise Closed(f"This {self._what} was closed while it was being entered.")
        finally:
            self.close()
            self._ended.set()

    @asynccontextmanager
    async def _correspondence_made(self) -> AsyncIterator[Correspondence]:
        """What works behind it, with what a contact with a name has on disk, while it is open."""
        if self._name is None:
            yield Correspondence(self._context, self._terms)
            return
        # A contact without a name needs no database.
        from onionshh.client.contact_folder import contact_folder

        async with contact_folder(self._context, self._terms.address_key, self._name) as folder:
            yield Correspondence(self._context, self._terms, folder)
