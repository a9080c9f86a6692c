"""One whisper as a program gets it from an endpoint or a contact, and the loop that shows them (SPEC 13)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import NO_ID, HandedOver, check_body
from onionshh.errors import Closed
from onionshh.ids import WhisperId

if TYPE_CHECKING:
    from onionshh.client.peer import Peer
    from onionshh.client.receipt import Receipt


class Holder(Protocol):
    """What works behind an endpoint or a contact, as far as the whispers that arrived are concerned."""

    async def next(self) -> tuple[Taken, int] | None:
        """The next whisper, and how often it was shown, this time included. None once it is over."""

    async def finish(self, whisper_id: WhisperId) -> None:
        """The program has finished this whisper. Closed, BadData."""

    async def reply(self, taken: Taken, body: bytes) -> Receipt:
        """The program has finished this whisper, with a reply. Closed, BadData, Full."""

    def let_go(self, whisper_id: WhisperId) -> None:
        """The program has let a whisper go, so a task that waits may have it. Any thread may call this."""

    def peer_of(self, taken: Taken) -> Peer | None:
        """Who sent it, if there is a session."""

    def sender_of(self, taken: Taken) -> str | None:
        """The address that its sender has proved to be its own, if any."""


class Whisper:
    """One whisper as a program gets it: from `async for` over an endpoint or over a contact.

    A whisper is finished by `reply`, by `done`, or when the program asks the same loop for the next one. A
    whisper that the program lets go unfinished is shown again: under the same id, after those that were never
    shown, and also after a restart. It then comes from disk, or, if it was not acknowledged yet, because its
    sender brings it again. (What a program finishes within 20 ms is acknowledged at once; everything else is
    on disk first. A contact without a name has no disk.)

    A program lets a whisper go with `let_go`. One that it forgets about is let go once nothing in the program
    refers to it any more; but a variable may, or an error whose traceback somebody keeps.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=60)
            async for whisper in endpoint:
                print(whisper.body, whisper.shown, whisper.waited)  # b'hello' 1 False
                print(whisper.id == receipt.id)  # True
                print(whisper.derive_key("demo") == receipt.derive_key("demo"))  # True
                print(whisper.expires_at - whisper.received_at <= 60)  # True
                break  # it is not finished
            whisper.let_go()
            async for whisper in endpoint:
                print(whisper.body, whisper.shown)  # b'hello' 2
                await whisper.done()
                break
    ```

    A sender that shows who it is, to an endpoint that asks for it:

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with visitor.host("mine") as me, node.host("identity", senders=True) as endpoint:
            await me.reachable()
            async with visitor.contact(endpoint.address, sender=me) as contact:
                contact.send(b"it is me")
                async for whisper in endpoint:
                    print(whisper.body, whisper.sender == me.address)  # b'it is me' True
                    break
    ```
    """

    __slots__ = ("__weakref__", "_held", "_holder", "_shown", "_taken")

    def __init__(self, holder: Holder, taken: Taken, shown: int) -> None:
        self._holder = holder
        self._taken = taken
        self._shown = shown
        self._held = True
        """Whether the program may still finish it."""

    def __del__(self) -> None:
        self.let_go()  # for a program that forgot it

    @property
    def id(self) -> str:
        """32 hex digits, the same each time it is shown, and the same that its sender's receipt has."""
        return self._taken.whisper_id.hex()

    @property
    def in_reply_to(self) -> str:
        """The id of the whisper that this one answers, as its sender says. Empty if it answers none. A reply
        is shown like this when nobody waited for it as it came."""
        answers = self._taken.in_reply_to
        return "" if answers == NO_ID else answers.hex()

    @property
    def body(self) -> bytes:
        """What it says, 0 to 65 535 bytes."""
        return self._taken.body

    @property
    def received_at(self) -> float:
        """When it came, Unix seconds."""
        return self._taken.received_at

    @property
    def expires_at(self) -> int:
        """Until when its sender may wait for it, Unix seconds. A whisper that was acknowledged before that is
        shown later, too."""
        return self._taken.expires

    @property
    def waited(self) -> bool:
        """Whether it lay in a mailbox until you were there. If a copy came over a circuit first, it did
        not."""
        return self._taken.waited

    @property
    def shown(self) -> int:
        """How often it was shown, this time included."""
        return self._shown

    @property
    def peer(self) -> Peer | None:
        """The visitor that it came from, to speak to later. None if the visitor keeps no session, if its
        session is over, and for a whisper that a contact got."""
        return self._holder.peer_of(self._taken)

    @property
    def sender(self) -> str | None:
        """The address that its sender has proved to be its own. None if it did not, if the endpoint does not
        ask (see `Node.host`), and for a whisper that a contact got.

        You can be sure of it, but you can prove it to nobody: you could have made the proof yourself.
        """
        return self._holder.sender_of(self._taken)

    def derive_key(self, purpose: str, length: int = 32) -> bytes:
        """A secret that only this end and the sender can derive, to hand over to another protocol. The
        sender's program gets the same from `Receipt.derive_key`.

        - `purpose`: what the key is for. Another purpose gives another key.
        - `length`: how many bytes, 1 to 64.

        Raises ValueError for another length, TypeError when the purpose is not text.
        """
        return HandedOver.of(self._taken.record).key(purpose, length)

    def __repr__(self) -> str:
        return f"<Whisper of {len(self.body)} bytes>"

    async def reply(self, body: bytes) -> Receipt:
        """Answer with at most 65 535 bytes, and finish. The reply is on disk when this returns (a contact
        without a name has no disk).

        An endpoint's reply leaves on the circuit that the whisper came on, else by the visitor's way back.
        Else it is left with relays for the visitor, if more than 600 s of its TTL remain, or leaves when the
        visitor comes again. The receipt tells what becomes of it. A reply waits until the whisper's own TTL
        ends, and at least 600 s.

        Raises TooLarge, TypeError when the body is not bytes, Closed when the endpoint or contact is closed
        or this whisper was finished or let go before, Full when a contact has too much to deliver, OSError
        when the disk takes nothing. After an error the whisper is not finished.

        ```python
        import onionshh


        async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
            async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
                question = contact.send(b"how many?")
                async for whisper in endpoint:
                    answer = await whisper.reply(b"seven")
                    break
                print(await question.reply())  # b'seven'
                print((await answer.final()).status)  # delivered
        ```
        """
        check_body(body)
        if not self._held:
            raise Closed("This whisper is finished already, or was let go.")
        self._held = False
        try:
            return await self._holder.reply(self._taken, body)
        except BaseException:
            self._held = True  # nothing of it is on disk: it was cancelled before that, or closed
            raise

    async def done(self) -> None:
        """Finish without an answer. The whisper is erased from disk. Nothing happens if it was finished or
        let go before.

        Raises Closed when the endpoint or contact is closed, OSError when the disk takes nothing.
        """
        if self._held:
            self._held = False
            try:
                await self._holder.finish(self._taken.whisper_id)
            except BaseException:
                self._held = True
                raise

    def let_go(self) -> None:
        """Give it back unfinished: it is shown again, to whoever asks next. Nothing happens if it was
        finished or let go before."""
        if self._held:
            self._held = False
            self._holder.let_go(self._taken.whisper_id)


class Iteration:
    """`async for` over the whispers of one holder: asking for the next finishes the one before."""

    def __init__(self, holder: Holder) -> None:
        self._holder = holder
        self._last: Whisper | None = None

    def __aiter__(self) -> Iteration:
        return self

    async def __anext__(self) -> Whisper:
        if self._last is not None:
            try:
                await self._last.done()
            except Closed:  # unfinished: it is shown again when the holder runs again
                raise StopAsyncIteration from None
            self._last = None
        found = await self._holder.next()
        if found is None:
            raise StopAsyncIteration
        self._last = Whisper(self._holder, *found)
        return self._last
