"""The items of a board that were read, by which each is read once (SPEC 14)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from onionshh.client.board.store import ItemRow

KNOWN_MOST: Final = 65_536
"""Items that are known. An honest board has half as many in eight days."""

Name = tuple[bytes, bytes]
"""The author and the id of a post."""


@dataclass(slots=True)
class _Known:
    """`post`: None for junk. `ends`: all ends that relays gave for it, whichever revision they belong to."""

    post: Name | None
    row: ItemRow
    ends: set[int] = field(default_factory=set)


class KnownItems:
    """What is known of the items of one board. When there are too many, junk is forgotten first, then what
    was read first."""

    def __init__(self) -> None:
        self._known: dict[bytes, _Known] = {}
        self._posts: dict[Name, list[bytes]] = {}
        """The items of each post of which something came."""
        self._junk: dict[bytes, None] = {}
        self._misdated: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._known)

    def __contains__(self, item_id: bytes) -> bool:
        return item_id in self._known

    def wants(self, item_id: bytes, expires: int) -> bool:
        """Whether an item with this end is to be read."""
        known = self._known.get(item_id)
        return known is None or expires not in known.ends

    def note(self, row: ItemRow, name: Name | None, *, misdated: bool = False) -> None:
        """An item was read. `name`: the post that it belongs to, None for junk. `misdated`: it is junk for
        its end alone."""
        self._known[row.item_id] = _Known(name, row, {row.expires})
        if name is not None:
            self._posts.setdefault(name, []).append(row.item_id)
            self._junk.pop(row.item_id, None)
        else:
            self._junk[row.item_id] = None
        if misdated:
            self._misdated.add(row.item_id)
        while len(self._known) > KNOWN_MOST:
            self._forget(next(iter(self._junk or self._known)))

    def renew(self, row: ItemRow, *, counts: bool = True) -> bool:
        """A known item has this end, too. Returns whether that is the end of its post from now on. `counts`:
        False for an end that cannot be."""
        known = self._known[row.item_id]
        known.ends.add(row.expires)
        if row.revision <= known.row.revision or not counts:
            return False
        known.row = row
        return known.post is not None

    def has(self, name: Name) -> bool:
        """Whether something of this post came."""
        return name in self._posts

    def rows_of(self, name: Name) -> tuple[ItemRow, ...]:
        """The items of a post."""
        return tuple(self._known[item_id].row for item_id in self._posts.get(name, ()))

    def forget_post(self, name: Name) -> None:
        """The items of this post may be read again."""
        for item_id in tuple(self._posts.get(name, ())):
            self._forget(item_id)

    def forget_misdated(self) -> None:
        """What was dropped for its end alone may be read again."""
        for item_id in self._misdated & self._junk.keys():
            self._forget(item_id)
        self._misdated.clear()

    def expire(self, wall: int) -> None:
        """Forget what has expired by `wall`, Unix seconds."""
        for item_id in [item_id for item_id, known in self._known.items() if known.row.expires <= wall]:
            self._forget(item_id)

    def _forget(self, item_id: bytes) -> None:
        known = self._known.pop(item_id)
        self._junk.pop(item_id, None)
        self._misdated.discard(item_id)
        if known.post is not None:
            items = self._posts[known.post]
            items.remove(item_id)
            if not items:
                del self._posts[known.post]
