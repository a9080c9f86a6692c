"""One transfer as the program that receives it sees it, and the loop that shows them (SPEC 13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, Protocol

from onionshh.core.delivery.parts import MOST_BYTES, TransferId
from onionshh.core.delivery.transfer_actions import OfferTransfer, TransferLost
from onionshh.errors import BadData, Closed, TooLarge
from onionshh.reasons import Reason

if TYPE_CHECKING:
    from onionshh.client.peer import Peer

Shown = OfferTransfer | TransferLost

_WHY_LOST: Final = {
    Reason.TRANSFER_EXPIRED: "its time to live ended before all of it had come",
    Reason.TRANSFER_NOT_WHOLE: "its parts do not fit together",
    Reason.TRANSFER_DISPLACED: "nothing more of it came for an hour, and its room was needed",
}


class TransferHolder(Protocol):
    """What works behind an endpoint, as far as the transfers that arrived are concerned."""

    async def next(self) -> Shown | None:
        """The next transfer. None once it is over. BadData."""

    async def read(self, transfer: TransferId, number: int) -> bytes | None:
        """One part. None if it is erased by now. BadData, Closed."""

    async def finish(self, transfer: TransferId) -> None:
        """The program has finished this transfer. BadData, Closed."""

    def let_go_soon(self, transfer: TransferId) -> None:
        """The program has let a transfer go. Any thread may call this."""


class IncomingTransfer:
    """One transfer that arrived, up to 8 MiB. Got from `Endpoint.transfers`.

    All of it is on disk, and its hash is right. `async for piece in incoming` gives its bytes in pieces of
    at most 65 474; `whole` gives them at once. A transfer is finished by `done`, or when the program asks the
    same loop for the next one; then it is erased from disk. Until then it is shown again, as a whisper is.

    A transfer of which not all came is shown once, with `failed`, and has no bytes.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
            transfer = contact.transfer(b"hello" * 20_000)
            async for incoming in endpoint.transfers():
                print(incoming.size, incoming.shown, incoming.failed == "")  # 100000 1 True
                print([len(piece) async for piece in incoming])  # [65474, 34526]
                try:
                    await incoming.whole(most=1000)
                except onionshh.TooLarge as error:
                    print(error)  # This transfer has 100000 bytes, more than the 1000 that are wanted.
                print(await incoming.whole() == b"hello" * 20_000)  # True
                print(incoming.id == transfer.id)  # True
                print(incoming.peer in endpoint.peers())  # True
                await incoming.done()
                break
    ```
    """

    __slots__ = ("__weakref__", "_held", "_holder", "_peer_with", "_shown")

    def __init__(
        self, holder: TransferHolder, shown: Shown, peer_with: Callable[[bytes | None], Peer | None]
    ) -> None:
        self._holder = holder
        self._shown = shown
        self._peer_with = peer_with
        self._held = isinstance(shown, OfferTransfer)
        """Whether the program may still finish it."""

    def __del__(self) -> None:
        self.let_go()  # for a program that forgot it

    def __repr__(self) -> str:
        return f"<IncomingTransfer of {self.size} bytes>"

    @property
    def id(self) -> str:
        """32 hex digits: the same that `Transfer.id` is for the sender."""
        return self._shown.transfer.hex()

    @property
    def size(self) -> int:
        """Bytes of the whole; of one that failed, how many came."""
        return self._shown.size

    @property
    def failed(self) -> str:
        """Why there are no bytes, in words. Empty for a whole."""
        lost = self._shown
        return _WHY_LOST.get(lost.reason, lost.reason.value) if isinstance(lost, TransferLost) else ""

    @property
    def received_at(self) -> int:
        """When all of it was here, Unix seconds. 0 for one that failed."""
        return self._shown.received_at if isinstance(self._shown, OfferTransfer) else 0

    @property
    def shown(self) -> int:
        """How often it was shown, this time included."""
        return self._shown.shown if isinstance(self._shown, OfferTransfer) else 1

    @property
    def peer(self) -> Peer | None:
        """The visitor that it came from, to speak to. None if the visitor keeps no session, or if its session
        is over."""
        return self._peer_with(self._shown.session)

    def __aiter__(self) -> _Pieces:
        return _Pieces(self._piece)

    async def whole(self, most: int = MOST_BYTES) -> bytes:
        """All bytes of it.

        - `most`: how many you want at most. Your program then holds so many in memory.

        Raises TooLarge if it has more, BadData if it failed or the disk cannot be read, Closed when it was
        finished or let go, or when the endpoint is closed.
        """
        if self.size > most:
            raise TooLarge(f"This transfer has {self.size} bytes, more than the {most} that are wanted.")
        return b"".join([piece async for piece in self])

    async def done(self) -> None:
        """Finish it: it is erased from disk. Nothing happens if it was finished or let go before.

        Raises Closed when the endpoint is closed, BadData when the disk takes nothing.
        """
        if self._held:
            self._held = False
            try:
                await self._holder.finish(self._shown.transfer)
            except BaseException:
                self._held = True
                raise

    def let_go(self) -> None:
        """Give it back unfinished: it is shown again, to whoever asks next. Nothing happens if it was
        finished or let go before."""
        if self._held:
            self._held = False
            self._holder.let_go_soon(self._shown.transfer)

    async def _piece(self, number: int) -> bytes | None:
        """The piece with this number, None after the last."""
        if not isinstance(self._shown, OfferTransfer):
            raise BadData(f"There is nothing of this transfer: {self.failed}.")
        if number >= self._shown.parts:
            return None
        piece = await self._holder.read(self._shown.transfer, number) if self._held else None
        if piece is None:
            raise Closed("This transfer is finished already, or was let go.")
        return piece


class _Pieces:
    """`async for` over the bytes of one transfer."""

    def __init__(self, piece: PieceOf) -> None:
        self._piece = piece
        self._number = 0

    def __aiter__(self) -> _Pieces:
        return self

    async def __anext__(self) -> bytes:
        piece = await self._piece(self._number)
        if piece is None:
            raise StopAsyncIteration
        self._number += 1
        return piece


class PieceOf(Protocol):
    """Reads one piece of a transfer."""

    async def __call__(self, number: int, /) -> bytes | None: ...


class TransferIteration:
    """`async for` over the transfers of one endpoint: asking for the next finishes the one before."""

    def __init__(self, holder: TransferHolder, peer_with: Callable[[bytes | None], Peer | None]) -> None:
        self._holder = holder
        self._peer_with = peer_with
        self._last: IncomingTransfer | None = None

    def __aiter__(self) -> TransferIteration:
        return self

    async def __anext__(self) -> IncomingTransfer:
        if self._last is not None:
            try:
                await self._last.done()
            except Closed:  # unfinished: it is shown again when the endpoint runs again
                raise StopAsyncIteration from None
            self._last = None
        shown = await self._holder.next()
        if shown is None:
            raise StopAsyncIteration
        self._last = IncomingTransfer(self._holder, shown, self._peer_with)
        return self._last
