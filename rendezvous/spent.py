"""Which proofs of work were used up at the gates of one relay, so that none is let through twice (SPEC 15).

A proof is good until its seed is over, so its mark is kept that long: 8 bytes. One endpoint has 25
introductions a second, and its seeds live for two hours: 180 200 marks, 1.4 MB. Marks do not go with the
endpoint's circuit or with what it wants. Otherwise all proofs were good once more when it comes back and says
the same seed.

All endpoints of a relay together have room for as many marks as 23 of them make, each at its full rate. Past
that, those seeds go first of which the work that their marks took is least for the room that they take. An
endpoint may ask for an effort of 1, so that whoever runs it fills this memory at no cost; but then its own
marks go first. So do seeds of one mark each, of whatever effort: a seed takes room besides its marks.

To push out all marks of an endpoint that asks for 64 tries and is flooded at its full rate, somebody must
spend 257 million tries: twelve hours of a core. While those seeds are good, each further time takes 22
million. To fill that endpoint's places for two hours with proofs that are never used twice takes 12 million:
half an hour. So nobody gains by it. What an endpoint says of a seed later on does not make its marks live
longer.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from dataclasses import dataclass, field
from math import inf
from typing import Final

from onionshh.ids import AuthKey
from onionshh.wire.messages import IntroProof

MARK: Final = 8
"""Bytes. Of 180 200 marks one is by chance that of another introduction once in 10^14."""
MARKS_MOST: Final = 1 << 22
"""Of all endpoints together: 32 MiB."""
SEED_MARKS: Final = 64
"""A seed takes as much memory as so many marks, besides its own."""
KEPT_MOST: Final = MARKS_MOST - MARKS_MOST // 8
"""What stays when there are too many. Looking for those that go then is seldom."""


@dataclass(slots=True)
class _Seed:
    """What was used up for one seed of one endpoint."""

    effort: int
    """Each of these proofs took as many tries, or more."""
    expires: int
    """Unix seconds."""
    marks: array[int] = field(default_factory=lambda: array("Q"))
    """In their order."""

    @property
    def room(self) -> int:
        return SEED_MARKS + len(self.marks)

    @property
    def worth(self) -> float:
        """Tries for each mark of room, at least."""
        return self.effort * len(self.marks) / self.room


class Spent:
    """The proofs that were used up at one relay."""

    def __init__(self) -> None:
        self._seeds: dict[tuple[AuthKey, bytes], _Seed] = {}
        self._room = 0
        """What all seeds take, in marks."""
        self._next_at = inf
        """When the first seed is over: Unix seconds."""

    def __len__(self) -> int:
        """How many marks are kept."""
        return self._room - SEED_MARKS * len(self._seeds)

    def has(self, key: AuthKey, proof: IntroProof, mark: bytes) -> bool:
        """Whether the proof with this mark was used up at the endpoint with this key. `proof`: what the
        endpoint wanted."""
        seed = self._seeds.get((key, proof.seed))
        if seed is None:
            return False
        number = int.from_bytes(mark[:MARK], "big")
        at = bisect_left(seed.marks, number)
        return at < len(seed.marks) and seed.marks[at] == number

    def add(self, key: AuthKey, proof: IntroProof, mark: bytes) -> None:
        """It is used up."""
        seed = self._seeds.get((key, proof.seed))
        if seed is None:
            seed = self._seeds[(key, proof.seed)] = _Seed(proof.effort, proof.expires)
            self._room += SEED_MARKS
            self._next_at = min(self._next_at, proof.expires)
        # An endpoint may say the same seed again, for less: it must not make cheap marks look dear.
        seed.effort = min(seed.effort, proof.effort)
        number = int.from_bytes(mark[:MARK], "big")
        seed.marks.insert(bisect_left(seed.marks, number), number)
        self._room += 1
        if self._room > MARKS_MOST:
            self._make_room()

    def tick(self, wall: int) -> None:
        """Forget what belongs to seeds that are over. `wall`: Unix seconds."""
        if wall >= self._next_at:
            self._keep({name: seed for name, seed in self._seeds.items() if wall < seed.expires})

    def _make_room(self) -> None:
        """The cheapest go first, by their room. Who pushes out others so pays for all the room that he needs
        no less than they did."""
        kept, room = dict(self._seeds), self._room
        for name in sorted(kept, key=lambda name: kept[name].worth):
            if room <= KEPT_MOST:
                break
            room -= kept.pop(name).room
        self._keep(kept)

    def _keep(self, seeds: dict[tuple[AuthKey, bytes], _Seed]) -> None:
        self._seeds = seeds
        self._room = sum(seed.room for seed in seeds.values())
        self._next_at = min((seed.expires for seed in seeds.values()), default=inf)
