"""A hidden endpoint: hosted by a node, reached by its address alone (SPEC 10, 11, 13).

This is what a program sees of it; `hosting/hosting.py` holds what works behind it.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import trio

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
    """One whisper as the program gets it.

    Finished by `reply`, by `done`, or by asking the iteration for the next one. One that the program lets go
    unfinished, because it raised or left the loop, is shown again, and so it is after a restart, under the
    same id and after those that were never shown: from disk once it was acknowledged, which waits 20 ms for a
    program that is quick, and else because its visitor brings it again.
    """

    __slots__ = ("__weakref__", "_finished", "_hosting", "_shown", "_taken")

    def __init__(self, hosting: Hosting, taken: Taken, shown: int) -> None:
        self._hosting = hosting
        self._taken = taken
        self._shown = shown
        self._finished = False

    def __del__(self) -> None:
        if not self._finished:
            self._hosting.let_go(self._taken.whisper_id)

    @property
    def id(self) -> str:
        """32 hex digits, the same each time it is shown."""
        return self._taken.whisper_id.hex()

    @property
    def body(self) -> bytes:
        """What its sender wrote, at most 65 535 bytes."""
        return self._taken.body

    @property
    def received_at(self) -> float:
        """When it came, Unix seconds."""
        return self._taken.received_at

    @property
    def expires_at(self) -> int:
        """Until when its sender may still wait, Unix seconds. One whose sender has its receipt is shown
        later, too."""
        return self._taken.expires

    @property
    def shown(self) -> int:
        """How often it was shown, this time included."""
        return self._shown

    def __repr__(self) -> str:
        return f"<Whisper of {len(self.body)} bytes>"

    async def reply(self, body: bytes) -> Receipt:
        """Answer with at most 65 535 bytes and finish; the reply is on disk when this returns.

        It goes out on the circuit the whisper came on, or when the visitor asks again; the receipt tells
        what becomes of it. Raises TooLarge, Closed (also when this whisper was finished before).
        """
        check_body(body)
        if self._finished:
            raise Closed("This whisper is finished already.")
        self._finished = True
        try:
            return await self._hosting.reply(self._taken, body)
        except BaseException:
            self._finished = False  # nothing of it is on disk: cancelled before that, or closed
            raise

    async def done(self) -> None:
        """Finish without an answer: the whisper is erased from disk. Once is enough, twice is harmless."""
        if not self._finished:
            self._finished = True
            try:
                await self._hosting.finish(self._taken.whisper_id)
            except BaseException:
                self._finished = False
                raise


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    """`introducers` that stand; `visitors`: joined circuits; `unfinished`: whispers the program has still to
    finish with, and of these `given_up`; `replies_waiting` for their visitors; `why`: a sentence when not
    reachable."""

    reachable: bool
    why: str
    introducers: int
    visitors: int
    unfinished: int
    given_up: int
    replies_waiting: int


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
    """Made by `Node.host`; use it as an async context manager, and iterate over its whispers.

    Several tasks may iterate at once: each whisper goes to one of them.
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
        """Wait until the endpoint has tested that a stranger can reach it."""
        await self._running().parts.reachability.reachable()

    @property
    def reachability(self) -> Reachability:
        """What the last tests said."""
        return self._running().parts.reachability.state

    @property
    def waiting(self) -> tuple[int, int]:
        """How many whispers are unfinished, and how many replies wait for their visitors."""
        receiver = self._running().parts.delivery.receiver
        return receiver.unfinished, receiver.replies

    def reachability_changes(self) -> ReachabilityChanges:
        """`async for` every gain and loss of reachability from now on, a present gain included."""
        return ReachabilityChanges(self._running().parts.reachability)

    def __aiter__(self) -> _Iteration:
        return _Iteration(self._running())

    async def serve(self, handler: Callable[[Whisper], Awaitable[bytes | None]], *, at_once: int = 8) -> None:
        """Handle whispers until the endpoint closes, `at_once` at a time. `handler(whisper)` returns the
        reply, or None for none.

        A handler that raises affects its whisper alone: the error is logged, and the whisper is shown again
        after 1 s, 2, 4 … up to 5 min, later than those never shown. So it is when the disk takes no reply.
        """
        if at_once < 1:
            raise ValueError(f"at_once must be 1 or more, not {at_once}.")
        hosting = self._running()
        places = trio.Semaphore(at_once)

        async def one(whisper: Whisper) -> None:
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

        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                found = await hosting.next()
                if found is None:
                    break
                nursery.start_soon(one, Whisper(hosting, *found))
            nursery.cancel_scope.cancel()

    async def given_up(self) -> list[Whisper]:
        """The whispers that were shown `give_up_after` times and never finished, oldest first. They are not
        shown again by themselves. Each has its place in the inbox until it is finished, by `done` or `reply`;
        one that is let go unfinished is in the next list again."""
        hosting = self._running()
        return [Whisper(hosting, *one) for one in await hosting.parts.delivery.given_up()]

    def status(self) -> EndpointStatus:
        """Numbers of this moment."""
        parts = self._running().parts
        state, receiver = parts.reachability.state, parts.delivery.receiver
        return EndpointStatus(
            reachable=state.reachable,
            why=state.why,
            introducers=state.introducers,
            visitors=receiver.lanes,
            unfinished=receiver.unfinished,
            given_up=receiver.given_up,
            replies_waiting=receiver.replies,
        )

    def _running(self) -> Hosting:
        if self._hosting is None or self._hosting.over:
            raise Closed("This endpoint is not open.")
        return self._hosting
