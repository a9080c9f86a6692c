"""How well the times at the first link reveal the number of hops (THREATS.md).

    python -m simulations.first_link [NODES]

Made-up relays are on a map, and round trips depend on distance and jitter. A node with two guards builds
circuits of 1 to 4 relays in turn. Its padding rounds leave when core/circuit/pace.py says. An observer of its
line knows many set-ups of the same node and their lengths. It compares a set-up with the most similar ones
(the nearest 15, all times on a logarithmic scale). There are four lengths, so a guess is right once in four.

    out     the observer sees when frames leave
    both    the observer sees when frames leave and when they arrive
"""

from __future__ import annotations

import argparse
import math
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
"""The round trip along one side of the map."""
WIRE_SECONDS = 0.005
HANDSHAKE_SECONDS = 0.002
JITTER = 0.15
NEW_LINK = 0.2
"""How often an extending relay has no link yet. Opening a link takes two round trips."""

Place = tuple[float, float]


@dataclass(frozen=True, slots=True)
class SetUp:
    """One set-up as seen at the first link: how many relays, and the seconds from each outgoing frame to the
    next (`out`) and to its answer (`back`)."""

    relays: int
    out: tuple[float, ...]
    back: tuple[float, ...]

    @property
    def pauses(self) -> tuple[float, ...]:
        """Seconds from each answer to the frame after it."""
        return tuple(out - back for out, back in zip(self.out, self.back, strict=False))


@dataclass(frozen=True, slots=True)
class Told:
    """The share of set-ups whose length was recognised, for each kind of observer."""

    out: float
    both: float


class Map:
    """A node, its guards and all relays, and how long a round trip between two places takes."""

    def __init__(self, random_bytes: RandomBytes) -> None:
        self.chance = Chance(random_bytes)
        self._relays = [self._place() for _ in range(RELAYS)]
        self._node = self._place()
        self._guards = self._relays[:2]
        self._times = RoundTimes(self.chance)

    def set_up(self, relays: int) -> SetUp:
        """Build one circuit with the timing of net/circuits.py."""
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
        seconds = sum(self._trip(near, far) for near, far in pairwise(path))
        if new:
            seconds += HANDSHAKE_SECONDS * (1 + self.chance.exponential(0.5))
            if len(path) > 2 and self.chance.unit() < NEW_LINK:
                seconds += 2 * self._trip(*path[-2:])
        return seconds

    def _trip(self, near: Place, far: Place) -> float:
        plain = WIRE_SECONDS + MAP_SECONDS * math.dist(near, far)
        return plain * (1 + self.chance.exponential(JITTER))

    def _place(self) -> Place:
        return self.chance.unit(), self.chance.unit()


def told(known: Sequence[SetUp], looked_at: Sequence[SetUp]) -> Told:
    """How many set-ups in `looked_at` an observer recognises who knows those in `known`."""

    def share(sees: Callable[[SetUp], tuple[float, ...]]) -> float:
        shown = [(_logs(sees(set_up)), set_up.relays) for set_up in known]
        right = 0
        for set_up in looked_at:
            times = _logs(sees(set_up))
            near = sorted((math.dist(times, other), relays) for other, relays in shown)[:NEAREST]
            right += Counter(relays for _, relays in near).most_common(1)[0][0] == set_up.relays
        return right / len(looked_at)

    return Told(share(lambda seen: seen.out), share(lambda seen: seen.out + seen.back + seen.pauses))


def experiment(set_ups: int, random_bytes: RandomBytes) -> Told:
    """A new node: `set_ups` known set-ups of each length, and half as many to recognise."""
    node = Map(random_bytes)
    deque((node.set_up(relays) for _ in range(20) for relays in (3, 4)), maxlen=0)  # a warm-up
    lengths = range(1, PATH_RELAYS_MOST + 1)
    known = [node.set_up(relays) for _ in range(set_ups) for relays in lengths]
    return told(known, [node.set_up(relays) for _ in range(set_ups // 2) for relays in lengths])


def _logs(times: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.log(max(seconds, 1e-4)) for seconds in times)


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the shares, node by node, and over all nodes."""
    parser = argparse.ArgumentParser(prog="python -m simulations.first_link")
    parser.add_argument("nodes", type=int, nargs="?", default=10)
    nodes = parser.parse_args(arguments).nodes
    results = [experiment(200, seeded(seed)) for seed in range(nodes)]
    for result in results:
        print(f"out {result.out:.1%}   both {result.both:.1%}")
    out = sum(result.out for result in results) / nodes
    both = sum(result.both for result in results) / nodes
    print(f"over {nodes} nodes: out {out:.1%}, both {both:.1%}; a guess is right in 25.0%")


if __name__ == "__main__":
    main()
