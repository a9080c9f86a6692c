"""Carries out what an OutgoingTransfer decides: asks the program for pieces, and brings parts over (SPEC 13).

A transfer has a Sender of its own, with a lane of its own among those of its contact. So whispers and other
transfers neither wait for it nor share its circuits. It ends its lane after each group of parts. The next
part then makes the Sender open another one, for which everything is drawn anew.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from types import MappingProxyType
from typing import Final, Protocol

import trio

from onionshh.client.context import Context
from onionshh.client.delivery.outbox import InMemoryOutbox, Outbox
from onionshh.client.delivery.sending import NotReached, Opener, Opening, Sending
from onionshh.client.receipt import Status
from onionshh.client.transfer import Course, TransferStatus
from onionshh.core.delivery.actions import Failure
from onionshh.core.delivery.parts import PART_DATA
from onionshh.core.delivery.record import Record
from onionshh.core.delivery.transfer_actions import (
    NeedMore,
    OutAction,
    OutActions,
    Progress,
    Renew,
    SendPart,
    TransferEnded,
    Withdraw,
)
from onionshh.core.delivery.transfer_out import OutgoingTransfer, OutStage
from onionshh.ids import WhisperId
from onionshh.net.signals import Poke
from onionshh.reasons import Reason

Source = bytes | AsyncIterable[bytes]

CLOSED: Final = "the contact was closed before all of it had arrived"
GIVEN_UP: Final = "the program gave it up"
NO_RECEIPTS: Final = "the endpoint sends no receipts, and a transfer needs them"
OVER: Final = "the transfer is over"

_STATUS: Final = MappingProxyType[OutStage, TransferStatus](
    {OutStage.DELIVERED: "delivered", OutStage.EXPIRED: "expired", OutStage.FAILED: "failed"}
)


class MakesSending(Protocol):
    """Makes the driver of a new Sender, over the lanes of the contact."""

    def __call__(self, opener: Opener, outbox: Outbox, /) -> Sending: ...


@dataclass(frozen=True, slots=True)
class ToSend:
    """What is to be sent, and until when. `expires`: Unix seconds. `deadline`: the same time in monotonic
    seconds."""

    source: Source
    size: int | None
    expires: int
    deadline: float
    privacy_class: int


class Transferring:
    """One transfer of a contact. `run` it once. `ended`: called with it once it is over. Raises TooLarge for
    a size of more than 8 MiB."""

    def __init__(
        self,
        context: Context,
        what: ToSend,
        opener: Opener,
        make_sending: MakesSending,
        ended: Callable[[Transferring], None],
    ) -> None:
        self._clock = context.clock
        self._what = what
        self._machine = OutgoingTransfer(
            size=what.size,
            expires=what.expires,
            privacy_class=what.privacy_class,
            deadline=what.deadline,
            chance=context.chance,
        )
        self.course = Course(self._machine.transfer.hex(), what.size, lambda: self.sending.sender.problem)
        self.sending = make_sending(_Way(opener, self.course), _Parts(self._settled))
        self._ended = ended
        self._todo: deque[OutAction] = deque()
        self._doing = False
        self._hungry = Poke()
        self._sooner = Poke()
        self._asleep_until = inf

    async def run(self) -> None:
        """Deliver it, until it is over or cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.sending.keep_time)
                nursery.start_soon(self._feed)
                self._do(self._machine.begin())
                await self._keep_time()
                nursery.cancel_scope.cancel()
        finally:
            self.close(CLOSED)

    def close(self, why: str) -> None:
        """Give it up, if it is not over. `why`: in words."""
        self._do(self._machine.close(why))

    # Actions.

    def _do(self, actions: OutActions) -> None:
        """Carry out actions in order. What they cause comes after those that wait already."""
        self._todo.extend(actions)
        if self._doing:
            return
        self._doing = True
        try:
            while self._todo:
                self._carry_out(self._todo.popleft())
        finally:
            self._doing = False
        if self.course.final.is_set() or self._machine.next_deadline() < self._asleep_until:
            self._sooner.send()

    def _carry_out(self, action: OutAction) -> None:
        match action:
            case NeedMore():
                self._hungry.send()
            case SendPart(record):
                self.sending.submit(record, self._what.deadline)
            case Renew():
                self.sending.renew()
            case Withdraw():
                self.sending.close(OVER)
            case Progress(arrived, size):
                self.course.arrived(arrived, size)
            case TransferEnded(stage, why):
                if stage is OutStage.EXPIRED:
                    why = self.sending.sender.problem or why
                self.sending.close(OVER)
                self.sending.renew()  # nobody needs its lane any more
                self.sending.let_go_of_lanes()
                self.course.conclude(_STATUS[stage], why)
                self._ended(self)

    def _settled(self, part: WhisperId, status: Status, why: str) -> None:
        """This part has a final status."""
        self.sending.forget(part)
        match status:
            case "delivered":
                self._do(self._machine.acknowledged(part, self._clock.monotonic()))
            case "expired":
                self._do(self._machine.expired(part, why))
            case _:
                self._do(self._machine.failed(part, why))

    async def _keep_time(self) -> None:
        while not self.course.final.is_set():
            self._asleep_until = self._machine.next_deadline()
            with trio.move_on_at(self._asleep_until):
                await self._sooner.wait()
            if self._clock.monotonic() >= self._asleep_until:
                self._do(self._machine.tick(self._clock.monotonic()))

    # The program's source.

    async def _feed(self) -> None:
        """Give the machine a piece whenever it asks for one."""
        pieces = _Pieces(self._what.source)
        try:
            while True:
                await self._hungry.wait()
                try:
                    piece = await pieces.next()
                except SourceFailed as error:
                    self._do(self._machine.source_failed(str(error)))
                    return
                if piece is None:
                    self._do(self._machine.end())
                    return
                self._do(self._machine.more(piece))
        finally:
            await pieces.aclose()


