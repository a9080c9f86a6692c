"""One part of a letter on its way to its relays: proves, asks one relay after the other, or calls back.

`core/mailbox/copies.py` decides which relay is next, and when. This file waits for that moment, keeps on disk
what must be there first, and sends the PUT. A disk that fails counts as a relay that cannot be reached: it is
tried again later, and no relay hears of what is not on disk.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.client.mail.depositing import Deposit, deposit, recall
from onionshh.client.mail.deposits import Deposits, KeptItem
from onionshh.client.mail.proving import Worked, prove
from onionshh.client.steps import steps
from onionshh.core.mailbox.copies import Copies, Copy, Next
from onionshh.core.mailbox.places import Places
from onionshh.core.mailbox.price import EFFORT_MOST, extension_price, price
from onionshh.core.mailbox.work import put_task
from onionshh.errors import BadData, Closed, NetworkUnreachable, NoDirectory
from onionshh.ids import RelayId
from onionshh.net.circuits import CircuitFailed
from onionshh.net.signals import Poke
from onionshh.wire import mailbox as w
from onionshh.wire.mailbox import Mailbox

CHECK_SECONDS: Final = 60.0
"""So often a part looks whether the consensus has other relays for it."""
RAISES_MOST: Final = 12
"""So often a better proof is looked for. Beyond the first time it is twice as good at least, so that a relay
which always wants a little more gets nowhere."""

_DISK = (BadData, Closed)
_FAILURES = (CircuitFailed, NetworkUnreachable, NoDirectory, *_DISK)


class OneItem:
    """`until`: Unix seconds; then no relay is asked any more to take it. `changed` is called whenever there
    are other copies or refusals, `worked` during the work."""

    def __init__(
        self,
        context: Context,
        deposits: Deposits,
        kept: KeptItem,
        until: int,
        *,
        changed: Callable[[], None],
        worked: Worked,
    ) -> None:
        self._context = context
        self._deposits = deposits
        self._kept = kept
        self._until = until
        self._changed = changed
        self._worked = worked
        self._wanted: int | None = kept.effort or None
        """The effort to pay. None until the least price is known."""
        self._raises = 0
        self._recalled = False
        self._poke = Poke()
        self._proving = trio.CancelScope()
        self.copies = Copies(context.chance, context.clock.monotonic(), kept.copies)

    @property
    def mailbox(self) -> Mailbox:
        """Where it is left."""
        return self._kept.mailbox

    @property
    def revision(self) -> int:
        """How often its end was changed."""
        return self._kept.revision

    @property
    def expires(self) -> int:
        """When the relays erase it: Unix seconds."""
        return self._kept.expires

    @property
    def lapsed(self) -> bool:
        """Whether too few relays have it, and none takes it any more: the period of its mailbox is over."""
        view = self._context.keeper.current
        over = view is not None and view.period > self._kept.mailbox.period + 1
        is_new = not self._kept.revision  # else some relays have it, with another end
        return over and is_new and not self._recalled and not self.copies.enough

    @property
    def refusals(self) -> frozenset[int]:
        """What the relays say, if all of them were asked and none takes it, for any proof that we have or
        look for."""
        return frozenset() if self._unproved else self.copies.refusals

    def extend(self, expires: int) -> None:
        """It ends at this time from now on (Unix seconds): a relay that has it is asked to keep it until
        then, for the work that the hours added cost. `Deposits` has it by now."""
        before, self._kept = self._kept.expires, self._kept.extended(expires)
        self._until = expires
        self._wanted = self._least(extension_price, expires, before)
        self._raises = 0
        self.copies.extended(self._context.clock.monotonic())
        self._proving.cancel()
        self._poke.send()

    def recall(self) -> None:
        """From now on it is to be erased wherever it may be."""
        self._recalled = True
        self.copies.recall(self._context.clock.monotonic())
        self._proving.cancel()
        self._poke.send()

    async def run(self) -> None:
        """Do what is to be done, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                upcoming = self._upcoming()
                wait = CHECK_SECONDS
                if upcoming is not None:
                    if self._unproved:
                        await self._prove()
                        continue
                    wait = min(wait, upcoming.at - self._context.clock.monotonic())
                if upcoming is not None and wait <= 0:
                    await self._begin(upcoming, nursery)
                else:
                    with trio.move_on_after(wait):
                        await self._poke.wait()

    # What is next.

    def _upcoming(self) -> Next | None:
        if not self._recalled:
            if self._context.clock.earliest() >= self._until:
                return None
            self.copies.aim(self._places())
        return self.copies.next(self._context.clock.monotonic())

    def _places(self) -> Places | None:
        """The relays that may take it now: its period is the present one or a neighbour, or they have it."""
        view, mailbox = self._context.keeper.current, self._kept.mailbox
        if view is None or (abs(view.period - mailbox.period) > 1 and not self._kept.revision):
            return None
        return self._context.shared.rings.writable(view, mailbox)

    # The proof.

    @property
    def _unproved(self) -> bool:
        return not self._recalled and (self._wanted is None or self._wanted > self._kept.effort)

    async def _prove(self) -> None:
        """Look for the proof that is wanted, and keep it. It ends early if the part is called back or
        extended."""
        try:
            with trio.CancelScope() as self._proving:
                view = self._context.view
                shared_random = view.shared_random(self._kept.mailbox.period)
                if shared_random is None:
                    raise NoDirectory("there is no random value for this period")
                kept = self._kept
                if self._wanted is None:
                    self._wanted = self._least(price, kept.expires, self._context.clock.earliest())
                wanted = self._wanted
                value = await self._deposits.value(kept.item_id)
                task = put_task(shared_random, kept.mailbox, kept.item_id, kept.expires, value)
                steps.debug("we look for a proof of work, which takes %d tries on average", wanted)
                nonce = await prove(self._context, task, wanted, self._worked)
                steps.debug("the proof is found")
                await self._deposits.proved(kept.item_id, wanted, nonce)
                if kept is not self._kept:  # extended meanwhile: the proof is for another end
                    return
                self._kept = replace(kept, effort=wanted, nonce=nonce)
                self.copies.paid(self._context.clock.monotonic())
        except (NoDirectory, *_DISK):
            with trio.move_on_after(CHECK_SECONDS):
                await self._poke.wait()

    def _least(self, priced: Callable[..., int], expires: int, since: int) -> int:
        """What a relay with much room wants."""
        kind = self._kept.mailbox.kind
        return min(EFFORT_MOST, priced(kind, expires, since, relay_used=0, relay_most=1, mailbox_used=0))

    def _raise(self, asked: int) -> None:
        paid = self._kept.effort
        if paid < asked <= EFFORT_MOST and self._raises < RAISES_MOST:
            self._wanted = asked if not self._raises else min(EFFORT_MOST, max(asked, 2 * paid))
            self._raises += 1

    # The PUTs.

    async def _begin(self, upcoming: Next, nursery: trio.Nursery) -> None:
        relay = upcoming.copy.relay
        copy = self.copies.began(relay, self._context.clock.monotonic())
        try:
            if not self._recalled:  # else it is known that this relay may have it
                await self._deposits.copied(self._kept.item_id, copy)
        except _DISK:
            self.copies.failed(relay, self._context.clock.monotonic())
        else:
            nursery.start_soon(self._put, copy, self._recalled)

    async def _put(self, copy: Copy, recalled: bool) -> None:
        context, relay, revision = self._context, copy.relay, self._kept.revision
        try:
            answer = await self._ask(copy, recalled)
        except _FAILURES as error:
            steps.debug("%s was not asked, or did not answer: %s", self._name(relay), error)
            self.copies.failed(relay, context.clock.monotonic(), offline=not context.builder.online)
        else:
            if revision != self._kept.revision:  # extended meanwhile: it does not know of that
                self.copies.failed(relay, context.clock.monotonic(), offline=True)
                self.copies.extended(context.clock.monotonic())
                self._poke.send()
                return
            steps.debug("%s %s", self._name(relay), in_words(answer, recalled=recalled))
            if answer.status == w.DEAR and not recalled:
                self._raise(answer.effort)
            now = context.clock.monotonic()
            other = self.copies.answered(relay, answer.status, now, recall=recalled)
            if other is not None:
                with suppress(*_DISK):  # then it is asked again after the next start
                    await self._deposits.copied(self._kept.item_id, other)
        self._poke.send()
        self._changed()

    def _name(self, relay: RelayId) -> str:
        view = self._context.keeper.current
        row = None if view is None else view.any_relay(relay)
        return "a relay that is gone" if row is None else row.nickname

    async def _ask(self, copy: Copy, recalled: bool) -> w.Kept:
        kept = self._kept
        row = self._context.view.any_relay(copy.relay)
        if row is None:
            raise NetworkUnreachable("this relay is not in the network now")
        value = b"" if recalled else await self._deposits.value(kept.item_id)
        put = Deposit(kept.mailbox, kept.seed, kept.expires, value, kept.nonce, kept.effort, kept.revision)
        return await (recall if recalled else deposit)(self._context, put, row)


def in_words(answer: w.Kept, *, recalled: bool) -> str:
    """What a relay says, with the relay as the subject."""
    match answer.status:
        case w.STORED:
            return "has erased its copy" if recalled else "keeps a copy"
        case w.STALE:
            return "had a copy, which was read or erased"
        case w.FULL:
            return "has no room for it"
        case w.DEAR:
            return f"wants {answer.effort} tries of work for it"
        case _:
            return "refuses it"
