"""A peer: a visitor that an endpoint knows by its session, and can speak to first (SPEC 12)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import trio

from onionshh.client.arguments import check_timeout
from onionshh.core.delivery.record import (
    TTL_DEFAULT_SECONDS,
    TTL_MOST_SECONDS,
    check_body,
    check_ttl,
    new_whisper,
)
from onionshh.core.delivery.sender import WAITING_MOST, TooMany
from onionshh.errors import Full, NotDelivered

if TYPE_CHECKING:
    from onionshh.client.hosting.peers import Peers
    from onionshh.client.receipt import Receipt
    from onionshh.core.session.session import Session


class Peer:
    """A visitor that an endpoint knows by its session. Got from `Whisper.peer` or `Endpoint.peers`.

    What you send leaves over a circuit that the visitor has open, else by its way back (see `Node.contact`).
    If neither leads anywhere and its TTL is more than 600 s, it is left with relays, where the visitor finds
    it; its status is then `stored`. Else it leaves when the visitor comes. It waits until its TTL ends. A
    visitor that introduces itself anew is another peer.

    - `id: str`. 32 hex digits, the same as long as the session lasts.
    - `since: int`. When the session began, Unix seconds.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint:
            async with visitor.contact(endpoint.address, way_back=True) as contact:
                receipt = contact.send(b"tell me when it is ready")
                async for whisper in endpoint:
                    peer = whisper.peer
                    print(len(peer.id), peer.since <= whisper.received_at)  # 32 True
                    await whisper.done()
                    break
                await receipt.final()
                told = peer.send(b"it is ready")
                async for whisper in contact:
                    print(whisper.body)  # b'it is ready'
                    await whisper.reply(b"thank you")
                    break
                print((await told.final()).status)  # delivered
                print(await told.reply())  # b'thank you'
                print([known.id == peer.id for known in endpoint.peers()])  # [True]
                await peer.keep()
                await peer.forget()
                print(endpoint.peers())  # []
    ```
    """

    __slots__ = ("_peers", "_session")

    def __init__(self, peers: Peers, session: Session) -> None:
        self._peers = peers
        self._session = session

    def __repr__(self) -> str:
        return "<Peer>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and other.id == self.id

    def __hash__(self) -> int:
        return hash(self.id)

    @property
    def id(self) -> str:
        """32 hex digits, the same as long as the session lasts."""
        return self._session.session_id.hex()

    @property
    def since(self) -> int:
        """When the session began, Unix seconds."""
        return self._session.history.started_at

    def send(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """Take on a whisper of at most 65 535 bytes, and return at once. It is on disk when this returns.

        - `ttl_seconds`: until when it may be delivered, more than 0 and at most 604 800 (7 days).
        - `receipt`: whether the visitor should say that it has the whisper. With False the status `sent` is
          final, and the whisper is not sent a second time if it is lost.
        - `key`: 1 to 64 bytes that name this whisper for your program, as in `Contact.send`.

        Raises Full while 1 024 whispers to this peer have no receipt, TooLarge, ValueError, TypeError,
        BadData when the disk takes nothing, Closed when the endpoint is closed or the peer was forgotten.
        """
        check_body(body)
        check_ttl(ttl_seconds)
        peers = self._peers
        peers.check_known(self._session)
        record = new_whisper(
            body,
            expires=peers.clock.best() + math.ceil(ttl_seconds),
            privacy_class=peers.privacy_class,
            random_bytes=peers.random_bytes,
            receipt_wanted=receipt,
        )
        try:
            return peers.speak(self._session, record, key)
        except TooMany:
            raise Full(
                f"{WAITING_MOST} whispers to this peer wait already; send more once some have a receipt."
            ) from None

    async def whisper(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """As `send`, and wait until the status is final. If you cancel the wait, the whisper stays on its
        way. Raises what `send` raises."""
        return await self.send(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key).final()

    async def ask(
        self,
        body: bytes,
        *,
        timeout_seconds: float = 30.0,
        ttl_seconds: float | None = None,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> bytes:
        """Send a whisper, wait for the visitor's reply to it, and return the reply.

        - `timeout_seconds`: how long to wait for the reply, more than 0.
        - `ttl_seconds`: until when the whisper may be delivered. With None it is the timeout, which then is
          at most 7 days.
        - `receipt`, `key`: as in `send`.

        Raises NotDelivered when no reply comes in time, and what `send` raises.
        """
        check_timeout("timeout_seconds", timeout_seconds)
        if ttl_seconds is None:
            ttl_seconds = min(timeout_seconds, TTL_MOST_SECONDS)
        asked = self.send(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key)
        reply: bytes | None = None
        with trio.move_on_after(timeout_seconds):
            reply = await asked.reply()
        if reply is None:
            why = asked.why or "no reply came in time"
            raise NotDelivered(f"No reply: {why}.", asked.status, why)
        return reply

    async def keep(self) -> None:
        """Keep this peer as long as possible: an endpoint knows 1 024 peers, and one that is kept goes last
        when there are more. It is on disk when this returns. A peer that was not heard of for 7 days is
        forgotten in any case. What it leaves beside an inbox that strangers have filled is looked for each
        hour, for 64 such peers.

        Raises Closed when the endpoint is closed or the peer was forgotten, BadData when the disk takes
        nothing.
        """
        await self._peers.keep(self._session)

    async def forget(self) -> None:
        """Erase what the endpoint knows of this peer: its session, and what waits for it. It is erased from
        disk when this returns. The visitor introduces itself anew, as a stranger, when it comes again.

        Raises Closed when the endpoint is closed, BadData when the disk takes nothing. Nothing happens if the
        peer was forgotten before.
        """
        await self._peers.forget(self._session)
