"""What becomes of one whisper, as the program that sent it sees it (SPEC 13)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from onionshh.core.base.classes import class_name
from onionshh.core.delivery.record import HandedOver, Record
from onionshh.errors import NotStored
from onionshh.net.signals import Broadcast

Status = Literal["queued", "sent", "stored", "delivered", "expired", "failed"]
COPIES_WANTED: Final = 4


@dataclass(frozen=True, slots=True)
class PathInfo:
    """One way that a whisper took."""

    hops: int
    """Relays between this node and the last relay: the rendezvous point, or the introducer of a whisper that
    went in one cell."""
    relays: tuple[str, ...]
    """The identities of all relays of our half, 64 hex digits each, first hop first."""


@dataclass(frozen=True, slots=True)
class Route:
    """How a whisper went last. `resumed`: whether a session went on, rather than a new introduction.
    `connect_seconds`: how long it took to open the way, if that was for this whisper."""

    paths: tuple[PathInfo, ...] = ()
    resumed: bool = False
    connect_seconds: float | None = None


@dataclass(slots=True)
class Course:
    """What changes about a whisper before it ends, and whoever waits for that. `copies`: how many relays keep
    it for the endpoint. `proof_seconds`, `proof_tries`: the work that this took. `not_stored`: why it could
    not be left for the endpoint when that was tried last."""

    copies: int = 0
    not_stored: str = ""
    proof_seconds: float = 0.0
    proof_tries: int = 0
    entry_seconds: float = 0.0
    entry_tries: int = 0
    """The work to be let in by an endpoint under load."""
    changed: Broadcast = field(default_factory=Broadcast)


@dataclass(eq=False, slots=True)
class Outcome:
    """What a receipt shows. The driver that delivers the whisper keeps it up to date."""

    id: str
    status: Status = "queued"
    why: str = ""
    record: Record | HandedOver | None = field(default=None, repr=False)
    """The whisper. Once its status is final, only what is left of it."""
    route: Route = Route()
    course: Course = field(default_factory=Course)
    round_trip_seconds: float | None = None
    waiting: int = 0
    """How many tasks of the program wait for the answer now."""
    answer: Record | None = None
    taken: bool = False
    """Whether the program has the answer."""
    final: trio.Event = field(default_factory=trio.Event)
    settled: trio.Event = field(default_factory=trio.Event)
    """An answer came, or none will come."""

    @property
    def awaited(self) -> bool:
        """Whether the program waits for the answer now."""
        return self.waiting > 0

    @property
    def is_final(self) -> bool:
        """Whether the status will not change any more."""
        return self.final.is_set()

    def tell(self, status: Status, why: str = "") -> None:
        """Set a status that is not final."""
        if not self.is_final:
            self.status, self.why = status, why
            self.course.changed.send()

    def conclude(self, status: Status, why: str = "") -> None:
        """Set a final status, once. A whisper without a receipt that was `sent` may still be `delivered`."""
        if not self.is_final or (self.status, status) == ("sent", "delivered"):
            self.status, self.why = status, why
            self.final.set()
            if isinstance(self.record, Record):
                self.record = HandedOver.of(self.record)
            if status in ("expired", "failed"):
                self.settled.set()
            self.course.changed.send()

    def settle(self, answer: Record | None) -> None:
        """The answer came. None means that no answer can come any more."""
        if self.answer is None:
            self.answer = answer
        self.settled.set()


def nobody_waits(waits: bool) -> None:
    """For a reply, which gets no answer itself: nothing happens when somebody waits for one."""


async def nothing_to_recall() -> bool:
    """For a reply, which is recalled by nobody."""
    return False


def nobody_counts(answer: Record) -> None:
    """For a receipt whose answer is on no disk: nothing happens when the program takes it."""


class Receipt:
    """What became of one whisper, or of one reply. It changes by itself and cannot be set.

    | status | what it means | final |
    |---|---|---|
    | `queued` | it waits for a way to the endpoint | no |
    | `sent` | it left; no receipt came so far | only if no receipt is asked for |
    | `stored` | relays keep it for the endpoint, which is away; see `copies` | no |
    | `delivered` | the endpoint has it | yes |
    | `expired` | its TTL ended without a receipt; it may have arrived | yes |
    | `failed` | it will not be tried any more; `why` says the reason | yes |

    A whisper whose circuit is lost before its receipt came is `queued` again, and is sent again on another.
    However often it arrives, it is one whisper to the endpoint.

    ```python
    import onionshh


    async def main(node: onionshh.Node, address: str) -> None:
        async with node.contact(address, hops=2) as contact:
            receipt = contact.send(b"hello")
            print(receipt.status, receipt.is_final, receipt.hops)  # queued False None
            await receipt.final()
            print(receipt.status, receipt.is_final, receipt.hops)  # delivered True 2
            print(receipt.why == "", len(receipt.id), receipt.privacy)  # True 32 talk
            print(receipt.connect_seconds, receipt.round_trip_seconds)  # 0.… 0.…
            print(await receipt.reply())  # b'HELLO'
            print(receipt.reply_body)  # b'HELLO'
    ```

    A whisper to somebody who does not come in time:

    ```python
    import onionshh


    async def main(node: onionshh.Node) -> None:
        async with node.contact(onionshh.Identity.generate().address) as contact:
            receipt = await contact.whisper(b"hello", ttl_seconds=20)
            print(receipt.status)  # expired
            print(receipt.why)  # no endpoint is published …
            print(await receipt.reply())  # None
    ```

    A whisper to an endpoint that is away, which is then recalled:

    ```python
    import onionshh


    async def main(node: onionshh.Node, visitor: onionshh.Node) -> None:
        async with node.host("identity") as endpoint:
            await endpoint.reachable()
        async with visitor.contact(endpoint.address) as contact:
            receipt = contact.send(b"hello", ttl_seconds=3 * 86400)
            while receipt.status != "stored":
                print(receipt.status, receipt.why_not_stored)  # queued …
                await receipt.changed()
            print(receipt.copies, receipt.is_final)  # (…, 4) False
            print(receipt.proof_tries, receipt.proof_seconds)  # … 0.…
            print(await receipt.recall())  # True
            print(receipt.status, receipt.why)  # failed it was recalled
    ```
    """

    __slots__ = ("__weakref__", "_awaiting", "_outcome", "_recall", "_took")

    def __init__(
        self,
        outcome: Outcome,
        awaiting: Callable[[bool], None] = nobody_waits,
        took: Callable[[Record], None] = nobody_counts,
        recall: Callable[[], Awaitable[bool]] = nothing_to_recall,
    ) -> None:
        self._outcome = outcome
        self._recall = recall
        self._awaiting = awaiting
        self._took = took

    def __repr__(self) -> str:
        return f"<Receipt {self.status}: {self.why}>" if self.why else f"<Receipt {self.status}>"

    @property
    def id(self) -> str:
        """The whisper's id, 32 hex digits: the same that the endpoint's program sees."""
        return self._outcome.id

    @property
    def status(self) -> Status:
        """One of the six words above."""
        return self._outcome.status

    @property
    def why(self) -> str:
        """Why it was not delivered, or what is in the way so far. Empty when there is nothing to say."""
        return self._outcome.why

    @property
    def hops(self) -> int | None:
        """Relays between this node and the last relay of the way used last (see `paths`). None before."""
        paths = self._outcome.route.paths
        return paths[0].hops if paths else None

    @property
    def paths(self) -> tuple[PathInfo, ...]:
        """The ways that the whisper took last. Empty before. In talk and flash there is one."""
        return self._outcome.route.paths

    @property
    def privacy(self) -> str:
        """The name of the whisper's privacy class."""
        about = self._outcome.record
        return "" if about is None else class_name(about.privacy_class)

    @property
    def resumed(self) -> bool:
        """Whether the way used last went on with a session, rather than with a new introduction."""
        return self._outcome.route.resumed

    @property
    def connect_seconds(self) -> float | None:
        """How long reaching the endpoint took. None before."""
        return self._outcome.route.connect_seconds

    @property
    def round_trip_seconds(self) -> float | None:
        """How long it took from sending the whisper to its receipt. None before."""
        return self._outcome.round_trip_seconds

    @property
    def copies(self) -> tuple[int, int]:
        """How many relays keep the whisper for the endpoint, and how many should: (3, 4). If it has several
        parts, that of which there are fewest counts. From (2, 4) on the status is `stored`, if the two are in
        different places; the others are tried until the TTL ends."""
        return self._outcome.course.copies, COPIES_WANTED

    @property
    def proof_seconds(self) -> float:
        """How long this machine worked for the whisper: so that relays keep it, or so that an endpoint under
        load lets it in. 0.0 if it did not."""
        return self._outcome.course.proof_seconds + self._outcome.course.entry_seconds

    @property
    def proof_tries(self) -> int:
        """How many tries this work took."""
        return self._outcome.course.proof_tries + self._outcome.course.entry_tries

    @property
    def why_not_stored(self) -> str:
        """Why relays do not keep the whisper for the endpoint, by the last try. Empty when they do, when it
        was not tried so far, and while it is being tried."""
        return self._outcome.course.not_stored

    @property
    def reply_body(self) -> bytes | None:
        """The reply, once it has come."""
        answer = self._outcome.answer
        if answer is None:
            return None
        if not self._outcome.taken:
            self._outcome.taken = True
            self._took(answer)
        return answer.body

    @property
    def is_final(self) -> bool:
        """Whether `status` will not change any more."""
        return self._outcome.is_final

    def derive_key(self, purpose: str, length: int = 32) -> bytes:
        """A secret that only this end and the endpoint can derive, to hand over to another protocol. The
        endpoint's program gets the same from `Whisper.derive_key`.

        - `purpose`: what the key is for. Another purpose gives another key.
        - `length`: how many bytes, 1 to 64.

        Raises ValueError for another length, and when the whisper is erased by now, as it is after a restart;
        TypeError when the purpose is not text.
        """
        whisper = self._outcome.record
        handed_over = HandedOver.of(whisper) if isinstance(whisper, Record) else whisper
        if handed_over is None:
            raise ValueError("This receipt is for a reply, or for a whisper of an earlier run, now erased.")
        return handed_over.key(purpose, length)

    async def final(self) -> Receipt:
        """Wait until the status is final, and return this receipt."""
        await self._outcome.final.wait()
        return self

    async def changed(self) -> Receipt:
        """Wait until something about this receipt has changed: its status, its copies, or the work for them.
        Returns this receipt, at once if the status is final."""
        if self.is_final:
            await trio.lowlevel.checkpoint()
        else:
            await self._outcome.course.changed.wait()
        return self

    async def stored(self) -> Receipt:
        """Wait until the whisper is stored for the endpoint, or delivered, or sent without a receipt, and
        return this receipt. After that your program may end: the endpoint gets the whisper when it returns.

        Raises NotStored when the whisper ends otherwise. One whose TTL is at most 600 s is never stored, but
        may be delivered.

        ```python
        import onionshh


        async def main(node: onionshh.Node) -> None:
            nobody = onionshh.Identity.generate().address
            async with node.contact(nobody) as contact:
                receipt = contact.send(b"hello", ttl_seconds=20)
                try:
                    await receipt.stored()
                except onionshh.NotStored as error:
                    print(error)  # Not stored: no endpoint is published …
                    print(error.status, receipt.copies)  # expired (0, 4)
        ```
        """
        while not self.is_final and self.status != "stored":
            await self._outcome.course.changed.wait()
        await trio.lowlevel.checkpoint()
        if self.status in ("expired", "failed"):
            raise NotStored(f"Not stored: {self.why}.", self.status, self.why)
        return self

    async def recall(self) -> bool:
        """Stop delivering the whisper, and have what relays keep of it erased. Its status is `failed` then.

        Returns whether nobody can get it any more: no receipt came, it did not leave over a circuit, and
        every relay that may have had a copy says that it erased it now, before it was read. False says that
        it was delivered, or may be. Relays that cannot be reached within a minute are asked again, until the
        TTL ends or the contact is closed. What the endpoint has read, nobody can recall.
        """
        return await self._recall()

    async def reply(self) -> bytes | None:
        """Wait for the reply to this whisper, and return it. None when the whisper ends without having been
        delivered, or when no reply can come any more: the contact was closed, or the circuit was lost too
        late to ask again.

        This waits as long as it takes, since an endpoint need not reply. Bound it with `trio.move_on_after`,
        or use `Contact.ask`.
        """
        if self._outcome.settled.is_set():
            await trio.lowlevel.checkpoint()
            return self.reply_body
        self._outcome.waiting += 1
        if self._outcome.waiting == 1:
            self._awaiting(True)
        try:
            await self._outcome.settled.wait()
        finally:
            self._outcome.waiting -= 1
            if not self._outcome.awaited:
                self._awaiting(False)
        return self.reply_body


def outcome_of(receipt: Receipt) -> Outcome:
    """What a receipt shows, for whoever keeps it up to date."""
    return receipt._outcome
