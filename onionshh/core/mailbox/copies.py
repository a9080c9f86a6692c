"""The copies of one item at several relays: which relay is next, and when (SPEC 14). Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from onionshh.ids import RelayId

COPIES: Final = 4


class CopyState(IntEnum):
    """What is known of the copy at one relay. The numbers are on disk."""

    TRIED = 1
    """A PUT was sent, or is about to be sent. The relay may have it."""
    STORED = 2
    """The relay said that it has it."""
    ERASED = 3
    """It was called back, and the relay said that it has erased it, or never had it."""


@dataclass(frozen=True, slots=True)
class Copy:
    """The copy at one relay. `place`: which of the mailbox's two places the relay belongs to."""

    relay: RelayId
    place: int
    state: CopyState
