"""What becomes of one's own post, as the program that posted it sees it (SPEC 14)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final, Literal

import trio

from onionshh.client.arguments import check_post_ttl
from onionshh.errors import NotStored
from onionshh.net.signals import Broadcast

PostStatus = Literal["queued", "stored", "recalled", "expired", "failed"]
COPIES_WANTED: Final = 4
FINAL: Final = frozenset(("recalled", "expired", "failed"))


@dataclass(eq=False, slots=True)
class PostOutcome:
    """What a posting shows. `expires`: Unix seconds."""

    id: str
    expires: int
    status: PostStatus = "queued"
    why: str = ""
    copies: int = 0
    proof_seconds: float = 0.0
    changed: Broadcast = field(default_factory=Broadcast)

    @property
    def is_final(self) -> bool:
        """Whether the status will not change any more."""
        return self.status in FINAL

    def tell(self, status: PostStatus, why: str = "") -> None:
        """Set the status. A final one stays."""
        if not self.is_final:
            self.status, self.why = status, why
        self.changed.send()


class Posting:
    """What became of one post of your own: what `Board.post` returns. It changes by itself.

    | status | what it means | final |
    |---|---|---|
    | `queued` | too few relays have it so far; `why` says what is in the way | no |
    | `stored` | relays of both places have it, so whoever reads the board finds it | no |
    | `recalled` | it was taken back | yes |
    | `expired` | its time is over | yes |
    | `failed` | the board was closed before the post was stored, or it can never be: `why` says it | yes |

    ```python
    import onionshh


    async def main(node: onionshh.Node) -> None:
        async with node.board("offers") as board:
            posting = await board.post(b"a bicycle, 40 euros", ttl_seconds=3600)
            await posting.stored()
            print(posting.status, posting.copies)  # stored (…, 4)
            print(len(posting.id), posting.is_final, posting.why == "")  # 32 False True
            print(await posting.extend(3 * 3600))  # True
            print(await posting.recall())  # True
            print(posting.status)  # recalled
    ```
    """

    __slots__ = ("_extend", "_outcome", "_recall")

    def __init__(
        self,
        outcome: PostOutcome,
        recall: Callable[[], Awaitable[bool]],
        extend: Callable[[float], Awaitable[bool]],
    ) -> None:
        self._outcome = outcome
        self._recall = recall
        self._extend = extend

    def __repr__(self) -> str:
        return f"<Posting {self.status}: {self.why}>" if self.why else f"<Posting {self.status}>"

    @property
    def id(self) -> str:
        """32 hex digits, the same that readers see as `Post.id`."""
        return self._outcome.id

    @property
    def status(self) -> PostStatus:
        """One of the five words above."""
        return self._outcome.status

    @property
    def why(self) -> str:
        """What is in the way, or why it failed. Empty when there is nothing to say."""
        return self._outcome.why

    @property
    def copies(self) -> tuple[int, int]:
        """How many relays have the post, by its present end, and how many should: (3, 4). If it has several
        parts, that of which there are fewest counts."""
        return self._outcome.copies, COPIES_WANTED

    @property
    def expires(self) -> int:
        """When the relays erase it: Unix seconds."""
        return self._outcome.expires

    @property
    def proof_seconds(self) -> float:
        """How long this machine worked so that relays keep the post. 0.0 if it did not."""
        return self._outcome.proof_seconds

    @property
    def is_final(self) -> bool:
        """Whether `status` will not change any more."""
        return self._outcome.is_final

    async def changed(self) -> Posting:
        """Wait until something about this posting has changed. Returns it, at once if the status is final."""
        if self.is_final:
            await trio.lowlevel.checkpoint()
        else:
            await self._outcome.changed.wait()
        return self

    async def stored(self) -> Posting:
        """Wait until relays have the post, and return this posting. After that your program may end. Raises
        NotStored when it ends otherwise."""
        while not self.is_final and self.status != "stored":
            await self._outcome.changed.wait()
        await trio.lowlevel.checkpoint()
        if self.status != "stored":
            raise NotStored(f"Not stored: {self.why or self.status}.", self.status, self.why)
        return self

    async def recall(self) -> bool:
        """Take the post back: have it erased wherever it lies. Who has read it has it.

        Returns whether every relay that may have had a copy says that it has erased it. Relays that cannot be
        reached within a minute are asked again while the board is open, and with a name when it is entered
        again. Raises BadData when the disk fails, Closed when the board is closed.
        """
        return await self._recall()

    async def extend(self, ttl_seconds: float) -> bool:
        """Have the post expire later, which takes work for the hours added, or earlier.

        - `ttl_seconds`: how long it should lie there from now on, rounded as in `Board.post`. A post can stay
          at most 7 days beyond the day of its posting: `expires` says until when it does.

        Returns whether relays of both places have the new end within a minute. If not, they are asked on
        while the board is open. Raises ValueError for a time out of range, when the status is final, or when
        it was extended 254 times; BadData, Closed.
        """
        check_post_ttl(ttl_seconds)
        if self.is_final:
            raise ValueError(f"This post is {self.status} and cannot be extended.")
        return await self._extend(ttl_seconds)
