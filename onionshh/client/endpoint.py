"""A hidden endpoint: hosted by a node, reached by its address alone (SPEC 10, 11, 13).

This is what a program sees of it; `hosting/hosting.py` holds what works behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

from onionshh.client.arguments import check_whole
from onionshh.client.context import Context
from onionshh.client.hosting.hosting import Hosting, open_hosting
from onionshh.client.hosting.reachability import Reachability, ReachabilityChanges
from onionshh.client.receipt import Receipt
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import check_body
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import Closed

logger = logging.getLogger("onionshh.client")

HANDLED_AGAIN_MOST_SECONDS = 300.0


class Whisper:
    """One whisper as the program that hosts an endpoint gets it.

    A whisper is finished by `reply`, by `done`, or when the program asks the same loop for the next one. A
    whisper that the program lets go unfinished is shown again: under the same id, after those that were never
    shown, and also after a restart. It then comes from disk, or, if it was not acknowledged yet, because its
    sender brings it again. (What a program finishes within 20 ms is acknowledged at once; everything else is
    on disk first.)

    A program lets a whisper go with `let_go`. One that it forgets about is let go once nothing in the program
    refers to it any more; but a variable may, or an error whose traceback somebody keeps.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=60)
            async for whisper in endpoint:
                print(whisper.body, whisper.shown)  # b'hello' 1
                print(whisper.id == receipt.id)  # True
                print(whisper.expires_at - whisper.received_at <= 60)  # True
                break  # it is not finished
            whisper.let_go()
            async for whisper in endpoint:
                print(whisper.body, whisper.shown)  # b'hello' 2
                await whisper.done()
                break
    ```
    """

    __slots__ = ("__weakref__", "_held", "_hosting", "_shown", "_taken")

    def __init__(self, hosting: Hosting, taken: Taken, shown: int) -> None:
        self._hosting = hosting
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
    def shown(self) -> int:
        """How often it was shown, this time included."""
        return self._shown

    def __repr__(self) -> str:
        return f"<Whisper of {len(self.body)} bytes>"

    async def reply(self, body: bytes) -> Receipt:
        """Answer with at most 65 535 bytes, and finish. The reply is on disk when this returns.

        It leaves on the circuit that the whisper came on, or when the visitor asks again. The receipt tells
        what becomes of it. A reply waits until the whisper's own TTL ends, and at least 600 s.

        Raises TooLarge, TypeError when the body is not bytes, Closed when the endpoint is closed or this
        whisper was finished or let go before, OSError when the disk takes nothing. After an error the whisper
        is not finished.

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
            return await self._hosting.reply(self._taken, body)
        except BaseException:
            self._held = True  # nothing of it is on disk: it was cancelled before that, or closed
            raise

    async def done(self) -> None:
        """Finish without an answer. The whisper is erased from disk. Nothing happens if it was finished or
        let go before.

        Raises Closed when the endpoint is closed, OSError when the disk takes nothing.
        """
        if self._held:
            self._held = False
            try:
                await self._hosting.finish(self._taken.whisper_id)
            except BaseException:
                self._held = True
                raise

    def let_go(self) -> None:
        """Give it back unfinished: it is shown again, to whoever asks next. Nothing happens if it was
        finished or let go before."""
        if self._held:
            self._held = False
            self._hosting.let_go(self._taken.whisper_id)


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """The numbers of one moment: what `Endpoint.status` returns."""

    reachable: bool
    """Whether the last tests say that a stranger can reach it."""
    why: str
    """When not reachable, why, in words. Else empty."""
    introducers: int
    """How many introducers stand ready."""
    visitors: int
    """How many circuits from visitors are joined to it."""
    unfinished: int
    """How many whispers the program has not finished yet."""
    given_up: int
    """How many of these were given up."""
    replies_waiting: int
    """How many replies wait for their visitors."""


class _Iteration:
    """`async for whisper in endpoint`: asking for the next finishes the one before."""

    def __init__(self, hosting: Hosting) -> None:
        self._hosting = hosting
        self._last: Whisper | None = None

    def __aiter__(self) -> _Iteration:
        return self

    async def __anext__(self) -> Whisper:
        if self._last is not None:
            try:
                await self._last.done()
            except Closed:  # unfinished: it is shown again when the endpoint runs again
                raise StopAsyncIteration from None
            self._last = None
        found = await self._hosting.next()
        if found is None:
            raise StopAsyncIteration
        self._last = Whisper(self._hosting, *found)
        return self._last


class Endpoint:
    """A hidden endpoint (SPEC 10 to 13). Made by `Node.host`; enter it once, with `async with`.

    - `address: str`. The endpoint's address, `shh1…`. Whoever knows it can send whispers.

    `async for whisper in endpoint` shows one `Whisper` after the other, until the endpoint is closed. Asking
    for the next one finishes the one before. Several tasks may iterate at once: each whisper goes to one of
    them. `serve` does that for you.

    At most 1 024 whispers and 16 MiB wait here to be finished. While there is no more room, whispers wait
    with their senders.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
            await endpoint.reachable()
            first, second = contact.send(b"first"), contact.send(b"second")
            async for whisper in endpoint:
                receipt = await whisper.reply(whisper.body.upper())
                if whisper.body == b"second":
                    break
            print(await first.reply(), await second.reply())  # b'FIRST' b'SECOND'
            await receipt.final()
            status = endpoint.status()
            print(status.reachable, status.unfinished, status.replies_waiting)  # True 0 0
            print(endpoint.waiting)  # (0, 0)
    ```
    """

    def __init__(
        self, context: Context, identity: IdentityKeys, introducers: int, give_up_after: int | None
    ) -> None:
        self._context = context
        self._identity = identity
        self._introducers = introducers
        self._give_up_after = give_up_after
        self._hosting: Hosting | None = None

    @property
    def address(self) -> str:
        """The text that whoever is to reach this endpoint must know."""
        return self._identity.address

    async def __aenter__(self) -> Endpoint:
        if self._hosting is not None:
            raise Closed("An endpoint is entered once.")
        self._context.check_open()
        self._hosting = await open_hosting(
            self._context, self._identity, self._introducers, self._give_up_after
        )
        await self._hosting.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._hosting is not None:
            await self._hosting.aclose()

    async def reachable(self) -> None:
        """Wait until the endpoint has tested that a stranger can reach it. This waits as long as that takes.

        Raises Closed when the endpoint is not open.
        """
        await self._running().parts.reachability.reachable()

    @property
    def reachability(self) -> Reachability:
        """What the last tests said. Raises Closed when the endpoint is not open."""
        return self._running().parts.reachability.state

    @property
    def waiting(self) -> tuple[int, int]:
        """How many whispers are unfinished, and how many replies wait for their visitors. Raises Closed when
        the endpoint is not open."""
        receiver = self._running().parts.peers.receiving.receiver
        return len(receiver.inbox), len(receiver.replies)

    def reachability_changes(self) -> ReachabilityChanges:
        """`async for` over every gain and loss of reachability from now on. If the endpoint is reachable
        already, that comes first. Raises Closed when the endpoint is not open.

        ```python
        import onionshh


        async def main(node: onionshh.Node) -> None:
            async with node.host("identity", introducers=3) as endpoint:
                print(endpoint.reachability.reachable)  # False
                async for change in endpoint.reachability_changes():
                    print(change.reachable, change.why == "")  # True True
                    break
        ```
        """
        return ReachabilityChanges(self._running().parts.reachability)

    def __aiter__(self) -> _Iteration:
        return _Iteration(self._running())

    async def serve(self, handler: Callable[[Whisper], Awaitable[bytes | None]], *, at_once: int = 8) -> None:
        """Handle whispers until the endpoint closes.

        - `handler`: `await handler(whisper)` returns the reply, or None for none.
        - `at_once`: how many whispers are handled at a time, 1 or more.

        A handler that raises an error affects its own whisper alone. The error is logged, and the whisper is
        shown again after 1 s, then 2, then 4, up to 5 min, and later than those that were never shown. The
        same happens when the disk does not take the reply.

        Raises ValueError, and Closed when the endpoint is not open.

        ```python
        import onionshh
        import trio


        async def shout(whisper: onionshh.Whisper) -> bytes | None:
            if whisper.body == b"no answer needed":
                return None
            return whisper.body.upper()


        async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
            async with node.host("identity") as endpoint, trio.open_nursery() as nursery:
                nursery.start_soon(endpoint.serve, shout)
                async with visitor.contact(endpoint.address) as contact:
                    print(await contact.ask(b"hello"))  # b'HELLO'
                    print((await contact.whisper(b"no answer needed")).status)  # delivered
                nursery.cancel_scope.cancel()
        ```
        """
        check_whole("at_once", at_once, 1)
        hosting = self._running()
        places = trio.Semaphore(at_once)

        async def handle(whisper: Whisper) -> None:
            try:
                try:
                    reply = await handler(whisper)
                    await (whisper.done() if reply is None else whisper.reply(reply))
                finally:
                    places.release()
            except Closed:
                pass
            except Exception:
                logger.exception("a whisper could not be handled, and is tried again")
                await trio.sleep(min(2.0 ** min(whisper.shown - 1, 16), HANDLED_AGAIN_MOST_SECONDS))
            finally:
                whisper.let_go()

        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                found = await hosting.next()
                if found is None:
                    break
                nursery.start_soon(handle, Whisper(hosting, *found))
            nursery.cancel_scope.cancel()

    async def given_up(self) -> list[Whisper]:
        """The whispers that were shown `give_up_after` times (see `Node.host`) and never finished, oldest
        first.

        They are not shown again by themselves. Each keeps its place in the inbox until it is finished, by
        `done` or `reply`. A whisper that you let go unfinished is in the next list again.

        Raises Closed when the endpoint is not open, BadData when what is on disk cannot be read.

        ```python
        import onionshh
        import trio


        async def fail(whisper: onionshh.Whisper) -> bytes | None:
            raise RuntimeError("this cannot be handled")


        async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
            async with node.host("identity", give_up_after=2) as endpoint, trio.open_nursery() as nursery:
                nursery.start_soon(endpoint.serve, fail)
                async with visitor.contact(endpoint.address) as contact:
                    receipt = contact.send(b"hello")
                    while endpoint.status().given_up == 0:
                        await trio.sleep(1)
                    for whisper in await endpoint.given_up():
                        print(whisper.body, whisper.shown)  # b'hello' 2
                        await whisper.reply(b"sorry")
                    print(await receipt.reply())  # b'sorry'
                nursery.cancel_scope.cancel()
        ```
        """
        hosting = self._running()
        return [Whisper(hosting, *found) for found in await hosting.parts.peers.receiving.given_up()]

    def status(self) -> EndpointStatus:
        """The numbers of this moment. Raises Closed when the endpoint is not open."""
        parts = self._running().parts
        state, receiver = parts.reachability.state, parts.peers.receiving.receiver
        return EndpointStatus(
            reachable=state.reachable,
            why=state.why,
            introducers=state.introducers,
            visitors=receiver.lanes,
            unfinished=len(receiver.inbox),
            given_up=receiver.inbox.given_up,
            replies_waiting=len(receiver.replies),
        )

    def _running(self) -> Hosting:
        if self._hosting is None or self._hosting.over:
            raise Closed("This endpoint is not open.")
        return self._hosting
