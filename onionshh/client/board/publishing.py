"""Brings one's own posts to the relays of a board, in the order in which they were posted (SPEC 14).

| moment                      | kept first           | what happens                                       |
|-----------------------------|----------------------|----------------------------------------------------|
| `post`                      | the post             | `post` returns; the status is `queued`             |
| its turn comes              | its number           | an author that has no number here reads the board  |
| no number is left           |                      | `failed`                                           |
| it is sealed                | all its items        | `client/mail/leaving.py` brings them to relays     |
| relays of both places have it |                    | `stored`                                           |
| the mailbox's period is over, and too few have it | | it is sealed again, for the present period     |
| `recall`, `extend`          | that it is so        | every relay that may have it is told               |
| its time is over            |                      | `expired`; its rows are erased                     |
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import trio

from onionshh.client.board.arriving import Arriving
from onionshh.client.board.own_store import OwnPost, OwnPosts
from onionshh.client.board.posting import Posting, PostOutcome
from onionshh.client.board.reading import BoardReading
from onionshh.client.context import Context
from onionshh.client.mail.deposits import Deposits, SealedItem
from onionshh.client.mail.leaving import PARTS_MOST, Leaving, TooMuchMail
from onionshh.client.mail.one_letter import NotStored
from onionshh.core.base.patience import RECALL_SECONDS
from onionshh.core.board.entry import MINUTE_SECONDS, NUMBER_MOST, Entry, seal_entry, split_post
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.dates import last_expiry, rounded_life
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData, Closed, Full, NoDirectory
from onionshh.geometry import KEY, POST_ID
from onionshh.ids import WhisperId
from onionshh.net.signals import Poke

AGAIN_SECONDS: Final = 30.0
TIDY_SECONDS: Final = 60.0
CLOSED: Final = "the board was closed before the post was stored"
CLOSED_NAMED: Final = "the board was closed; the post goes on when the board is entered again under its name"
NO_AUTHOR: Final = "its author is not here; enter the board with the same author"
NO_LIST: Final = "without a list of relays it is not known where the board lies"
UNREAD: Final = "the board cannot be read now, so it is not known which number this post has"
NO_NUMBER: Final = (
    "no number is left for its author: another machine has posted under the last one with this identity; post"
    " with another author"
)


@dataclass(slots=True)
class _Own:
    post: OwnPost
    outcome: PostOutcome
    lies_until: int = 0
    """The latest end that a relay may have from before an earlier one: Unix seconds. 0: none was later."""


class Publishing:
    """One's own posts on one board. `author`: the key that signs them, None for none. `lasts`: whether they
    go on when the board is entered again. `load` it once."""

    def __init__(
        self,
        context: Context,
        topic: Topic,
        author: SigningKey | None,
        own: OwnPosts,
        deposits: Deposits,
        reading: BoardReading,
        arriving: Arriving,
        *,
        lasts: bool,
    ) -> None:
        self._context = context
        self._topic = topic
        self._author = author
        self._store = own
        self._reading = reading
        self._arriving = arriving
        self._lasts = lasts
        self._leaving = Leaving(context, deposits, self)
        self._posts: dict[bytes, _Own] = {}
        """By id, in the order in which they were posted."""
        self._unsealed: dict[bytes, None] = {}
        self._poke = Poke()
        self._closed = False

    async def load(self) -> None:
        """Take up the posts of earlier runs. BadData, Closed."""
        for post in await self._store.load():
            self._posts[post.post_id] = _Own(post, PostOutcome(post.post_id.hex(), post.expires))
        await self._leaving.restore()
        for post_id, own in self._posts.items():
            letter = WhisperId(post_id)
            if own.post.recalled:
                own.outcome.tell("recalled")
                self._leaving.recall_soon(letter)
            elif not self._leaving.is_left(letter):
                self._seal_soon(post_id)
            else:
                expires = self._leaving.expires(letter)
                if expires is not None and expires != own.post.expires:  # a crash came between the two
                    self._sealed(own, expires)
        self._tidy()

    async def run(self) -> None:
        """Do the work, until cancelled."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._leaving.run)
            nursery.start_soon(self._keep_tidy)
            while True:
                await self._poke.wait()
                while self._unsealed:
                    await self._publish_all()
                    if self._unsealed:
                        with trio.move_on_after(AGAIN_SECONDS):
                            await self._poke.wait()

    async def _publish_all(self) -> None:
        """Try each post that waits. The posts of one author go in their order."""
        waiting: dict[bytes | None, str] = {}
        """By author: why an earlier post waits."""
        for post_id in tuple(self._unsealed):
            own = self._posts.get(post_id)
            if own is None:
                self._unsealed.pop(post_id, None)
                continue
            author = own.post.author
            why = waiting.get(author) if author is not None else None
            why = why or await self._publish(own)
            if why is None:
                self._unsealed.pop(post_id, None)
            else:
                waiting[author] = why
                own.outcome.tell("queued", why)

    def close(self) -> None:
        """The board is closed: tell what this means for posts that are not stored."""
        self._closed = True
        for own in self._posts.values():
            if own.outcome.status == "queued":
                own.outcome.tell("failed", CLOSED_NAMED if self._lasts else CLOSED)

    def postings(self) -> list[Posting]:
        """Those whose time is not over, in the order in which they were posted."""
        return [self._posting(own) for own in self._posts.values()]

    def with_body(self, body: bytes) -> list[Posting]:
        """Those that say this."""
        return [self._posting(own) for own in self._posts.values() if own.post.body == body]

    async def post(self, body: bytes, ttl_seconds: float) -> Posting:
        """Take on a post. Full, BadData, Closed."""
        parts = sum(len(split_post(own.post.body)) for own in self._posts.values())
        if parts + len(split_post(body)) > PARTS_MOST:
            raise Full(
                "Too many posts of yours lie on this board; recall some, or post again when some have"
                " expired."
            )
        now, chance = self._context.clock.best(), self._context.chance
        author = None if self._author is None else self._author.public
        post = OwnPost(
            chance.bytes(POST_ID),
            author,
            None,
            chance.bytes(KEY),
            now // MINUTE_SECONDS,
            now + rounded_life(ttl_seconds),
            body,
        )
        own = _Own(post, PostOutcome(post.post_id.hex(), post.expires))
        self._posts[post.post_id] = own
        try:
            await self._store.add(post)
        except BaseException:
            del self._posts[post.post_id]
            raise
        self._seal_soon(post.post_id)
        return self._posting(own)

    # As `Told`.

    def proving(self, letter: WhisperId, seconds: float, tries: int) -> None:
        """As `Told.proving`."""
        if letter in self._posts:
            outcome = self._posts[letter].outcome
            outcome.proof_seconds = seconds
            outcome.changed.send()

    def stored(self, letter: WhisperId, copies: int, enough: bool) -> None:
        """As `Told.stored`."""
        if letter in self._posts:
            outcome = self._posts[letter].outcome
            outcome.copies = copies
            outcome.tell("stored" if enough else outcome.status, "" if enough else outcome.why)

    def not_stored(self, letter: WhisperId, why: NotStored) -> None:
        """As `Told.not_stored`."""
        if letter in self._posts:
            outcome = self._posts[letter].outcome
            outcome.tell(outcome.status, str(why))

    def lapsed(self, letter: WhisperId) -> None:
        """As `Told.lapsed`: it is sealed again, for the present period."""
        if letter in self._posts:
            self._seal_soon(letter)

    # Inside.

    def _posting(self, own: _Own) -> Posting:
        post_id = own.post.post_id

        async def recall() -> bool:
            return await self._recall(own)

        async def extend(ttl_seconds: float) -> bool:
            return await self._extend(post_id, ttl_seconds)

        return Posting(own.outcome, recall, extend)

    def _seal_soon(self, post_id: bytes) -> None:
        self._unsealed[post_id] = None
        self._poke.send()

    async def _publish(self, own: _Own) -> str | None:
        """Number, seal and leave one post. None when nothing more is to be done for it, else why it waits."""
        try:
            while not own.outcome.is_final and own.post.expires > self._context.clock.best():
                if own.post.author is None or own.post.number is not None:
                    await self._leave(own)
                    return None
                await self._number(own)
            return None
        except _NoNumber as error:
            own.outcome.tell("failed", str(error))
            return None
        except NoDirectory:
            return NO_LIST
        except (_NotNow, BadData, TooMuchMail) as error:
            return str(error)
        except Closed:
            return None

    async def _leave(self, own: _Own) -> None:
        """Seal a post, and begin to bring it to relays. Raises _NotNow, NoDirectory, TooMuchMail, BadData,
        Closed."""
        post_id, letter = own.post.post_id, WhisperId(own.post.post_id)
        items = self._seal(own.post)
        expires = items[0].expires
        if expires != own.post.expires:
            await self._store.extended(post_id, expires)
        self._sealed(own, expires)
        await self._leaving.leave(letter, items, expires)
        if own.post.expires != expires:  # extended meanwhile
            await self._leaving.extend(letter, own.post.expires)
        if own.outcome.status == "recalled":
            self._leaving.recall_soon(letter)

    async def _number(self, own: _Own) -> None:
        """Give a post the next number of its author. _NoNumber, _NotNow, NoDirectory, BadData, Closed.

        Whoever has the identity can post under any number, the last one as well. Nothing follows on that.
        """
        author = self._signer(own.post).public
        last = await self._store.last_number(author)
        if last is None:
            found = await self._reading.read(hold=True)
            if found.unsure or not found.answered:
                raise _NotNow(UNREAD)
        number = max(last or 0, self._arriving.last_number(author)) + 1
        if number > NUMBER_MOST:
            raise _NoNumber(NO_NUMBER)
        await self._store.number(own.post.post_id, author, number)
        own.post = replace(own.post, number=number)

    def _signer(self, post: OwnPost) -> SigningKey:
        if post.author is None:
            return SigningKey(post.seed)
        if self._author is None or self._author.public != post.author:
            raise _NotNow(NO_AUTHOR)
        return self._author

    def _seal(self, post: OwnPost) -> list[SealedItem]:
        """The items of a post, for the mailbox of the present period. _NotNow, NoDirectory."""
        view, chance, key = self._context.view, self._context.chance, self._signer(post)
        mailbox = self._topic.mailbox(view.period)
        expires = min(post.expires, last_expiry(view.period, view.params.period_seconds))
        chunks = split_post(post.body)
        items = []
        for part, chunk in enumerate(chunks):
            seed = chance.bytes(KEY)
            item_id = SigningKey(seed).public
            entry = Entry(key.public, post.number or 0, post.minute, post.post_id, part, len(chunks), chunk)
            value = seal_entry(self._topic, mailbox, item_id, key, entry, chance.bytes)
            items.append(SealedItem(mailbox, seed, expires, value))
        return items

    def _sealed(self, own: _Own, expires: int) -> None:
        own.post = replace(own.post, expires=expires)
        own.outcome.expires = expires
        own.outcome.tell(own.outcome.status)

    async def _recall(self, own: _Own) -> bool:
        if self._closed:
            raise Closed("This board is not open.")
        post_id = own.post.post_id
        if own.outcome.status == "expired":
            await trio.lowlevel.checkpoint()
            return own.lies_until <= self._context.clock.earliest()
        await self._store.recalled(post_id)
        own.post = replace(own.post, recalled=True, body=b"")
        own.outcome.copies = 0
        own.outcome.tell("recalled")
        self._unsealed.pop(post_id, None)
        return await self._leaving.recall(WhisperId(post_id))

    async def _extend(self, post_id: bytes, ttl_seconds: float) -> bool:
        if self._closed:
            raise Closed("This board is not open.")
        own, letter = self._posts[post_id], WhisperId(post_id)
        view, clock = self._context.view, self._context.clock
        period = self._leaving.period(letter)
        latest = last_expiry(view.period if period is None else period, view.params.period_seconds)
        expires = min(clock.best() + rounded_life(ttl_seconds), latest)
        own.lies_until = max(own.lies_until, own.post.expires)
        await self._leaving.extend(letter, expires)
        await self._store.extended(post_id, expires)
        self._sealed(own, expires)
        with trio.move_on_after(RECALL_SECONDS):
            while not own.outcome.is_final and not self._leaving.is_enough(letter):
                await own.outcome.changed.wait()
        return self._leaving.is_enough(letter)

    async def _keep_tidy(self) -> None:
        while True:
            await trio.sleep(TIDY_SECONDS)
            self._tidy()

    def _tidy(self) -> None:
        """Forget and erase the posts whose time is over."""
        for post_id, own in tuple(self._posts.items()):
            if own.post.expires <= self._context.clock.earliest():
                own.outcome.tell("expired")
                del self._posts[post_id]
                self._unsealed.pop(post_id, None)
                self._leaving.forget(WhisperId(post_id))
                self._store.forget(post_id)


class _NotNow(Exception):
    """Why a post cannot be sealed now, in words."""


class _NoNumber(Exception):
    """Why a post can never be sealed, in words."""
