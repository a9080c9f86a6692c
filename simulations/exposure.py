"""How often relays of one adversary see both ends, or an end and its rendezvous point (THREATS.md).

A made-up network has relays of equal weight, and a part q of them is the adversary's. Users draw guards and
paths with the code of a real node (core/paths/guards.py, core/paths/path.py). Counted over many users:

    guard    the share of users with at least one bad guard among their two guards in use
    both     the share of (visitor, endpoint) pairs in which both have a bad guard
    whisper  the share of whispers over an existing circuit with a bad first hop at both ends
    first    the same for a first contact, which also uses the introducer's circuits: a bad first hop of
             either of the visitor's two circuits, and of either of the endpoint's. All four carry it within
             a second or two, so it makes no difference which of them is bad.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import TALK
from onionshh.core.base.params import Params
from onionshh.core.circuit.purpose import PathKind, Purpose, meeting_kind
from onionshh.core.paths.guards import GuardSet, LayerTwoGuards
from onionshh.core.paths.path import choose_path
from onionshh.core.paths.view import View
from onionshh.crypto.primitives import sha3_256
from onionshh.ids import RandomBytes, RelayId
from onionshh.testing import seeded
from onionshh.wire.consensus import FAST, GUARD, RING, Consensus, RelayRow, SharedRandom
from onionshh.wire.descriptor import Address

VISITOR = tuple(meeting_kind(hops, TALK.number) for hops in TALK.hops)


@dataclass(frozen=True, slots=True)
class Exposure:
    """Shares from 0 to 1, as explained at the head of this file."""

    guard: float
    both: float
    whisper: float
    first: float


def network(relays: int) -> View:
    """Relays that differ only in their addresses. Each is in its own /16, and all are guards."""
    rows = sorted(
        RelayRow(
            identity=RelayId(sha3_256(number.to_bytes(4, "big"))),
            onion_key=bytes(32),
            nickname=f"relay{number}",
            addresses=(Address.of(f"{1 + number // 250}.{1 + number % 250}.0.1", 9001),),
            weight=100,
            flags=GUARD | RING | FAST,
            first_seen=0,
        )
        for number in range(relays)
    )
    params = Params()
    return View(
        Consensus(
            network="simulated",
            valid_after=1_000_000_000,
            fresh_until=1_000_000_000 + params.interval_seconds,
            valid_until=1_000_000_000 + params.valid_seconds,
            params=params.to_pairs(),
            shared_random=(SharedRandom(params.period_of(1_000_000_000), bytes(32), 999_000_000),),
            relays=tuple(rows),
        )
    )


class _End:
    """One user. It tells whether the first hop of a circuit would be bad."""

    def __init__(self, view: View, bad: set[RelayId], chance: Chance) -> None:
        self._view = view
        self._bad = bad
        self._chance = chance
        self._guards = GuardSet()
        wall = view.consensus.valid_after
        self._guards.update(view, wall, chance)
        self.in_use = self._guards.usable(view)
        self._layer_two = LayerTwoGuards()
        self._layer_two.update(view, wall, chance, self.in_use)

    @property
    def bad_guard(self) -> bool:
        return bool(self._bad.intersection(self.in_use))

    def first_hop_is_bad(self, kind: PathKind, last: RelayId | None = None) -> bool:
        """Whether the first hop is bad on a path drawn as in net/builder.py."""
        second = self._layer_two.usable(self._view, self.in_use) if kind.pinned else []
        path = choose_path(
            self._view,
            self._chance,
            relays=kind.relays,
            first=self._chance.shuffled(self.in_use),
            last=last,
            second=self._chance.shuffled(second),
        )
        return path[0].identity in self._bad


def exposure(view: View, bad_part: float, pairs: int, random_bytes: RandomBytes) -> Exposure:
    """Draw `pairs` visitors and endpoints, with one first contact and one later whisper per pair."""
    chance = Chance(random_bytes)
    bad = {row.identity for row in view.relays[: round(len(view.relays) * bad_part)]}
    guards = both = whispers = firsts = 0
    for _ in range(pairs):
        visitor, endpoint = _End(view, bad, chance), _End(view, bad, chance)
        point = chance.choice(view.relays).identity
        introducer = chance.choice(view.relays).identity
        meets = visitor.first_hop_is_bad(chance.choice(VISITOR), point)
        asks = visitor.first_hop_is_bad(Purpose.INTRODUCE.kind(), introducer)
        answers = endpoint.first_hop_is_bad(Purpose.ANSWER.kind(), point)
        holds = endpoint.first_hop_is_bad(Purpose.INTRODUCER.kind(), introducer)
        guards += visitor.bad_guard + endpoint.bad_guard
        both += visitor.bad_guard and endpoint.bad_guard
        whispers += meets and answers
        firsts += (meets or asks) and (answers or holds)
    return Exposure(guards / (2 * pairs), both / pairs, whispers / pairs, firsts / pairs)


def main(pairs: int) -> None:
    """Print the table of THREATS.md as the code gives it, next to the formula's values for q.

    A second circuit uses the other of two guards half of the time: (q + 1 - (1-q)^2) / 2 at one end.
    """
    view = network(400)
    print(f"{pairs} pairs, {len(view.relays)} relays; in brackets what the formula says")
    print("     q   a bad guard at one end      at both ends          one whisper          a first contact")
    for q in (0.01, 0.05, 0.1, 0.2):
        seen = exposure(view, q, pairs, seeded(1))
        guard = 1 - (1 - q) ** 2
        either = (q + guard) / 2
        print(
            f"{q:6.0%}   {seen.guard:9.2%} ({guard:.2%})       {seen.both:9.2%} ({guard * guard:.2%})"
            f"     {seen.whisper:9.2%} ({q * q:.2%})     {seen.first:9.2%} ({either * either:.2%})"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
