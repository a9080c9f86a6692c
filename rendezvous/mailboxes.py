"""The relay that keeps mailboxes: takes sealed items from anyone, and gives them to the mailbox's owner
(SPEC 14).

It cannot read what it keeps, and learns neither who left it nor for whom. It sees the name of a mailbox for
one period, and one-time keys. Whoever leaves an item pays with a proof of work, and whoever lists a mailbox
signs with the mailbox's key.

An item's time is exact to the second. It is not served past its expiry, and its bytes are gone from the disk
within a second. So this role goes by this machine's clock while the consensus agrees that it can be right.
Else it goes by the time that a consensus has confirmed, which is behind the truth by minutes or hours. So a
clock that is wrong erases nothing. After a restart, what has expired is swept before anything is served.

In inboxes and pairs, a reader that asks for what comes after an item has the item, so it is erased. On
boards, which have many readers, reading erases nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import chain
from typing import Final

from onionshh.core.base.buckets import Buckets
from onionshh.core.base.params import Params
from onionshh.core.mailbox.item import check_list_untrusted
from onionshh.core.mailbox.places import SERVED
from onionshh.core.paths.view import View
from onionshh.core.roles import (
    CircuitHandle,
    Drop,
    Effect,
    Look,
    Origin,
    Remember,
    RoleAction,
)
from onionshh.core.trust import EARLY_SECONDS
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.rendezvous.mailbox_deposits import Deposits, kept
from onionshh.rendezvous.mailbox_index import Index
from onionshh.rendezvous.mailbox_lists import Lists, items
from onionshh.rendezvous.mailbox_rows import Held, ItemStore
from onionshh.rendezvous.place import Place, in_window
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m

REQUESTS_MOST: Final = 4096
"""Per circuit. Reading a full board three values at a time takes 1 366."""
PUT_RATE, PUT_BURST = 50, 1000
LIST_RATE, LIST_BURST = 200, 4000
"""Per second and origin. An origin is a neighbour, over which many clients come."""
ORIGINS_MOST: Final = 4096
SOON_SECONDS: Final = 2

_HOUR_SECONDS: Final = 3600
_GRACE_SECONDS: Final = 600


class Clock:
    """The time that items expire by. `exact`: this machine's clock in Unix seconds, which may be wrong."""

    def __init__(self, exact: Callable[[], int], view: Callable[[], View | None]) -> None:
        self._exact = exact
        self._view = view

    def read(self, confirmed: int) -> int:
        """Unix seconds. `confirmed`: the time that a consensus has confirmed as passed."""
        view, exact = self._view(), self._exact()
        if view is None:
            return confirmed
        dates = view.consensus
        if dates.valid_after - EARLY_SECONDS <= exact < dates.valid_until:
            return max(exact, confirmed)
        return confirmed


