"""A hidden endpoint: hosted by a node, reached by its address alone (SPEC 10, 11, 13)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.hidden import Hidden
from onionshh.client.hosting.introducers import Introducers
from onionshh.client.hosting.introduction_service import IntroductionService
from onionshh.client.hosting.key_store import KEY_MIGRATIONS, KeyStore
from onionshh.client.hosting.publication import Publication
from onionshh.client.hosting.reachability import Reachability, ReachabilityChanges, ReachabilityTest
from onionshh.client.hosting.whisper_store import WHISPER_MIGRATIONS, WhisperStore
from onionshh.client.pool import STUBS
from onionshh.client.receipt import Receipt
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import TTL_DEFAULT_SECONDS, check_body, new_whisper
from onionshh.crypto.identity import IdentityKeys
from onionshh.crypto.primitives import kdf
from onionshh.errors import Closed
from onionshh.ids import WhisperId
from onionshh.net.database import Database
from onionshh.net.store import Folder

logger = logging.getLogger("onionshh.client")

DATABASE_FILE = "endpoint.db"
AGAIN_MOST_SECONDS = 300.0
_VAULT, _FIRST_INBOX = KEY_MIGRATIONS[0], WHISPER_MIGRATIONS[0]
MIGRATIONS = (_VAULT + _FIRST_INBOX, *WHISPER_MIGRATIONS[1:])
"""Of the one file that holds both. New ones go at the end, whichever of the two they are for."""


class Whisper:
    """One whisper as the program gets it. `id`: 32 hex digits; `received_at` and `expires_at`: Unix seconds;
    `shown`: how often it was shown with this time. Until `expires_at` its sender may still wait; one whose
    sender has its receipt is shown later, too.

    Finished by `reply`, by `done`, or by asking the iteration for the next one. One that the program lets go
    unfinished, because it raised or left the loop, is shown again, and so it is after a restart, under the
    same id and after those that were never shown: from disk once it was acknowledged, which waits 20 ms for a
    program that is quick, and else because its visitor brings it again.
    """

    __slots__ = (
        "__weakref__",
        "_endpoint",
        "_finished",
        "_taken",
        "body",
        "expires_at",
        "id",
        "received_at",
        "shown",
    )

    def __init__(self, endpoint: Endpoint, taken: Taken, shown: int) -> None:
        self.shown = shown
        self.id = taken.whisper_id.hex()
        self.body = taken.body
        self.received_at = taken.received_at
        self.expires_at = taken.expires
        self._taken = taken
        self._endpoint = endpoint
        self._finished = False

    def __del__(self) -> None:
        if not self._finished:
            self._endpoint._dropped(self._taken.whisper_id)

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
            return await self._endpoint._reply(self._taken, body)
        except BaseException:
            self._finished = False  # nothing of it is on disk: cancelled before that, or closed
            raise

    async def done(self) -> None:
        """Finish without an answer: the whisper is erased from disk. Once is enough, twice is harmless."""
        if not self._finished:
            self._finished = True
            try:
                await self._endpoint._finish(self._taken.whisper_id)
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

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
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
        whisper = await self._endpoint._next()
        if whisper is None:
            raise StopAsyncIteration
        self._last = whisper
        return whisper


class Endpoint:
    """Made by `Node.host`; use it as an async context manager, and iterate over its whispers.

    Several tasks may iterate at once: each whisper goes to one of them.
    """

    def __init__(
        self,
        context: Context,
        identity: IdentityKeys,
        folder: Folder,
        introducers: int,
        give_up_after: int | None = None,
    ) -> None:
        self.address = identity.address
        self._context = context
        self._identity = identity
        self._folder = folder
        self._database: Database | None = None
        self._stack = ExitStack()
        self._scope: trio.CancelScope | None = None
        self._wanted = introducers
        self._give_up_after = give_up_after
        self._closed = trio.Event()
        self._token: trio.lowlevel.TrioToken | None = None

    async def __aenter__(self) -> Endpoint:
        if self._scope is not None:
            raise Closed("An endpoint is entered once.")
        context = self._context
        context.check_open()
        self._stack.enter_context(self._folder.lock())
        try:
            path = self._folder.database(DATABASE_FILE)
            database = self._database = Database(path, MIGRATIONS, context.run_blocking)
            self._stack.callback(database.close)
            self._hidden = Hidden(context, WhisperStore(database), self._give_up_after)
            await self._hidden.load()
            self._keys = KeyStore(database, context.chance.bytes, context.params.replay_log_entries)
            await self._keys.load()
            context.check_open()
            context.guard_file.update_layer_two(context.view)
        except BaseException:
            self._stack.close()
            raise
        self._token = trio.lowlevel.current_trio_token()
        answering = IntroductionService(context, self._identity, self._keys, self._hidden.start)
        introducers = Introducers(context, self._keys, self._wanted, answering.introduced)
        publication = Publication(context, self._identity, self._keys, introducers)
        answering.log_full = publication.poke
        self._reachability = ReachabilityTest(context, self._identity, introducers, answering, publication)
        self._scope = trio.CancelScope()
        for purpose in (Purpose.ANSWER, Purpose.TEST):
            context.pool.use(context.builder.kind(purpose), stubs=STUBS)
        await context.nursery.start(self._run, introducers, publication)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._scope is not None:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._closed.wait()

    async def reachable(self) -> None:
        """Wait until the endpoint has tested that a stranger can reach it."""
        self._check_open()
        await self._reachability.reachable()

    @property
    def reachability(self) -> Reachability:
        """What the last tests said."""
        self._check_open()
        return self._reachability.state

    @property
    def waiting(self) -> tuple[int, int]:
        """How many whispers are unfinished, and how many replies wait for their visitors."""
        self._check_open()
        return self._hidden.receiver.unfinished, self._hidden.receiver.replies

    def reachability_changes(self) -> ReachabilityChanges:
        """`async for` every gain and loss of reachability from now on, a present gain included."""
        self._check_open()
        return ReachabilityChanges(self._reachability)

    def __aiter__(self) -> _Iteration:
        self._check_open()
        return _Iteration(self)

    async def serve(self, handler: Callable[[Whisper], Awaitable[bytes | None]], *, at_once: int = 8) -> None:
        """Handle whispers until the endpoint closes, `at_once` at a time. `handler(whisper)` returns the
        reply, or None for none.

        A handler that raises affects its whisper alone: the error is logged, and the whisper is shown again
        after 1 s, 2, 4 … up to 5 min, later than those never shown. So it is when the disk takes no reply.
        """
        if at_once < 1:
            raise ValueError(f"at_once must be 1 or more, not {at_once}.")
        self._check_open()
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
                await trio.sleep(min(2.0 ** min(whisper.shown - 1, 16), AGAIN_MOST_SECONDS))

        async with trio.open_nursery() as nursery:
            while True:
                await places.acquire()
                whisper = await self._next()
                if whisper is None:
                    break
                nursery.start_soon(one, whisper)
                del whisper  # else the last one would never be let go
            nursery.cancel_scope.cancel()

    async def given_up(self) -> list[Whisper]:
        """The whispers that were shown `give_up_after` times and never finished, oldest first. They are not
        shown again by themselves. Each has its place in the inbox until it is finished, by `done` or `reply`;
        one that is let go unfinished is in the next list again."""
        self._check_open()
        return [Whisper(self, *one) for one in await self._hidden.given_up()]

    def status(self) -> EndpointStatus:
        """Numbers of this moment."""
        self._check_open()
        state, receiver = self._reachability.state, self._hidden.receiver
        return EndpointStatus(
            reachable=state.reachable,
            why=state.why,
            introducers=state.introducers,
            visitors=receiver.lanes,
            unfinished=receiver.unfinished,
            given_up=receiver.given_up,
            replies_waiting=receiver.replies,
        )

    # For whispers and iterations.

    async def _next(self) -> Whisper | None:
        found = await self._hidden.next()
        return None if found is None else Whisper(self, *found)

    def _dropped(self, whisper_id: WhisperId) -> None:
        """From any thread: the program has let a whisper go, and who waits for one may have it."""
        if self._token is not None and not self._closed.is_set():
            with suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._hidden.let_go, whisper_id)

    async def _finish(self, whisper_id: WhisperId) -> None:
        self._check_open()
        await self._hidden.finish(whisper_id)

    async def _reply(self, taken: Taken, body: bytes) -> Receipt:
        self._check_open()
        record = new_whisper(
            body,
            expires=max(taken.expires, self._context.clock.best() + TTL_DEFAULT_SECONDS),
            privacy_class=taken.privacy_class,
            random_bytes=self._context.chance.bytes,
            in_reply_to=taken.whisper_id,
        )
        return await self._hidden.finish(taken.whisper_id, record)

    # Inside.

    def _check_open(self) -> None:
        if self._scope is None or self._closed.is_set():
            raise Closed("This endpoint is not open.")

    async def _run(
        self,
        introducers: Introducers,
        publication: Publication,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        scope = self._scope
        if scope is None:
            raise Closed("This endpoint is not open.")
        try:
            with scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(introducers.run)
                    nursery.start_soon(publication.run)
                    nursery.start_soon(self._reachability.run)
                    nursery.start_soon(self._hidden.run)
                    if self._database is not None:
                        nursery.start_soon(self._database.keep_erased)
                    task_status.started()
        finally:
            for purpose in (Purpose.ANSWER, Purpose.TEST):
                self._context.pool.leave(self._context.builder.kind(purpose), stubs=STUBS)
            if self._database is not None:
                await self._database.aclose()
            self._stack.close()
            self._closed.set()


def endpoint_folder(parent: Folder, identity: IdentityKeys) -> Folder:
    """Where an endpoint's database lies: named by a hash, so that a listing shows no address."""
    return parent.inside("endpoints").inside(kdf("endpoint folder", identity.A, length=8).hex())
