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
    """One whisper as the program that hosts an endpoint gets it.

    - `id: str`. 32 hex digits, the same that the sender's receipt has.
    - `body: bytes`. What it says, 0 to 65 535 bytes.
    - `received_at: int`. When it came, Unix seconds.
    - `expires_at: int`. Until when its sender may wait for it, Unix seconds. A whisper that was acknowledged
      before is shown later, too.
    - `shown: int`. How often it was shown, this time included.

    A whisper is finished by `reply`, by `done`, or when the program asks the same loop for the next one. A
    whisper that the program lets go unfinished is shown again: under the same id, after those that were never
    shown, and also after a restart. It then comes from disk, or, if it was not acknowledged yet, because its
    sender brings it again. (What a program finishes within 20 ms is acknowledged at once; everything else is
    on disk first.)

    Letting go means that nothing in the program refers to the whisper any more: no variable, and no error
    with a traceback that somebody keeps. After `break` the loop's variable still does, hence the `del` below.

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
            del whisper
            async for whisper in endpoint:
                print(whisper.body, whisper.shown)  # b'hello' 2
                await whisper.done()
                break
    ```
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
        """Answer with at most 65 535 bytes, and finish. The reply is on disk when this returns.

        It leaves on the circuit that the whisper came on, or when the visitor asks again. The receipt tells
        what becomes of it. A reply waits until the whisper's own TTL ends, and at least 600 s.

        Raises TooLarge, TypeError when the body is not bytes, Closed when the endpoint is closed or this
        whisper was finished before, OSError when the disk takes nothing. After an error the whisper is not
        finished.

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
        if self._finished:
            raise Closed("This whisper is finished already.")
        self._finished = True
        try:
            return await self._endpoint._reply(self._taken, body)
        except BaseException:
            self._finished = False  # nothing of it is on disk: cancelled before that, or closed
            raise

    async def done(self) -> None:
        """Finish without an answer. The whisper is erased from disk. Calling it twice does no harm.

        Raises Closed when the endpoint is closed, OSError when the disk takes nothing.
        """
        if not self._finished:
            self._finished = True
            try:
                await self._endpoint._finish(self._taken.whisper_id)
            except BaseException:
                self._finished = False
                raise


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
        for kind in (context.kinds.answering, context.kinds.asking):
            context.pool.use(kind, stubs=STUBS)
        await context.nursery.start(self._run, introducers, publication)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._scope is not None:
            self._scope.cancel()
            with trio.CancelScope(shield=True):
                await self._closed.wait()

    async def reachable(self) -> None:
        """Wait until the endpoint has tested that a stranger can reach it. This waits as long as that takes.

        Raises Closed when the endpoint is not open.
        """
        self._check_open()
        await self._reachability.reachable()

    @property
    def reachability(self) -> Reachability:
        """What the last tests said. Raises Closed when the endpoint is not open."""
        self._check_open()
        return self._reachability.state

    @property
    def waiting(self) -> tuple[int, int]:
        """How many whispers are unfinished, and how many replies wait for their visitors. Raises Closed when
        the endpoint is not open."""
        self._check_open()
        return len(self._hidden.receiver.inbox), len(self._hidden.receiver.replies)

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
        self._check_open()
        return ReachabilityChanges(self._reachability)

    def __aiter__(self) -> _Iteration:
        self._check_open()
        return _Iteration(self)

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
        self._check_open()
        return [Whisper(self, *one) for one in await self._hidden.given_up()]

    def status(self) -> EndpointStatus:
        """The numbers of this moment. Raises Closed when the endpoint is not open."""
        self._check_open()
        state, receiver = self._reachability.state, self._hidden.receiver
        return EndpointStatus(
            reachable=state.reachable,
            why=state.why,
            introducers=state.introducers,
            visitors=receiver.lanes,
            unfinished=len(receiver.inbox),
            given_up=receiver.inbox.given_up,
            replies_waiting=len(receiver.replies),
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
                    nursery.start_soon(self._follow_consensus)
                    if self._database is not None:
                        nursery.start_soon(self._database.keep_erased)
                    task_status.started()
        finally:
            for kind in (self._context.kinds.answering, self._context.kinds.asking):
                self._context.pool.leave(kind, stubs=STUBS)
            if self._database is not None:
                await self._database.aclose()
            self._stack.close()
            self._closed.set()

    async def _follow_consensus(self) -> None:
        while True:
            await self._context.keeper.changed()
            self._context.guard_file.update_layer_two(self._context.view)


def endpoint_folder(parent: Folder, identity: IdentityKeys) -> Folder:
    """Where an endpoint's database lies: named by a hash, so that a listing shows no address."""
    return parent.inside("endpoints").inside(kdf("endpoint folder", identity.A, length=8).hex())
