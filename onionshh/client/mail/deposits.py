"""What is remembered of letters that are being left at relays (SPEC 14).

Before a relay hears of an item, its key, its sealed bytes and its proof are kept. Before each PUT it is kept
that this relay may have the item from now on. So a start after a crash sends the same bytes under the same
id, and a recall knows every relay that may hold a copy. A value is read when it is needed; in between, only
this store holds it.

`DepositsInMemory` forgets everything at the end of the program. `deposit_store.py` keeps it on disk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from onionshh.core.mailbox.copies import Copy
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RelayId, WhisperId
from onionshh.wire.mailbox import Mailbox


@dataclass(frozen=True, slots=True)
class SealedItem:
    """One part of a letter, ready for its mailbox. `seed`: that of the item's one-time key. `expires`: Unix
    seconds, when the relays erase it. `value`: the sealed bytes."""

    mailbox: Mailbox
    seed: bytes = field(repr=False)
    expires: int
    value: bytes = field(repr=False)

    @property
    def item_id(self) -> bytes:
        """The public key of its one-time key."""
        return SigningKey(self.seed).public


@dataclass(frozen=True, slots=True)
class KeptItem:
    """What is known of one part, without its value. `effort` 0: no proof was found yet."""

    mailbox: Mailbox
    seed: bytes = field(repr=False)
    expires: int
    effort: int
    nonce: bytes = field(repr=False)
    copies: tuple[Copy, ...] = ()

    @property
    def item_id(self) -> bytes:
        """The public key of its one-time key."""
        return SigningKey(self.seed).public


@dataclass(frozen=True, slots=True)
class KeptLetter:
    """A letter that is being left, or recalled. `until`: Unix seconds; then it is not tried any more."""

    letter: WhisperId
    until: int
    recalled: bool
    items: tuple[KeptItem, ...]


class Deposits(Protocol):
    """Where letters are remembered. Everything that awaits is on disk when it returns, and raises BadData if
    the disk or the file fails, and Closed."""

    async def load(self) -> list[KeptLetter]:
        """All letters, the oldest first."""

    async def value(self, item_id: bytes) -> bytes:
        """The sealed bytes of one item. BadData if it is not there."""

    async def add(self, letter: WhisperId, items: Sequence[SealedItem], until: int) -> None:
        """Keep a new letter with all its parts."""

    async def proved(self, item_id: bytes, effort: int, nonce: bytes) -> None:
        """Keep the proof of one item."""

    async def copied(self, item_id: bytes, copy: Copy) -> None:
        """Keep what is known of the copy at one relay."""

    async def recalled(self, letter: WhisperId) -> None:
        """The letter is called back from now on."""

    def forget(self, letter: WhisperId) -> None:
        """Erase the letter soon. Nothing happens if it is not there."""
