"""How well times at the first link tell the number of hops (THREATS.md).

Made-up relays on a map, round trips by distance and jitter; a node with two guards builds circuits of 1 to
4 relays in turns, and its padding rounds leave when core/circuit/pace.py says. A watcher of its line knows
many set-ups of that very node together with their lengths, and takes those most like the one it looks at (the
nearest 15, all times on a logarithmic scale). Of four lengths, a guess is right once in four.

    out     it sees when frames leave
    both    it sees when frames leave and when they come
"""

from __future__ import annotations

import math
import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import PATH_RELAYS_MOST
from onionshh.core.circuit.circuit import SETUP_ROUNDS
from onionshh.core.circuit.pace import Pace, RoundTimes
from onionshh.ids import RandomBytes
from onionshh.testing import seeded

RELAYS = 200
NEAREST = 15
MAP_SECONDS = 0.15
"""A round trip over the side of the map."""
WIRE_SECONDS = 0.005
HANDSHAKE_SECONDS = 0.002
JITTER = 0.15
NEW_LINK = 0.2
"""How often an extending relay has no link yet; opening one is two round trips."""

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SetUp:
    """One set-up as the first link shows it: the relays of the circuit, seconds from each frame that
    leaves to the next, and to its answer."""

    relays: int
    out: tuple[float, ...]
    back: tuple[float, ...]

    @property
    def pauses(self) -> tuple[float, ...]:
        """Seconds from each answer to the frame after it."""
        return tuple(one - other for one, other in zip(self.out, self.back, strict=False))


@dataclass(frozen=True, slots=True)
class Told:
    """The share of set-ups whose length was recognised, for each watcher."""

    out: float
    both: float


class Map:
    """A node, its guards and all relays, and what a round trip between two places takes."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.chance = Chance(random_bytes)
        self._relays = [self._place() for _ in range(RELAYS)]
        self._node = self._place()
        self._guards = self._relays[:2]
        self._times = RoundTimes(self.chance)

    def set_up(self, relays: int) -> SetUp:
        """One circuit built, every time as in net/circuits.py."""
        first = self.chance.choice(self._guards if relays > 1 else self._relays)
        path = [self._node, first, *(self.chance.choice(self._relays[2:]) for _ in range(relays - 1))]
        pace = Pace(self._times)
        now, left, came = 0.0, [], []
        for number in range(SETUP_ROUNDS + 1):
            now = max(now, pace.due)
            pace.left(now)
            left.append(now)
            now += self._takes(path[: number + 2], new=number < relays)
            came.append(now)
            pace.answered(now, padding=number >= relays)
            now += HANDSHAKE_SECONDS * self.chance.between(0.2, 0.4)
        out = tuple(later - earlier for earlier, later in pairwise(left))
        back = tuple(answer - sent for sent, answer in zip(left, came, strict=True))
        return SetUp(relays, out, back)

    def _takes(self, path: Sequence[Place], *, new: bool) -> float:
        seconds = sum(self._trip(one, other) for one, other in pairwise(path))
        if new:
            seconds += HANDSHAKE_SECONDS * (1 + self.chance.exponential(0.5))
            if len(path) > 2 and self.chance.unit() < NEW_LINK:
                seconds += 2 * self._trip(*path[-2:])
        return seconds

    def _trip(self, one: Place, other: Place) -> float:
        plain = WIRE_SECONDS + MAP_SECONDS * math.dist(one, other)
        return plain * (1 + self.chance.exponential(JITTER))

    def _place(self) -> Place:
        return self.chance.unit(), self.chance.unit()


def told(known: Sequence[SetUp], looked_at: Sequence[SetUp]) -> Told:
    """How many of the second the watcher recognises who knows the first."""

    def share(sees: Callable[[SetUp], tuple[float, ...]]) -> float:
        shown = [(_logs(sees(one)), one.relays) for one in known]
        right = 0
        for one in looked_at:
            times = _logs(sees(one))
            near = sorted((math.dist(times, other), relays) for other, relays in shown)[:NEAREST]
            right += Counter(relays for _, relays in near).most_common(1)[0][0] == one.relays
        return right / len(looked_at)

    return Told(share(lambda one: one.out), share(lambda one: one.out + one.back + one.pauses))


def experiment(set_ups: int, random_bytes: RandomBytes) -> Told:
    """A node of its own: so many set-ups of each length to know, half as many to look at."""
    node = Map(random_bytes)
    deque((node.set_up(relays) for _ in range(20) for relays in (3, 4)), maxlen=0)  # it has been running
    lengths = range(1, PATH_RELAYS_MOST + 1)
    known = [node.set_up(relays) for _ in range(set_ups) for relays in lengths]
    return told(known, [node.set_up(relays) for _ in range(set_ups // 2) for relays in lengths])


def _logs(times: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.log(max(one, 1e-4)) for one in times)


def main(nodes: int) -> None:
    """Print the shares, node by node, and over all."""
    results = [experiment(200, seeded(seed)) for seed in range(nodes)]
    for one in results:
        print(f"out {one.out:.1%}   both {one.both:.1%}")
    out = sum(one.out for one in results) / nodes
    both = sum(one.both for one in results) / nodes
    print(f"over {nodes} nodes: out {out:.1%}, both {both:.1%}; a guess is right in 25.0%")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10)