class Mailboxes:
    """The LookingRole. `own_id` is this relay's identity; `view` and `params` those in force; `exact` this
    machine's clock. `held`: what the store holds."""

    accepts = frozenset((m.PUT, m.LIST))
    costly = frozenset((m.PUT,))

    def __init__(
        self,
        own_id: RelayId,
        view: Callable[[], View | None],
        params: Callable[[], Params],
        exact: Callable[[], int],
        *,
        store: ItemStore,
        held: Iterable[Held],
    ) -> None:
        self._own_id = own_id
        self._view = view
        self._clock = Clock(exact, view)
        self._place = Place(own_id, SERVED)
        self._store = store
        self._index = Index(lambda: params().mailbox_bytes)
        self._index.restore(held)
        self._deposits = Deposits(self, self._index)
        self._lists = Lists(self, self._index)
        self._puts: Buckets[Origin] = Buckets(PUT_RATE, PUT_BURST, ORIGINS_MOST)
        self._reads: Buckets[Origin] = Buckets(LIST_RATE, LIST_BURST, ORIGINS_MOST)
        self._requests: dict[CircuitHandle, int] = {}
        self._wall = 0
        """When it was swept last."""

    @property
    def store(self) -> ItemStore:
        """The store that commits and reads its rows."""
        return self._store

    @property
    def kept(self) -> int:
        """Items that are kept."""
        return len(self._index)

    @property
    def is_due_soon(self) -> bool:
        """Whether something expires, or must go from disk, within two seconds."""
        expiry = self._index.next_expiry
        soon = expiry is not None and expiry <= self._wall + SOON_SECONDS
        return soon or self._index.waits_to_be_erased > 0

    def statistics(self) -> Mapping[str, int]:
        """Counts, and what an hour in an empty inbox costs now."""
        return {
            "mailbox_items": len(self._index),
            "mailbox_bytes": self._index.used_bytes,
            "mailbox_room_bytes": self._index.most_bytes,
            "mailbox_ids": self._index.ids,
            "mailboxes": self._index.mailboxes,
            "mailbox_readers_waiting": self._lists.waiting,
            "mailbox_price": self._deposits.price_of(w.INBOX, _GRACE_SECONDS + _HOUR_SECONDS),
        }

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """PUT, answered by KEPT, or LIST, answered by ITEMS. Raises ProtocolError: the circuit ends."""
        if circuit.joined:
            raise ProtocolError(Reason.MESSAGE_ON_JOINED_CIRCUIT)
        requests = self._requests.get(circuit, 0) + 1
        if requests > REQUESTS_MOST:
            raise ProtocolError(Reason.MAILBOX_TOO_MANY)
        self._requests[circuit] = requests
        wall = self._sweep(wall)
        if message_type == m.PUT:
            return self._put(circuit, w.Put.decode_untrusted(body), now, wall)
        if message_type == m.LIST:
            return self._list(circuit, w.List.decode_untrusted(body), now, wall)
        raise ProtocolError(Reason.MESSAGE_TYPE)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Nothing waits to be sent: each request has one answer."""
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """What was deposited stays. Only answers that are owed are dropped."""
        if self._requests.pop(circuit, None) is not None:
            self._deposits.circuit_closed(circuit)
            self._lists.circuit_closed(circuit)
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Forget what has expired, answer whoever has waited long enough, and have erased what must go."""
        wall = self._sweep(wall)
        return self._ordered(self._lists.tick(now, wall), self._erase())

    def remembered(self, token: Hashable, now: float, wall: int) -> tuple[RoleAction, ...]:
        """A row is on disk: its depositor is told, and those who wait for it. Or rows are erased."""
        if token is self._index:
            self._index.erased(done=True)
            return self._erase()
        wall = self._sweep(wall)
        answers, mailbox = self._deposits.written(token, wall)
        return answers if mailbox is None else self._ordered(answers, self._lists.came(mailbox, wall))

    def not_remembered(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        """The row is not on disk, so its depositor may try again. Erasures are tried again at a tick."""
        if token is self._index:
            self._index.erased(done=False)
            return ()
        return self._deposits.not_written(token)

    def looked(
        self, token: Hashable, found: Sequence[bytes | None], now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """Values for a reader."""
        return self._lists.looked(token, found, self._sweep(wall))

    def not_looked(self, token: Hashable, now: float, wall: int) -> tuple[Effect, ...]:
        """Values could not be read."""
        return self._lists.looked(token, None, self._sweep(wall))

    def ended(self) -> None:
        """The relay ends."""
        self._store.close()

    def _put(self, circuit: CircuitHandle, put: w.Put, now: float, wall: int) -> tuple[RoleAction, ...]:
        if not self._puts.take(circuit.origin, now):
            return kept(circuit, w.FULL, why=Reason.MAILBOX_PUT_RATE)
        view, mailbox = self._view(), put.mailbox
        shared_random = None if view is None else view.shared_random(mailbox.period)
        if view is None or shared_random is None or not self._serves(view, mailbox):
            return kept(circuit, w.REFUSED)
        # What is recalled or extended may lie here for days after its period.
        is_new = self._index.get(mailbox, put.item_id, wall) is None
        if put.value and is_new and not in_window(mailbox.period, view):
            return kept(circuit, w.REFUSED)
        return self._deposits.put(circuit, put, shared_random, wall)

    def _list(self, circuit: CircuitHandle, wanted: w.List, now: float, wall: int) -> tuple[RoleAction, ...]:
        if not self._reads.take(circuit.origin, now):
            return items(circuit, w.Items(w.FULL, wanted.after)), Drop(Reason.MAILBOX_LIST_RATE)
        view, mailbox = self._view(), wanted.mailbox
        if view is None or not self._serves(view, mailbox):
            return items(circuit, w.Items(w.REFUSED, wanted.after)), Drop(Reason.MAILBOX_REFUSED)
        check_list_untrusted(wanted, circuit.binding, self._own_id)
        if mailbox.kind != w.BOARD:
            self._index.erase(mailbox, wanted.after)
        return self._lists.ask(circuit, wanted, now, wall)

    def _serves(self, view: View, mailbox: w.Mailbox) -> bool:
        """Whether the mailbox's ring is known, and it lies here."""
        known = view.shared_random(mailbox.period) is not None
        return known and self._place.is_for(view, mailbox.name, mailbox.period)

    def _sweep(self, confirmed: int) -> int:
        """Forget what has expired. Returns the time by which it has."""
        self._wall = wall = self._clock.read(confirmed)
        self._index.sweep(wall)
        return wall

    def _erase(self) -> tuple[RoleAction, ...]:
        rows = self._index.next_erasure()
        return (Remember(self, self._index, rows),) if rows else ()

    @staticmethod
    def _ordered(*parts: tuple[RoleAction, ...]) -> tuple[RoleAction, ...]:
        """All actions, effects first, then what is read, then what is written."""
        return tuple(sorted(chain(*parts), key=_rank))


def _rank(action: RoleAction) -> int:
    match action:
        case Look():
            return 1
        case Remember():
            return 2
    return 0
