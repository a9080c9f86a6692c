"""Privacy classes: what a whisper asks of its path (SPEC 16).

There are four and no free parameters, since a parameter of one's own is a fingerprint. `hush` and `dark`
need delays, shares and cover traffic, which this version does not speak: their numbers are reserved.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from onionshh.core.base.chance import Chance


@dataclass(frozen=True, slots=True)
class PrivacyClass:
    """`number` goes to relays and into records; `hops` are the visitor's, one drawn for each circuit."""

    name: str
    number: int
    hops: tuple[int, ...]

    def draw_hops(self, chance: Chance, asked: int | None) -> int:
        """The hops of the next circuit: as asked, else drawn by everyone with the same odds."""
        return asked if asked is not None else chance.choice(self.hops)


FLASH: Final = PrivacyClass("flash", 0, (0, 1))
TALK: Final = PrivacyClass("talk", 1, (2, 3))
CLASSES: Final = MappingProxyType({one.name: one for one in (FLASH, TALK)})
NOT_YET: Final = MappingProxyType({"hush": 2, "dark": 3})
"""Numbers that are agreed for classes this version does not speak."""
MOST_HOPS: Final = 3
PATH_RELAYS_MOST: Final = MOST_HOPS + 1
"""Relays of a circuit, the last one included."""

ENDPOINT_HOPS: Final = 3
"""Relays between an endpoint and a rendezvous point, whatever the visitor's class."""

INTRODUCTION_HOPS: Final = 2
"""Relays between either side and an introducer or ring relay (SPEC 1)."""


def privacy_class(name: str) -> PrivacyClass:
    """The class of that name. ValueError in a sentence for a person."""
    found = CLASSES.get(name)
    if found is None:
        known = " or ".join(CLASSES)
        why = "is not available in this version" if name in NOT_YET else "does not exist"
        raise ValueError(f"The privacy class {name!r} {why}; choose {known}.")
    return found


def check_hops(hops: int | None) -> int | None:
    """0 to 3, or None for the class's own. ValueError in a sentence for a person."""
    if hops is not None and (type(hops) is not int or not 0 <= hops <= MOST_HOPS):
        raise ValueError(f"hops must be 0, 1, 2 or 3, not {hops!r}.")
    return hops


def reveals(hops: int) -> str:
    """What a path with so many relays between us and its last relay shows to whom, in a sentence."""
    if hops <= 0:
        return "the last relay sees our address"
    if hops == 1:
        return "our guard sees our address and which relay is the last"
    return "our guard sees our address, the last relay what it is asked; neither sees both"
