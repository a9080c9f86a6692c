"""A meeting: two who share a secret and know no address (SPEC 14)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from onionshh.client.contact import Contact
from onionshh.client.context import Context
from onionshh.client.correspondence import Correspondence, Terms
from onionshh.client.meeting.correspondence import MeetingCorrespondence
from onionshh.client.meeting.folder import meeting_folder
from onionshh.client.receipt import Receipt
from onionshh.client.session.info import SessionInfo
from onionshh.client.whisper import Iteration
from onionshh.core.base.classes import TALK
from onionshh.core.delivery.record import TTL_DEFAULT_SECONDS
from onionshh.core.delivery.sender import WAITING_MOST
from onionshh.errors import Closed

WITHDRAW_SECONDS: Final = 3.0
"""How long closing may take to take our hello back. What has not worked by then expires within an hour."""
MANY: Final = (
    "{others} others were here in the last hour: a restart of the other side, or a third who knows the"
    " secret; what is said goes to the last one who came"
)


class _MeetingContact(Contact):
    """The contact with whoever comes."""

    _what = "meeting"
    _full = f"{WAITING_MOST} whispers wait already; send more once some have a receipt."

    def __init__(self, context: Context, secret: bytes, name: str | None) -> None:
        super().__init__(context, "", Terms(b"", TALK, way_back=True), name)
        self._secret = secret
        self.made: MeetingCorrespondence | None = None

    @asynccontextmanager
    async def _correspondence_made(self) -> AsyncIterator[Correspondence]:
        async with meeting_folder(self._context, self._secret, self._name) as folder:
            self.made = MeetingCorrespondence(self._context, self._secret, folder)
            yield self.made

    def close(self) -> None:
        """As `Contact.close`. Whoever waits for the other one is told."""
        super().close()
        if self.made is not None:
            self.made.known.changed.send()

    @property
    def is_closed(self) -> bool:
        """Whether it was closed."""
        return self._closed


class Meeting:
    """A conversation of two who share 32 secret bytes, and need no address, descriptor or introducer. Made by
    `Node.meet`; enter it once, with `async with`. Both enter one, and are equal in it.

    They find each other on a board of their own. From then on each holds two ways back, over which the other
    speaks at any time. What is said while the other one is away waits in a mailbox of theirs, if its TTL is
    more than 600 s. The first time, both must be there within the same hour. With a name the conversation is
    on disk, and goes on when it is entered again, whenever the other one comes.

    Whoever has the secret can come, too. The meeting goes on with the one who showed itself last, and
    `problem` says how many others there were.

    The verbs and their arguments (`ttl_seconds`, `receipt`, `key`, `timeout_seconds`, `unless_away`, `id`)
    are those of a `Contact`. There are no transfers. `async for whisper in meeting` shows what the other one
    says, and late replies.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        secret = bytes(range(32))
        async with node.meet(secret) as one, visitor.meet(secret) as other:
            await one.met()
            print(one.others, one.problem == "")  # 1 True
            receipt = one.send(b"hello", ttl_seconds=3600)
            async for whisper in other:
                print(whisper.body)  # b'hello'
                await whisper.reply(b"good to see you")
                break
            print(await receipt.reply())  # b'good to see you'
            print(receipt.id in [waiting.id for waiting in one.pending()])  # False
            print(one.receipt(receipt.id).status)  # delivered
            print(one.session.way_back)  # …
    ```
    """

    def __init__(self, context: Context, secret: bytes, name: str | None) -> None:
        self._contact = _MeetingContact(context, secret, name)

    async def __aenter__(self) -> Meeting:
        await self._contact.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        made = self._contact.made
        try:
            if made is not None:
                with trio.move_on_after(WITHDRAW_SECONDS):  # not shielded: a cancelled node reaches nobody
                    await made.finding.withdraw()
        finally:
            await self._contact.__aexit__(None, None, None)

    def close(self) -> None:
        """Stop now, before the block ends, as `Contact.close`."""
        self._contact.close()

    async def met(self) -> None:
        """Wait until the other one has come. This waits as long as it takes. Raises Closed when the meeting
        is closed."""
        await trio.lowlevel.checkpoint()
        while self._contact.session is None:
            await self._made().known.changed.wait()
        self._made()

    @property
    def others(self) -> int:
        """How many others were seen here in the last hour. With the other one restarted, or a third who knows
        the secret, there are more than one."""
        made = self._contact.made
        return 0 if made is None else made.finding.others

    @property
    def problem(self) -> str:
        """What stands in the way of delivery right now, or that there are several others. Empty when there is
        nothing to say."""
        others = MANY.format(others=self.others) if self.others > 1 else ""
        return "; ".join(filter(None, (self._contact.problem, others)))

    @property
    def session(self) -> SessionInfo | None:
        """The session with the other one. None before it has come."""
        return self._contact.session

    def send(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """As `Contact.send`. Before the other one has come, the whisper waits."""
        return self._contact.send(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key)

    async def whisper(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """As `Contact.whisper`."""
        return await self._contact.whisper(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key)

    async def put(
        self,
        body: bytes,
        *,
        ttl_seconds: float = TTL_DEFAULT_SECONDS,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> Receipt:
        """As `Contact.put`."""
        return await self._contact.put(body, ttl_seconds=ttl_seconds, receipt=receipt, key=key)

    async def ask(
        self,
        body: bytes,
        *,
        timeout_seconds: float = 30.0,
        ttl_seconds: float | None = None,
        unless_away: bool = False,
        receipt: bool = True,
        key: bytes | None = None,
    ) -> bytes:
        """As `Contact.ask`. Raises Away, with `unless_away`, also before the other one has come."""
        return await self._contact.ask(
            body,
            timeout_seconds=timeout_seconds,
            ttl_seconds=ttl_seconds,
            unless_away=unless_away,
            receipt=receipt,
            key=key,
        )

    def pending(self) -> list[Receipt]:
        """As `Contact.pending`."""
        return self._contact.pending()

    def receipt(self, id: str) -> Receipt | None:
        """As `Contact.receipt`."""
        return self._contact.receipt(id)

    def __aiter__(self) -> Iteration:
        """What the other one says, and late replies. Closed when the meeting is not open."""
        return aiter(self._contact)

    def _made(self) -> MeetingCorrespondence:
        made = self._contact.made
        if made is None or self._contact.is_closed:
            raise Closed("This meeting is not open.")
        return made
