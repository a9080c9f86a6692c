"""How two who share a secret find each other: hellos and answers on a board of their own (SPEC 14).

| what lies there                      | what is done                                              |
|--------------------------------------|-----------------------------------------------------------|
| nothing of ours                      | our hello, for an hour, extended while the meeting is open |
| a hello of a lower instance          | answered once; a session begins                           |
| a hello of a higher instance         | it answers ours                                           |
| an answer to our hello               | a session begins, whoever wrote it                        |
| anything else                        | counted                                                   |

Several sessions may begin: the other side was restarted, or somebody else knows the secret, too. The last one
in which the other side has shown itself is in use.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from onionshh.client.board.posting import Posting
from onionshh.client.board.working import WorkingBoard
from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail.leaving import TooMuchMail
from onionshh.client.meeting.store import MeetingStore, Oneself
from onionshh.core.base.buckets import TokenBucket
from onionshh.core.meeting.hello import (
    HELLO,
    INSTANCE,
    Agreed,
    Hello,
    agreed_untrusted,
    answer_untrusted,
    answers,
    is_answer_to,
)
from onionshh.core.session.session import Session
from onionshh.crypto.refresh import SEED, Offer
from onionshh.errors import BadData, Closed, Error, NoDirectory, ProtocolError
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

HELLO_SECONDS: Final = 3600
EXTEND_SECONDS: Final = 1800.0
OTHERS_AN_HOUR: Final = 16
REMEMBERED_SECONDS: Final = 7 * 86_400
"""How long it is known whom we answered. A hello may lie there as long."""
AGAIN_SECONDS: Final = 30.0


class Finding:
    """`load` it, then `run` it. `begun`: keeps a session, and shows the other side that we have it."""

    def __init__(
        self,
        context: Context,
        secret: bytes,
        store: MeetingStore,
        board: WorkingBoard,
        begun: Callable[[Session], Awaitable[None]],
    ) -> None:
        self._context = context
        self._secret = secret
        self._store = store
        self._board = board
        self._begun = begun
        self._answered: set[bytes] = set()
        self._others: dict[bytes, float] = {}
        """When each other instance was seen last: monotonic seconds."""
        self._bucket = TokenBucket(OTHERS_AN_HOUR / 3600, OTHERS_AN_HOUR)
        self._hello: Hello | None = None
        self._offer: Offer | None = None

    @property
    def others(self) -> int:
        """How many other instances were seen in the last hour."""
        since = self._context.clock.monotonic() - HELLO_SECONDS
        return sum(seen > since for seen in self._others.values())

    async def load(self) -> None:
        """Take up who we were, or become someone new. BadData, Closed."""
        oneself = await self._store.load()
        if oneself is None:
            random_bytes = self._context.chance.bytes
            oneself = Oneself(random_bytes(INSTANCE), random_bytes(SEED))
            await self._store.keep(oneself)
        self._answered = await self._store.answered(self._context.clock.earliest())
        self._offer = Offer.of_seed(oneself.seed)
        self._hello = Hello.of(self._secret, oneself.instance, self._offer.public)

    async def run(self) -> None:
        """Say hello, and look for the other one, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_hello)
            nursery.start_soon(self._look)

    async def withdraw(self) -> None:
        """Take our hello back, as far as the network lets us now."""
        for posting in self._hellos():
            try:
                await posting.recall()
            except Error:
                return

    # Inside.

    @property
    def _ours(self) -> Hello:
        if self._hello is None:
            raise Closed("This meeting is not open.")
        return self._hello

    def _hellos(self) -> list[Posting]:
        """Our hellos that lie there or are about to."""
        found = self._board.publishing.with_body(self._ours.encoded)
        return [posting for posting in found if not posting.is_final]

    async def _keep_hello(self) -> None:
        while True:
            pause = EXTEND_SECONDS
            try:
                lying = self._hellos()
                if not lying:
                    await self._board.publishing.post(self._ours.encoded, HELLO_SECONDS)
                for posting in lying:
                    pause = min(pause, await self._extend(posting))
            except Error as error:
                logger.info("our hello could not be posted: %s", error)
                pause = AGAIN_SECONDS
            await trio.sleep(pause)

    async def _extend(self, posting: Posting) -> float:
        """Have our hello lie there for another hour. Returns when to look again."""
        try:
            await posting.extend(HELLO_SECONDS)
        except ValueError:  # it was extended too often: another one is posted
            await posting.recall()
            return 1.0
        return EXTEND_SECONDS

    async def _look(self) -> None:
        self._board.watch()
        at = await self._board.cursor()
        while True:
            for kept in await self._board.next(at):
                await self._take(kept.post.body)
                at = kept.seq

    async def _take(self, body: bytes) -> None:
        """One post. It is dealt with when this returns, however long the disk or the network take."""
        while True:
            try:
                await self._take_once(body)
                return
            except ProtocolError as error:
                self._context.drops.count(error.reason)
                return
            except (BadData, NoDirectory, NotLeft, TooMuchMail) as error:
                logger.info("a meeting has to wait: %s", error)
                await trio.sleep(AGAIN_SECONDS)

    async def _take_once(self, body: bytes) -> None:
        ours = self._ours
        if len(body) == HELLO:
            hello = Hello.decode_untrusted(self._secret, body)
            if hello.instance != ours.instance:
                self._see(hello.instance)
                if answers(ours.instance, hello.instance) and hello.instance not in self._answered:
                    await self._answer(hello)
        elif is_answer_to(body, ours.instance) and self._offer is not None:
            agreed = agreed_untrusted(self._secret, ours, self._offer, body)
            self._see(agreed.instance)
            await self._begun(self._session(agreed, introduced=True))

    async def _answer(self, hello: Hello) -> None:
        clock = self._context.clock
        if not self._bucket.take(clock.monotonic()):
            raise ProtocolError(Reason.MEETING_MANY)
        period = self._context.view.period
        body, agreed = answer_untrusted(
            self._secret, hello, self._ours.instance, period, self._context.chance.bytes
        )
        await self._begun(self._session(agreed, introduced=False))
        await self._board.publishing.post(body, HELLO_SECONDS)
        await self._store.answer(hello.instance, clock.best() + REMEMBERED_SECONDS, clock.earliest())
        self._answered.add(hello.instance)

    def _session(self, agreed: Agreed, *, introduced: bool) -> Session:
        wall = self._context.clock.best()
        session = Session.started(agreed.root, introduced=introduced, period=agreed.period, wall=wall)
        session.history.used_at = self._context.clock.earliest()
        return session

    def _see(self, instance: bytes) -> None:
        self._others[instance] = self._context.clock.monotonic()
        while len(self._others) > OTHERS_AN_HOUR:
            del self._others[next(iter(self._others))]
