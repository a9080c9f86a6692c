"""The kinds of circuits a node builds, in one place (SPEC 1, 16)."""

from __future__ import annotations

from dataclasses import dataclass

from onionshh.core.base.classes import ENDPOINT_HOPS, INTRODUCTION_HOPS, TALK, check_hops
from onionshh.net.builder import Kind


@dataclass(frozen=True, slots=True)
class Kinds:
    """`introduction_hops`: relays between us and an introducer or ring relay, 2 unless one knows why.

    With 1 our guard learns which introducers and ring relays we use, with 0 they learn our address.
    """

    introduction_hops: int = INTRODUCTION_HOPS

    def __post_init__(self) -> None:
        check_hops(self.introduction_hops)

    @property
    def asking(self) -> Kind:
        """A stranger's way to a ring relay or introducer: for visitors and for tests of oneself."""
        return Kind(self.introduction_hops + 1, TALK.number)

    @property
    def consensus(self) -> Kind:
        """The way to whichever relay is asked for a newer consensus: through a guard, whatever one knows."""
        return Kind(INTRODUCTION_HOPS + 1, TALK.number)

    @property
    def holding(self) -> Kind:
        """An endpoint's way to its introducers and its ring relays."""
        return Kind(self.introduction_hops + 1, TALK.number, pinned=True)

    @property
    def answering(self) -> Kind:
        """An endpoint's way to a rendezvous point, whatever the visitor's class."""
        return Kind(ENDPOINT_HOPS + 1, TALK.number, pinned=True)

    @staticmethod
    def meeting(hops: int, privacy_class: int) -> Kind:
        """A visitor's way to a rendezvous point with so many relays between."""
        return Kind(hops + 1, privacy_class)
