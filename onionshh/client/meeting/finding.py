"""How two who share a secret find each other: hellos and answers on a board of their own (SPEC 14).

| what lies there                      | what is done                                              |
|--------------------------------------|-----------------------------------------------------------|
| nothing of ours                      | our hello, for an hour, extended while the meeting is open |
| a hello of a lower instance          | answered, unless it has shown that it has a session; one  |
|                                      | begins                                                    |
| a hello of a higher instance         | it answers ours                                           |
| an answer to our hello               | a session begins, once, whoever wrote it                  |
| a hello or answer that does not hold | counted                                                   |

Several sessions may begin: the other side was restarted, or somebody else knows the secret, too. The last one
in which the other side has shown itself is in use.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import trio

from onionshh.client.board.posting import Posting
from onionshh.client.board.working import WorkingBoard
from onionshh.client.context import Context
from onionshh.client.delivery.mailing import NotLeft
from onionshh.client.mail.leaving import TooMuchMail
from onionshh.client.meeting.store import MeetingStore, Oneself
from onionshh.client.meeting.turns import OTHERS_AN_HOUR, Turns
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
from onionshh.errors import BadData, Closed, Error, Full, NoDirectory, ProtocolError
from onionshh.reasons import Reason

logger = logging.getLogger("onionshh.client")

HELLO_SECONDS: Final = 3600
EXTEND_SECONDS: Final = 1800.0
REMEMBERED_SECONDS: Final = 7 * 86_400
"""How long it is known which sessions began."""
AGAIN_SECONDS: Final = 30.0
ANEW_SECONDS: Final = 600.0
"""Between two times that our hello is posted anew, since nobody can be called."""
POSTS_MOST: Final = 256
"""Posts that are looked at for hellos."""
TRIES_MOST: Final = 20
"""So often one post is tried before the next one. It is then tried again later."""


class Finding:
    """`load` it, then `run` it. `begun`: keeps a session, and shows the other side that we have it.
    `session_of`: a session that is kept, and whose other side may be there."""

    def __init__(
        self,
        context: Context,
        secret: bytes,
        store: MeetingStore,
        board: WorkingBoard,
        begun: Callable[[Session], Awaitable[None]],
        session_of: Callable[[bytes], Session | None],
    ) -> None:
        self._context = context
        self._secret = secret
        self._store = store
        self._board = board
        self._begun = begun
        self._session_of = session_of
        self._began: dict[bytes, tuple[bytes, int]] = {}
        """By session that began: the other instance, and until when it is known (Unix seconds)."""
        self._turns = Turns()
        self._others: dict[bytes, float] = {}
        """When each other instance was seen last: monotonic seconds."""
        self._hello: Hello | None = None
        self._offer: Offer | None = None
        self._anew_at = 0.0

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
        self._began = await self._store.began(self._context.clock.earliest())
        self._offer = Offer.of_seed(oneself.seed)
        self._hello = Hello.of(self._secret, oneself.instance, self._offer.public)

    async def run(self) -> None:
        """Say hello, and look for the other one, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._keep_hello)
            nursery.start_soon(self._look)
            nursery.start_soon(self._answer_later)

    def instance_of(self, session: Session) -> bytes | None:
        """With whom this session began, if that is still known."""
        began = self._began.get(session.session_id)
        return None if began is None else began[0]

    async def there(self) -> list[Hello]:
        """What other instances say now. NetworkUnreachable, NoDirectory, BadData, Closed."""
        found: dict[bytes, Hello] = {}
        for kept in await self._board.read(0, POSTS_MOST):
            with suppress(ProtocolError):
                hello = Hello.decode_untrusted(self._secret, kept.post.body)
                found[hello.instance] = hello
        found.pop(self._ours.instance, None)
        return list(found.values())

    async def meet_anew(self, there: Sequence[Hello]) -> None:
        """Nobody in our sessions can be called: begin new ones with those who are there. Whose turn it is to
        answer sees our hello once more."""
        unmet = [hello for hello in there if not self._has_met(hello.instance)]
        for hello in unmet:
            if answers(self._ours.instance, hello.instance):
                await self._take(hello.encoded)
        now = self._context.clock.monotonic()
        if now >= self._anew_at and any(answers(hello.instance, self._ours.instance) for hello in unmet):
            self._anew_at = now + ANEW_SECONDS
            try:
                await self.withdraw()
                await self._board.publishing.post(self._ours.encoded, HELLO_SECONDS)
            except Error as error:
                logger.info("our hello could not be posted anew: %s", error)

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
        at = 0
        while True:
            try:
                posts = await self._board.next(at)
            except BadData as error:
                logger.error("the board of a meeting cannot be read: %s", error)
                await trio.sleep(AGAIN_SECONDS)
                continue
            for kept in posts:
                await self._take(kept.post.body)
                at = kept.seq

    async def _answer_later(self) -> None:
        """Deal with what was put off, one after the other."""
        clock = self._context.clock
        while True:
            await trio.sleep(max(AGAIN_SECONDS, self._turns.seconds_until(clock.monotonic())))
            body = self._turns.next()
            if body is not None:
                await self._take(body)

    async def _take(self, body: bytes) -> None:
        """One post. It is dealt with when this returns, or put off: no post holds up those behind it for
        longer than the disk and the network do."""
        for _ in range(TRIES_MOST):
            try:
                await self._take_once(body)
                return
            except ProtocolError as error:
                self._context.drops.count(error.reason)
                return
            except (BadData, NoDirectory, NotLeft, TooMuchMail, Full) as error:
                logger.info("a meeting has to wait: %s", error)
                await trio.sleep(AGAIN_SECONDS)
        self._turns.put_off(body[:INSTANCE], body)

    async def _take_once(self, body: bytes) -> None:
        ours = self._ours
        if len(body) == HELLO:
            hello = Hello.decode_untrusted(self._secret, body)
            if hello.instance != ours.instance:
                self._see(hello.instance)
                if answers(ours.instance, hello.instance) and not self._has_met(hello.instance):
                    await self._answer(hello)
        elif is_answer_to(body, ours.instance) and self._offer is not None:
            agreed = agreed_untrusted(self._secret, ours, self._offer, body)
            if abs(agreed.period - self._context.view.period) > 1:  # its mailbox would not be read
                raise ProtocolError(Reason.MEETING_SHAPE)
            self._see(agreed.instance)
            session = self._session(agreed, introduced=True)
            if session.session_id not in self._began:
                self._take_turn(agreed.instance, body)
                await self._begun(session)
                await self._note(session, agreed.instance)

    def _has_met(self, instance: bytes) -> bool:
        """Whether this instance has shown that it has a session with us, or our answer to it lies there. One
        in which it cannot be called does not count."""
        earliest = self._context.clock.earliest()
        for session_id, (other, until) in self._began.items():
            session = self._session_of(session_id)
            if other == instance and session is not None:
                lies = earliest < until - REMEMBERED_SECONDS + HELLO_SECONDS
                if lies or session.marks.confirmed:
                    return True
        return False

    async def _answer(self, hello: Hello) -> None:
        self._take_turn(hello.instance, hello.encoded)
        period = self._context.view.period
        body, agreed = answer_untrusted(
            self._secret, hello, self._ours.instance, period, self._context.chance.bytes
        )
        session = self._session(agreed, introduced=False)
        await self._begun(session)
        await self._board.publishing.post(body, HELLO_SECONDS)
        await self._note(session, hello.instance)

    def _take_turn(self, instance: bytes, body: bytes) -> None:
        """One more session may begin. ProtocolError when there are too many; then this post is put off."""
        if not self._turns.take(body, self._context.clock.monotonic()):
            self._turns.put_off(instance, body)
            raise ProtocolError(Reason.MEETING_MANY)

    async def _note(self, session: Session, instance: bytes) -> None:
        """A session with this instance has begun."""
        clock = self._context.clock
        until = clock.best() + REMEMBERED_SECONDS
        await self._store.begin(session.session_id, instance, until, clock.earliest())
        self._began[session.session_id] = (instance, until)

    def _session(self, agreed: Agreed, *, introduced: bool) -> Session:
        wall = self._context.clock.best()
        session = Session.started(agreed.root, introduced=introduced, period=agreed.period, wall=wall)
        session.history.used_at = self._context.clock.earliest()
        return session

    def _see(self, instance: bytes) -> None:
        self._others[instance] = self._context.clock.monotonic()
        while len(self._others) > OTHERS_AN_HOUR:
            del self._others[next(iter(self._others))]
