"""One transfer as the program that sends it sees it (SPEC 13)."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from onionshh.client.receipt import PathInfo
from onionshh.net.signals import Broadcast

TransferStatus = Literal["sending", "delivered", "expired", "failed"]

PATHS_MOST: Final = 128
"""Ways that are remembered. A transfer that meets no trouble takes at most 65."""


@dataclass(frozen=True, slots=True)
class TransferProgress:
    """How far a transfer has come."""

    sent_bytes: int
    """How many bytes the endpoint has on its disk."""
    size: int | None
    """Of how many, if that is known by now."""


@dataclass(eq=False, slots=True)
class Course:
    """What a `Transfer` shows. The driver that delivers it keeps it up to date. `problem`: what is in the way
    now, in words."""

    id: str
    size: int | None
    problem: Callable[[], str]
    status: TransferStatus = "sending"
    why: str = ""
    sent_bytes: int = 0
    paths: deque[PathInfo] = field(default_factory=lambda: deque(maxlen=PATHS_MOST))
    final: trio.Event = field(default_factory=trio.Event)
    changed: Broadcast = field(default_factory=Broadcast)

    @property
    def progress(self) -> TransferProgress:
        """How far it is now."""
        return TransferProgress(self.sent_bytes, self.size)

    def arrived(self, sent_bytes: int, size: int | None) -> None:
        """So many bytes have arrived."""
        self.sent_bytes, self.size = sent_bytes, size
        self.changed.send()

    def conclude(self, status: TransferStatus, why: str) -> None:
        """Set the final status, once."""
        if not self.final.is_set():
            self.status, self.why = status, why
            self.final.set()
            self.changed.send()


class Transfer:
    """What becomes of one transfer: up to 8 MiB for an endpoint. Got from `Contact.transfer`.

    | status | what it means | final |
    |---|---|---|
    | `sending` | parts of it are on their way, or wait for one | no |
    | `delivered` | the endpoint has all of it on its disk, and its hash is right | yes |
    | `expired` | its TTL ended before that | yes |
    | `failed` | it will not be tried any more; `why` says the reason | yes |

    It leaves in parts of 65 474 bytes. After 2 to 6 parts it goes on over another circuit, with newly drawn
    relays, after a pause of 2 s on average. So no relay behind the guards carries much of it. A part that is
    lost is sent again. The endpoint shows the whole or nothing.

    A transfer ends with its contact, also that of a contact with a name: what it reads from is your
    program's.

    `async for progress in transfer` gives a `TransferProgress` now, and each time more has arrived; it ends
    with the transfer.

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
            transfer = contact.transfer(bytes(200_000))
            print(transfer.status, transfer.is_final, transfer.size)  # sending False 200000
            async for progress in transfer:
                last = progress
            print(last.sent_bytes, last.size)  # 200000 200000
            print((await transfer.final()).status)  # delivered
            print(len(transfer.id), transfer.why == "")  # 32 True
            print([path.hops in (2, 3) for path in transfer.paths])  # [True…]
            async for incoming in endpoint.transfers():
                print(incoming.id == transfer.id, incoming.size)  # True 200000
                break
    ```
    """

    __slots__ = ("__weakref__", "_cancel", "_course")

    def __init__(self, course: Course, cancel: Callable[[], None]) -> None:
        self._course = course
        self._cancel = cancel

    def __repr__(self) -> str:
        return f"<Transfer {self.status}>"

    @property
    def id(self) -> str:
        """32 hex digits: the same that the endpoint's program sees."""
        return self._course.id

    @property
    def status(self) -> TransferStatus:
        """One of the four words above."""
        return self._course.status

    @property
    def why(self) -> str:
        """Why it was not delivered, or what is in the way so far. Empty when there is nothing to say."""
        return self._course.why if self.is_final else self._course.problem()

    @property
    def size(self) -> int | None:
        """Bytes of the whole, once they are known."""
        return self._course.size

    @property
    def sent_bytes(self) -> int:
        """How many bytes of it the endpoint has on its disk."""
        return self._course.sent_bytes

    @property
    def paths(self) -> tuple[PathInfo, ...]:
        """The ways that it took, in their order: one for each circuit, the last 128."""
        return tuple(self._course.paths)

    @property
    def is_final(self) -> bool:
        """Whether `status` will not change any more."""
        return self._course.final.is_set()

    async def final(self) -> Transfer:
        """Wait until the status is final, and return this transfer."""
        await self._course.final.wait()
        return self

    def cancel(self) -> None:
        """Give it up. The endpoint erases what it has of it when its TTL ends. Nothing happens to one that is
        final.

        ```python
        import onionshh


        async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
            async with node.host("identity") as endpoint, visitor.contact(endpoint.address) as contact:
                transfer = contact.transfer(bytes(1_000_000))
                async for progress in transfer:
                    if progress.sent_bytes:
                        break
                transfer.cancel()
                print(transfer.status, transfer.why)  # failed the program gave it up
        ```
        """
        self._cancel()

    def __aiter__(self) -> _ProgressChanges:
        return _ProgressChanges(self._course)


class _ProgressChanges:
    """`async for` over the progress of one transfer. A reader that is slow gets the latest."""

    def __init__(self, course: Course) -> None:
        self._course = course
        self._told: TransferProgress | None = None

    def __aiter__(self) -> _ProgressChanges:
        return self

    async def __anext__(self) -> TransferProgress:
        await trio.lowlevel.checkpoint()
        while self._course.progress == self._told:
            if self._course.final.is_set():
                raise StopAsyncIteration
            await self._course.changed.wait()
        self._told = self._course.progress
        return self._told
