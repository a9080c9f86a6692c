"""What a circuit is for, and what kind of path follows from it (SPEC 1, 16).

Every circuit carries its purpose. How many relays it has, which class its relays are told and whether its
second hop is pinned follows from the purpose and from one number of the node, its introduction hops. Two
purposes stand apart: a rendezvous has as many hops as the visitor's class draws, and a circuit that was built
ahead has the kind of those that will take it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from onionshh.core.base.classes import ENDPOINT_HOPS, INTRODUCTION_HOPS, TALK


@dataclass(frozen=True, slots=True)
class PathKind:
    """What paths of one kind have in common. `relays`: the last one included. `pinned`: the second hop comes
    from the node's layer-two guards."""

    relays: int
    privacy_class: int
    pinned: bool = False

    @property
    def without_last(self) -> PathKind:
        """The same path without its last relay. ValueError if nothing would be left."""
        if self.relays < 2:
            raise ValueError("a circuit of one relay has no stub")
        return PathKind(self.relays - 1, self.privacy_class, self.pinned)


class Purpose(StrEnum):
    """What a circuit is for. The values are what a program sees in `Node.circuits`."""

    READY = "ready"
    """Built ahead; whoever takes it gives it a purpose."""
    CONSENSUS = "consensus"
    """To whichever relay is asked for a newer consensus: through a guard, whatever the node's hops."""
    RING = "ring"
    """A stranger's way to a ring relay, to fetch a descriptor."""
    INTRODUCE = "introduce"
    """A visitor's way to an introducer."""
    RENDEZVOUS = "rendezvous"
    """A visitor's way to a rendezvous point, and from then on to the endpoint."""
    TEST = "test"
    """An endpoint's way to its own introducer, as a stranger would take it."""
    INTRODUCER = "introducer"
    """An endpoint's way to its introducer, over which introductions come."""
    PUBLISH = "publish"
    """An endpoint's way to a ring relay, about its own descriptor."""
    ANSWER = "answer"
    """An endpoint's way to a visitor's rendezvous point, whatever the visitor's class."""

    @property
    def pinned(self) -> bool:
        """Whether others can make us build such circuits at their pace: then the second hop is pinned."""
        return self in _PINNED

    def kind(self, introduction_hops: int = INTRODUCTION_HOPS) -> PathKind:
        """The kind of path that follows. `introduction_hops`: relays between us and an introducer or ring
        relay, 2 unless one knows why: with 1 our guard learns whom we ask, with 0 whom we ask learns our
        address. ValueError where no kind follows from the purpose alone."""
        match self:
            case Purpose.READY | Purpose.RENDEZVOUS:
                raise ValueError(f"the kind of a circuit for {self.value!r} has to be given")
            case Purpose.ANSWER:
                hops = ENDPOINT_HOPS
            case Purpose.CONSENSUS:
                hops = INTRODUCTION_HOPS
            case _:
                hops = introduction_hops
        return PathKind(hops + 1, TALK.number, self.pinned)


_PINNED = frozenset((Purpose.INTRODUCER, Purpose.PUBLISH, Purpose.ANSWER))


def meeting_kind(hops: int, privacy_class: int) -> PathKind:
    """A visitor's path to a rendezvous point with so many relays between."""
    return PathKind(hops + 1, privacy_class)
