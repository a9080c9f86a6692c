"""Works for a place on a crowded ring: a better proof each time a ring relay says that it is full (SPEC 10).

An endpoint does no work until it is told to, and starts anew in each period. One proof serves all relays and
revisions of a period. The best proof found is kept, so a search for twice the effort goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from onionshh.client.context import Context
from onionshh.core.endpoint.effort import EFFORT_LEAST, EFFORT_MOST, NO_PROOF, Search, publish_task
from onionshh.crypto.identity import IdentityKeys
from onionshh.net.signals import Poke

PIECE_TRIES = 128
"""About 20 ms of work. The work can be cancelled between two of these."""


@dataclass(slots=True)
class _Bid:
    search: Search
    wanted: int


class Bidding:
    """The work of one endpoint. `found(period)` is called when there is a better proof."""

    def __init__(self, context: Context, identity: IdentityKeys, found: Callable[[int], None]) -> None:
        self._context = context
        self._identity = identity
        self._found = found
        self._bids: dict[int, _Bid] = {}
        self._poke = Poke()

    def nonce(self, period: int) -> bytes:
        """The best proof so far, for a descriptor of this period."""
        bid = self._bids.get(period)
        return bid.search.nonce if bid is not None else NO_PROOF

    def wanted(self, period: int) -> int:
        """The effort that this period's descriptors must have; 0 if none was asked for."""
        bid = self._bids.get(period)
        return bid.wanted if bid is not None else 0

    def effort(self, period: int) -> int:
        """What the best proof so far is worth."""
        bid = self._bids.get(period)
        return bid.search.effort if bid is not None else 0

    @property
    def working(self) -> frozenset[int]:
        """Periods for which a better proof is being looked for."""
        return frozenset(period for period, bid in self._bids.items() if bid.search.effort < bid.wanted)

    def higher(self, period: int, nonce: bytes) -> None:
        """This proof was not enough: look for twice as much, unless that is done or being done."""
        context = self._context
        bid = self._bids.get(period)
        if bid is None:
            view = context.keeper.current  # whoever calls cannot tell that it has expired meanwhile
            shared_random = view.shared_random(period) if view is not None else None
            if shared_random is None:
                return
            blinded = self._identity.blind(period, context.params.period_seconds).public
            search = Search(publish_task(shared_random, blinded, period), context.chance.bytes)
            bid = self._bids[period] = _Bid(search, 0)
        if bid.search.effort >= bid.wanted and bid.search.nonce == nonce:
            bid.wanted = min(EFFORT_MOST, max(EFFORT_LEAST, 2 * bid.search.effort))
            self._poke.send()

    def forget_before(self, period: int) -> None:
        """Forget the periods that are over."""
        for past in [past for past in self._bids if past < period]:
            del self._bids[past]

    async def run(self) -> None:
        """Work when there is work, until cancelled."""
        while True:
            await self._poke.wait()
            for period, bid in list(self._bids.items()):
                if bid.search.effort >= bid.wanted:
                    continue
                while bid.search.effort < bid.wanted and self._bids.get(period) is bid:
                    await self._context.run_long(partial(bid.search.look, PIECE_TRIES, bid.wanted))
                self._found(period)
