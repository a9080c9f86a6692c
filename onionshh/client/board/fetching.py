"""One period's mailbox of a board, read from all of its relays at once (SPEC 14).

Each relay gives the heads of what it has. A value is fetched from one relay only: whoever asks for it first
has a few seconds, and then others may ask too. So many relays share the work, and a slow one holds up nobody.
The depositor's signature is checked, so a relay cannot put its own value under somebody's id.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

import trio

from onionshh.client.board.arriving import Arriving
from onionshh.client.context import Context
from onionshh.client.mail.listing import ask_page
from onionshh.core.board.topic import Topic
from onionshh.core.mailbox.item import check_item_untrusted
from onionshh.errors import ProtocolError
from onionshh.geometry import MAILBOX_PAGE_VALUES
from onionshh.net.circuits import Circuit
from onionshh.net.signals import Broadcast
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from onionshh.wire.consensus import RelayRow
from onionshh.wire.mailbox import Head, Item, Items

CLAIM_SECONDS: Final = 5.0
"""So long a value is one relay's to give."""


class Fetching:
    """The mailbox of one period."""

    def __init__(self, context: Context, topic: Topic, period: int, arriving: Arriving) -> None:
        self._context = context
        self._key = topic.key(period)
        self._arriving = arriving
        self._claims: dict[bytes, float] = {}
        """Until when others leave an item to the relay that is asked for it: monotonic seconds."""
        self._changed = Broadcast()
        self.mailbox = topic.mailbox(period)

    async def ask(self, circuit: Circuit, row: RelayRow, after: int, wait: int = 0) -> Items:
        """One page of heads beyond `after`, and the values of those that are not known. `wait`: how many
        seconds the relay may wait for something to come. CircuitFailed, ProtocolError, BadData, Closed."""
        page = await self._list(circuit, row, w.HEADS, after, wait)
        numbers = [after, *(head.number for head in page.heads)]
        if any(later <= earlier for earlier, later in pairwise(numbers)):
            raise ProtocolError(Reason.MAILBOX_SHAPE)
        waiting = list(page.heads)
        while waiting:
            changed = self._changed.ticket()
            waiting = await self._fetch(circuit, row, waiting)
            if waiting:  # others are asked for these
                with trio.move_on_after(CLAIM_SECONDS):
                    await changed.wait()
        return page

    async def _fetch(self, circuit: Circuit, row: RelayRow, heads: Sequence[Head]) -> list[Head]:
        """Fetch what nobody else is asked for. Returns the others that are still wanted."""
        left = []
        for at, head in enumerate(heads):
            if not self._arriving.wants(head.item_id, head.expires):
                continue
            if self._is_claimed(head):
                left.append(head)
                continue
            claimed = [head]
            for other in heads[at + 1 : at + MAILBOX_PAGE_VALUES]:
                if not self._arriving.wants(other.item_id, other.expires) or self._is_claimed(other):
                    break
                claimed.append(other)
            await self._claim(circuit, row, claimed)
        return left

    def _is_claimed(self, head: Head) -> bool:
        return self._claims.get(head.item_id, 0.0) > self._context.clock.monotonic()

    async def _claim(self, circuit: Circuit, row: RelayRow, heads: Sequence[Head]) -> None:
        """Take the values of these heads, and of what the relay gives with them."""
        until = self._context.clock.monotonic() + CLAIM_SECONDS
        self._claims.update((head.item_id, until) for head in heads)
        try:
            page = await self._list(circuit, row, w.VALUES, heads[0].number - 1)
            for item in page.items:
                self._take(item)
                await trio.lowlevel.checkpoint()  # each takes a millisecond, and a board may be large
        finally:
            for head in heads:
                self._claims.pop(head.item_id, None)
            self._changed.send()
        await self._arriving.relieve()

    def _take(self, item: Item) -> None:
        if not self._arriving.wants(item.item_id, item.expires):
            return
        check_item_untrusted(self.mailbox, item)
        self._arriving.take(self.mailbox, item)

    async def _list(self, circuit: Circuit, row: RelayRow, mode: int, after: int, wait: int = 0) -> Items:
        return await ask_page(circuit, row, self.mailbox, self._key.sign, mode=mode, after=after, wait=wait)