class SourceFailed(Exception):
    """The program's source gave no next piece. The message says why, in words."""


class _Pieces:
    """The pieces of a source, one by one."""

    def __init__(self, source: Source) -> None:
        self._iterator = aiter(_cut(source) if isinstance(source, bytes) else source)

    async def next(self) -> bytes | None:
        """The next piece, None after the last. SourceFailed."""
        try:
            piece = await anext(self._iterator)
        except StopAsyncIteration:
            return None
        except Exception as error:
            said = f": {error}" if str(error) else ""
            raise SourceFailed(f"its source failed: {type(error).__name__}{said}") from error
        if not isinstance(piece, bytes | bytearray | memoryview):
            raise SourceFailed(f"its source gave {type(piece).__name__} in place of bytes")
        return bytes(piece)

    async def aclose(self) -> None:
        """Close a generator that is left early. What it raises then concerns nobody."""
        aclose = getattr(self._iterator, "aclose", None)
        if aclose is not None:
            with suppress(Exception):
                await aclose()


async def _cut(whole: bytes) -> AsyncIterator[bytes]:
    for at in range(0, len(whole), PART_DATA):
        yield whole[at : at + PART_DATA]


class _Parts(InMemoryOutbox):
    """The outbox of a transfer: parts are on no disk, and the transfer is told how each ended."""

    def __init__(self, told: Callable[[WhisperId, Status, str], None]) -> None:
        super().__init__()
        self._told = told

    def settled(self, whisper: WhisperId, status: Status, why: str) -> None:
        """A part has a final status."""
        self._told(whisper, status, why)


class _Way:
    """The way to the endpoint, noted for each lane. To an endpoint without receipts there is none."""

    def __init__(self, opener: Opener, course: Course) -> None:
        self._opener = opener
        self._course = course

    async def once(self, record: Record, *, more: bool) -> Opening:
        """As `Opener.once`."""
        opening = await self._opener.once(record, more=more)
        if not opening.receipts:
            if opening.joined is not None:
                opening.joined.close(Reason.NOT_NEEDED)
            raise NotReached(Failure(NO_RECEIPTS, hopeless=True))
        self._course.paths.extend(opening.paths)
        return opening

    def arrived(self, whisper: WhisperId) -> None:
        """As `Opener.arrived`."""
        self._opener.arrived(whisper)

    def silent(self, whisper: WhisperId) -> None:
        """As `Opener.silent`."""
        self._opener.silent(whisper)
