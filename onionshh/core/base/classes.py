"""Privacy classes: what a whisper needs from its path (SPEC 16).

There are four classes and no free parameters, because a personal parameter is a fingerprint. `hush` and
`dark` need delays, shares and cover traffic. This version has none of these, so their numbers are reserved.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from onionshh.core.base.chance import Chance


@dataclass(frozen=True, slots=True)
class PrivacyClass:
    """`number` is sent to relays and in records. `hops` are the visitor's hops; each circuit draws one."""

    name: str
    number: int
    hops: tuple[int, ...]

    def draw_hops(self, chance: Chance, asked: int | None) -> int:
        """The hops of the next circuit: `asked`, or a draw with the same odds for everyone."""
        return asked if asked is not None else chance.choice(self.hops)


FLASH: Final = PrivacyClass("flash", 0, (0, 1))
TALK: Final = PrivacyClass("talk", 1, (2, 3))
CLASSES: Final = MappingProxyType({privacy.name: privacy for privacy in (FLASH, TALK)})
NOT_YET: Final = MappingProxyType({"hush": 2, "dark": 3})
"""Reserved numbers of classes that this version does not support."""
MOST_HOPS: Final = 3
PATH_RELAYS_MOST: Final = MOST_HOPS + 1
"""Relays in a circuit, with the last one counted."""

ENDPOINT_HOPS: Final = 3
"""Relays between an endpoint and a rendezvous point, whatever the visitor's class."""

INTRODUCTION_HOPS: Final = 2
"""Relays between either side and an introducer or ring relay (SPEC 1)."""


def privacy_class(name: str) -> PrivacyClass:
    """The class of that name. ValueError has a sentence for people."""
    found = CLASSES.get(name)
    if found is None:
        known = " or ".join(CLASSES)
        why = "is not available in this version" if name in NOT_YET else "does not exist"
        raise ValueError(f"The privacy class {name!r} {why}; choose {known}.")
    return found


def class_name(number: int) -> str:
    """The name of a class by its number."""
    named = next((privacy.name for privacy in CLASSES.values() if privacy.number == number), None)
    return named or next(name for name, other in NOT_YET.items() if other == number)


def check_hops(hops: int | None) -> int | None:
    """0 to 3, or None for the class's own hops. ValueError has a sentence for people."""
    if hops is not None and (type(hops) is not int or not 0 <= hops <= MOST_HOPS):
        raise ValueError(f"hops must be 0, 1, 2 or 3, not {hops!r}.")
    return hops


def reveals(hops: int) -> str:
    """One sentence about who sees what on a path with this many relays before its last relay."""
    if hops <= 0:
        return "the last relay sees our address"
    if hops == 1:
        return "our guard sees our address and which relay is the last"
    return "our guard sees our address, the last relay what it is asked; neither sees both"
