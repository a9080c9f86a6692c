"""What a relay's mailboxes write to disk, and what memory knows of each item (SPEC 14).

An item has a serial number of its own at this relay. A row names an item by it, and no serial number is used
twice. So a row may be written late, or a second time, without harm.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from onionshh.core.roles import LookedInto
from onionshh.wire.mailbox import Mailbox


@dataclass(slots=True)
class Held:
    """One item as memory knows it. Its value lies on disk only.

    `number`: its place in the mailbox. `digest`: SHA3-256 of the value, empty for an item that was erased and
    is remembered until it expires, so that it does not come back.
    """

    serial: int
    mailbox: Mailbox = field(repr=False)
    item_id: bytes = field(repr=False)
    number: int
    expires: int
    revision: int
    signature: bytes = field(repr=False)
    digest: bytes = field(repr=False)

    @property
    def is_erased(self) -> bool:
        """Whether only its id is still known."""
        return not self.digest


@dataclass(frozen=True, slots=True)
class Keep:
    """A new item."""

    item: Held
    value: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """A later revision of an item with the same value."""

    serial: int
    expires: int
    revision: int
    signature: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Blank:
    """Erase an item, and know its id until it expires."""

    serial: int
    expires: int
    revision: int


@dataclass(frozen=True, slots=True)
class Erase:
    """Erase an item and all that is known of it."""

    serial: int


Row = Keep | Change | Blank | Erase


class ItemStore(LookedInto, Protocol):
    """Where a relay's items lie."""

    def rows(self) -> list[Held]:
        """All that is there when the relay starts, in the order of the numbers. Raises BadData, OSError."""

    def close(self) -> None:
        """Close what is open. A later use opens it again."""
