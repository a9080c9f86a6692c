"""What a circuit is for, and the kind of path that it needs (SPEC 1, 16).

Every circuit has a purpose. The purpose and the node's introduction hops decide how many relays the circuit
has, which class its relays are told, and whether its second hop is pinned. There are two exceptions. For a
rendezvous, the visitor's class draws the hops. A circuit built in advance has the kind of its later users.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from onionshh.core.base.classes import ENDPOINT_HOPS, INTRODUCTION_HOPS, TALK


@dataclass(frozen=True, slots=True)
class PathKind:
    """What paths of one kind have in common. `relays`: with the last one counted. `pinned`: the second hop is
    one of the node's layer-two guards."""

    relays: int
    privacy_class: int
    pinned: bool = False

    @property
    def without_last(self) -> PathKind:
        """The same path without its last relay. ValueError if no relay would be left."""
        if self.relays < 2:
            raise ValueError("a path of one relay has no shorter path")
        return PathKind(self.relays - 1, self.privacy_class, self.pinned)


class Purpose(StrEnum):
    """What a circuit is for. A program sees the values in `Node.circuits`."""

    READY = "ready"
    """Built in advance. The code that takes it gives it a purpose."""
    CONSENSUS = "consensus"
    """To a relay that is asked for a newer consensus: through a guard, for any introduction hops."""
    RING = "ring"
    """A stranger's way to a ring relay, to fetch a descriptor."""
    INTRODUCE = "introduce"
    """A visitor's way to an introducer."""
    RENDEZVOUS = "rendezvous"
    """A visitor's way to a rendezvous point, and later to the endpoint."""
    TEST = "test"
    """An endpoint's way to its own introducer, as a stranger would take it."""
    INTRODUCER = "introducer"
    """An endpoint's way to its introducer. Introductions come over it."""
    PUBLISH = "publish"
    """An endpoint's way to a ring relay, about its own descriptor."""
    ANSWER = "answer"
    """A way to a rendezvous point that the other side chose, for any class of the other side. An endpoint
    answers visitors so, and a visitor answers whoever calls over its way back."""
    RESUME = "resume"
    """A way to an introducer or a way back of the other side, to go on with a session."""
    WAY_BACK = "way back"
    """A visitor's way to a relay where the endpoint of a session can reach it. It is held for hours."""
    PROVE = "prove"
    """A way to a ring relay, to fetch the descriptor of a sender who says who it is."""
    CALL = "call"
    """A way to a rendezvous point that we chose ourselves, to speak first in a session."""
    MAILBOX = "mailbox"
    """A way to a relay that keeps a mailbox. Whoever knows the mailbox knows which relays these are."""

    @property
    def pinned(self) -> bool:
        """Whether the second hop is pinned: others decide how often we build such circuits, or know the
        relay at the end and can link those that we build."""
        return self in _PINNED

    def kind(self, introduction_hops: int = INTRODUCTION_HOPS) -> PathKind:
        """The kind of path for this purpose. `introduction_hops`: relays between us and an introducer or ring
        relay. Use 2 without a good reason: with 1 our guard learns which relay we ask, with 0 that relay
        learns our address. ValueError if the purpose alone does not decide the kind."""
        match self:
            case Purpose.READY | Purpose.RENDEZVOUS:
                raise ValueError(f"give the kind of a circuit for {self.value!r}")
            case Purpose.CALL:
                hops = ENDPOINT_HOPS
            case _ if self in _FORESEEN:
                hops = ENDPOINT_HOPS
            case Purpose.CONSENSUS:
                hops = INTRODUCTION_HOPS
            case _:
                hops = introduction_hops
        return PathKind(hops + 1, TALK.number, self.pinned)


_FORESEEN = frozenset((Purpose.ANSWER, Purpose.RESUME, Purpose.WAY_BACK, Purpose.PROVE, Purpose.MAILBOX))
"""The other side chose the last relay, or knows which it may be."""
_PINNED = _FORESEEN | {Purpose.INTRODUCER, Purpose.PUBLISH}


def meeting_kind(hops: int, privacy_class: int, *, of_session: bool = False) -> PathKind:
    """A path to a rendezvous point that we draw ourselves, with `hops` relays in between. The far end of a
    session links the meetings. So their second hop is pinned too, if there is a relay behind it."""
    return PathKind(hops + 1, privacy_class, of_session and hops >= 2)
