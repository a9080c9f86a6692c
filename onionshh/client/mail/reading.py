"""Reads one mailbox: what its relays hold, each item once (SPEC 14).

The first three relays of both places are asked, over one circuit each, for the heads of what they have. An
item whose value is not known yet is fetched from one relay, and its depositor's signature is checked: a relay
cannot put its own value under somebody's id. Then `take` gets it, which must have synced it when it returns.
Only then does the reader ask on at each relay that has it, which erases it there (in inboxes and pairs).

Relays may hide items, be empty, late or full, or lie: what one of them says is used for itself alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from onionshh.client.context import Context
from onionshh.wire.mailbox import Item, Mailbox

Take = Callable[[Item], Awaitable[None]]
"""Gets one item that its depositor signed. It has synced it, or decided that it is of no use, when it
returns. If it raises, nothing that is not taken is erased at a relay, and the error goes to the reader."""
Sign = Callable[[bytes], bytes]
"""Signs with the mailbox's own key."""


@dataclass(frozen=True, slots=True)
class Read:
    """One reading. `taken`: how many items were new. `answered` of so many `asked` relays answered to the
    end."""

    taken: int
    answered: int
    asked: int

    @property
    def whole(self) -> bool:
        """Whether every relay answered."""
        return self.answered == self.asked > 0


class MailboxReader:
    """Reads one mailbox, as often as one likes. What was taken once is not taken again."""

    def __init__(self, context: Context, mailbox: Mailbox, sign: Sign, take: Take) -> None:
        self._context = context
        self._mailbox = mailbox
        self._sign = sign
        self._take = take

    async def read(self, *, missing: bool = False) -> Read:
        """Ask all relays once. With `missing`, only those that never answered to the end. Does not raise when
        the network fails, only what `take` raises."""
        raise NotImplementedError


async def read_older(context: Context, readers: Sequence[MailboxReader], over_seconds: float) -> None:
    """Read each of these once, spread over so many seconds; then again every 10 to 20 min from the relays
    that did not answer, for some hours at most. Raises what `take` raises."""
    raise NotImplementedError
