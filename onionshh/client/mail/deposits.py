"""What is remembered of letters that are being left at relays (SPEC 14).

Before a relay hears of an item, its key, its sealed bytes and its proof are kept. Before each PUT it is kept
that this relay may have the item from now on. So a start after a crash sends the same bytes under the same
id, and a recall knows every relay that may hold a copy. A value is read when it is needed; in between, only
this store holds it.

`DepositsInMemory` forgets everything at the end of the program. `deposit_store.py` keeps it on disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Protocol

from onionshh.core.mailbox.copies import Copy, CopyState
from onionshh.core.mailbox.work import NO_PROOF
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData
from onionshh.geometry import WHISPER_ID
from onionshh.ids import WhisperId
from onionshh.wire.mailbox import PAIR, Mailbox

_EVERY_BIT: Final = (1 << 8 * WHISPER_ID) - 1


def beside(letter: WhisperId) -> WhisperId:
    """The name of the letter that holds the same whisper: one goes into an inbox and has the whisper's id,
    the other goes into a pair mailbox and has that id with every bit turned."""
    turned = int.from_bytes(letter, "big") ^ _EVERY_BIT
    return WhisperId(turned.to_bytes(WHISPER_ID, "big"))


def whisper_of(letter: WhisperId, kind: int | None) -> WhisperId:
    """The whisper in a visitor's letter. `kind`: of its mailbox."""
    return beside(letter) if kind == PAIR else letter


EXTENSIONS_MOST: Final = 254
"""A revision is one byte, and a recall needs one more."""
NO_VALUE = "a letter's sealed bytes are gone"


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
    """What is known of one part, without its value. `effort` 0: no proof was found yet. `revision`: how often
    its end was changed."""

    item_id: bytes = field(repr=False)
    mailbox: Mailbox
    seed: bytes = field(repr=False)
    expires: int
    effort: int = 0
    nonce: bytes = field(default=NO_PROOF, repr=False)
    copies: tuple[Copy, ...] = ()
    revision: int = 0

    @classmethod
    def of(cls, item: SealedItem) -> KeptItem:
        """What is known of an item that no relay knows yet."""
        return cls(item.item_id, item.mailbox, item.seed, item.expires)

    def extended(self, expires: int) -> KeptItem:
        """The next revision, which ends at another time. No relay is known to have it."""
        copies = tuple(
            replace(copy, state=CopyState.TRIED) if copy.state is CopyState.STORED else copy
            for copy in self.copies
        )
        revision = self.revision + 1
        return replace(self, expires=expires, effort=0, nonce=NO_PROOF, copies=copies, revision=revision)


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

    async def extended(self, letter: WhisperId, expires: int) -> None:
        """All parts end at another time from now on (Unix seconds), and so does the letter."""

    async def recalled(self, letter: WhisperId) -> None:
        """The letter is called back from now on."""

    def forget(self, letter: WhisperId) -> None:
        """Erase the letter soon. Nothing happens if it is not there."""


class DepositsInMemory:
    """For a contact without a name: nothing is left on disk."""

    def __init__(self) -> None:
        self._letters: dict[WhisperId, KeptLetter] = {}
        self._values: dict[bytes, bytes] = {}
        self._letter_of: dict[bytes, WhisperId] = {}

    async def load(self) -> list[KeptLetter]:
        """As `Deposits.load`."""
        return list(self._letters.values())

    async def value(self, item_id: bytes) -> bytes:
        """As `Deposits.value`."""
        try:
            return self._values[item_id]
        except KeyError:
            raise BadData(NO_VALUE) from None

    async def add(self, letter: WhisperId, items: Sequence[SealedItem], until: int) -> None:
        """As `Deposits.add`."""
        kept = tuple(map(KeptItem.of, items))
        self._letters[letter] = KeptLetter(letter, until, False, kept)
        for known, item in zip(kept, items, strict=True):
            self._values[known.item_id] = item.value
            self._letter_of[known.item_id] = letter

    async def proved(self, item_id: bytes, effort: int, nonce: bytes) -> None:
        """As `Deposits.proved`."""
        self._change(item_id, lambda item: replace(item, effort=effort, nonce=nonce))

    async def copied(self, item_id: bytes, copy: Copy) -> None:
        """As `Deposits.copied`."""

        def change(item: KeptItem) -> KeptItem:
            others = (other for other in item.copies if other.relay != copy.relay)
            return replace(item, copies=(*others, copy))

        self._change(item_id, change)

    async def extended(self, letter: WhisperId, expires: int) -> None:
        """As `Deposits.extended`."""
        kept = self._letters.get(letter)
        if kept is not None:
            items = tuple(item.extended(expires) for item in kept.items)
            self._letters[letter] = replace(kept, until=expires, items=items)

    async def recalled(self, letter: WhisperId) -> None:
        """As `Deposits.recalled`."""
        kept = self._letters.get(letter)
        if kept is not None:
            self._letters[letter] = replace(kept, recalled=True)

    def forget(self, letter: WhisperId) -> None:
        """As `Deposits.forget`."""
        kept = self._letters.pop(letter, None)
        for item in kept.items if kept is not None else ():
            self._values.pop(item.item_id, None)
            self._letter_of.pop(item.item_id, None)

    def _change(self, item_id: bytes, change: Callable[[KeptItem], KeptItem]) -> None:
        letter = self._letters.get(self._letter_of.get(item_id, WhisperId(b"")))
        if letter is not None:
            items = tuple(change(item) if item.item_id == item_id else item for item in letter.items)
            self._letters[letter.letter] = replace(letter, items=items)
