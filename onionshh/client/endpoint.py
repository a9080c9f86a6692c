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
from onionshh.client.incoming import TransferIteration
from onionshh.client.peer import Peer
from onionshh.client.whisper import Iteration, Whisper
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import Closed

logger = logging.getLogger("onionshh.client")

HANDLED_AGAIN_MOST_SECONDS = 300.0


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
    transfers: int
    """How many transfers the program has not finished yet, those that still come included."""
    effort: int
    """How much work strangers must prove before they are let in, in tries on average. 0: none."""
    inbox_crowded: bool
    """Whether its inbox at the relays was found half full within a day. False without an inbox."""


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
        self,
        context: Context,
        identity: IdentityKeys,
        introducers: int,
        give_up_after: int | None,
        *,
        receipts: bool = True,
        senders: bool = False,
        inbox: bool = True,
    ) -> None:
        self._context = context
        self._identity = identity
        self._introducers = introducers
        self._give_up_after = give_up_after
        self._receipts = receipts
        self._senders = senders
        self._inbox = inbox
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
            self._context,
            self._identity,
            self._introducers,
            self._give_up_after,
            receipts=self._receipts,
            senders=self._senders,
            inbox=self._inbox,
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

    def peers(self) -> list[Peer]:
        """The visitors that this endpoint knows by their sessions, the one heard of last coming first. There
        are at most 1 024 of them, and 8 192 over all endpoints of a node.

        Raises Closed when the endpoint is not open.
        """
        return self._running().peers()

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

    def __aiter__(self) -> Iteration:
        return Iteration(self._running())

    def transfers(self) -> TransferIteration:
        """`async for` over the transfers that come, each an `IncomingTransfer`, until the endpoint is closed.
        Asking for the next one finishes the one before. Several tasks may iterate at once: each transfer goes
        to one of them.

        At most 1 024 transfers and 64 MiB wait here to be finished, on disk, also while nobody iterates.
        While there is no more room, transfers wait with their senders.

        Raises ValueError for an endpoint without receipts, since a transfer needs them, and Closed when the
        endpoint is not open.

        ```python
        import onionshh


        async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
            async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
                sent = [contact.transfer(bytes(size)) for size in (10, 100_000)]
                sizes = []
                async for incoming in endpoint.transfers():
                    sizes.append(sum([len(piece) async for piece in incoming]))
                    if len(sizes) == 2:
                        break
                print(sorted(sizes))  # [10, 100000]
                print([(await transfer.final()).status for transfer in sent])  # ['delivered', 'delivered']
        ```
        """
        hosting = self._running()
        if not self._receipts:
            raise ValueError("A transfer needs receipts, and this endpoint sends none (receipts=False).")
        return TransferIteration(hosting.parts.peers.transfers, hosting.peer_with)

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
            transfers=parts.peers.transfers.machine.unfinished,
            effort=parts.introducers.effort,
            inbox_crowded=parts.inbox is not None and parts.inbox.crowded,
        )

    def _running(self) -> Hosting:
        if self._hosting is None or self._hosting.over:
            raise Closed("This endpoint is not open.")
        return self._hosting
