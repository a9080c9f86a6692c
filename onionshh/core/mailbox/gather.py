"""The parts of a letter come together (SPEC 14). Pure.

The parts lie in a mailbox as items of their own, and a reader meets them in any order and over days. They
belong together if their name is the same: the sender and the letter's id. Only a sender can make parts of his
own name, so nobody can spoil the letter of another. A part that contradicts an earlier one is refused, and
the earlier ones stay.

Anyone who pays for deposits can leave parts of letters that never become whole. So there is a bound. If it is
reached, the letter to which nothing was added for the longest time makes room: the parts of an honest letter
are deposited within minutes. A letter whose end has come is dropped.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Final

from onionshh.errors import ProtocolError
from onionshh.reasons import Reason

LETTERS_MOST: Final = 1024
BYTES_MOST: Final = 4 * 1024 * 1024


@dataclass(slots=True)
class _Letter:
    parts: int
    expires: int
    chunks: dict[int, bytes] = field(default_factory=dict, repr=False)

    @property
    def size(self) -> int:
        return sum(map(len, self.chunks.values()))


class Gather:
    """The letters of which some parts are still missing."""

    __slots__ = ("_bytes", "_dropped", "_letters")

    def __init__(self) -> None:
        self._letters: dict[Hashable, _Letter] = {}
        """The one to which something was added last is at the end."""
        self._bytes = 0
        self._dropped: list[tuple[Hashable, Reason]] = []

    def __len__(self) -> int:
        return len(self._letters)

    def __contains__(self, name: Hashable) -> bool:
        return name in self._letters

    @property
    def kept_bytes(self) -> int:
        """The size of all parts that are kept."""
        return self._bytes

    def add(self, name: Hashable, part: int, parts: int, chunk: bytes, expires: int) -> bytes | None:
        """A part was read. Returns the whole if no part is missing any more. It stays here until `done`.

        `expires`: Unix seconds, that of the item. Raises ProtocolError if the part contradicts another one.
        """
        letter = self._letters.get(name)
        if letter is None:
            letter = _Letter(parts, expires)
        elif parts != letter.parts or letter.chunks.get(part, chunk) != chunk:
            raise ProtocolError(Reason.LETTER_PARTS)
        self._bytes += 0 if part in letter.chunks else len(chunk)
        letter.chunks[part] = chunk
        letter.expires = max(letter.expires, expires)
        self._letters.pop(name, None)
        self._letters[name] = letter
        while self._bytes > BYTES_MOST or len(self._letters) > LETTERS_MOST:
            self._drop(next(iter(self._letters)), Reason.LETTER_DISPLACED)
        if len(letter.chunks) < letter.parts:
            return None
        return b"".join(letter.chunks[number] for number in range(letter.parts))

    def done(self, name: Hashable) -> None:
        """The whole is kept elsewhere, or of no use. Nothing happens if it is not here."""
        if name in self._letters:
            self._forget(name)

    def dropped(self, wall: int) -> tuple[tuple[Hashable, Reason], ...]:
        """The letters that were given up since the last call, and why: erase their parts. `wall`: Unix
        seconds; what has expired by then is given up now."""
        for name in [name for name, letter in self._letters.items() if letter.expires <= wall]:
            self._drop(name, Reason.LETTER_EXPIRED)
        dropped, self._dropped = tuple(self._dropped), []
        return dropped

    def _drop(self, name: Hashable, reason: Reason) -> None:
        self._forget(name)
        self._dropped.append((name, reason))

    def _forget(self, name: Hashable) -> None:
        self._bytes -= self._letters.pop(name).size
