"""How often relays of one adversary see both ends, or an end and its rendezvous point (THREATS.md).

    python -m simulations.exposure [PAIRS]

A made-up network has relays of equal weight, and a part q of them is the adversary's. Users draw guards and
paths with the code of a real node (core/paths/guards.py, core/paths/path.py). Counted over many users:

    guard    the share of users with at least one bad guard among their two guards in use
    both     the share of (visitor, endpoint) pairs in which both have a bad guard
    whisper  the share of whispers over an existing circuit with a bad first hop at both ends
    first    the same for a first contact, which also uses the introducer's circuits: a bad first hop of
             either of the visitor's two circuits, and of either of the endpoint's. All four carry it within
             a second or two, so it makes no difference which of them is bad.

A second table says how many resumptions a hostile far end needs until it knows a guard of a visitor. It runs
the introducer, links the resumptions of one session, and the visitor resumes every 10 minutes. A bad guard is
not counted here, `guard` counts it. What is counted is a bad second relay, which sees the guard:

    times    the second relay is bad, and finds the circuit by the moments at which it and the introducer
             see something of it
    chain    all relays from the second to the introducer are bad. Nothing has to be guessed

Compared are two relays in between (an introduction), three, and three with a pinned second hop (a
resumption). With pinned second hops the number of resumptions says little. Days count: the adversary waits
until a layer-2 guard is replaced by a bad one.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, inf, log

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

PARTS = (0.01, 0.05, 0.1, 0.2)
RESUME_SECONDS = 600
FOLLOW_SECONDS = 6 * 3600
"""How often a visitor's guards follow the time. A node follows each hour, but counting that takes longer."""
RESUMPTIONS_MOST = 10 * 365 * 86_400 // RESUME_SECONDS
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
        self._layer_two = LayerTwoGuards()
        self.in_use: list[RelayId] = []
        self.follow(view.consensus.valid_after)

    @property
    def bad_guard(self) -> bool:
        return bool(self._bad.intersection(self.in_use))

    @property
    def bad_second_hop(self) -> bool:
        """Whether one of the layer-2 guards is bad."""
        return bool(self._bad.intersection(self._layer_two.usable(self._view, self.in_use)))

    def follow(self, wall: int) -> None:
        """Change guards and layer-2 guards as at this time."""
        self._guards.update(self._view, wall, self._chance)
        self.in_use = self._guards.usable(self._view)
        self._layer_two.update(self._view, wall, self._chance, self.in_use)

    def bad_places(self, kind: PathKind, last: RelayId | None = None) -> list[bool]:
        """Of each relay whether it is bad, on a path drawn as in net/builder.py."""
        second = self._layer_two.usable(self._view, self.in_use) if kind.pinned else []
        path = choose_path(
            self._view,
            self._chance,
            relays=kind.relays,
            first=self._chance.shuffled(self.in_use),
            last=last,
            second=self._chance.shuffled(second),
        )
        return [row.identity in self._bad for row in path]

    def first_hop_is_bad(self, kind: PathKind, last: RelayId | None = None) -> bool:
        """Whether the first hop of such a path is bad."""
        return self.bad_places(kind, last)[0]


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


def resumptions(
    view: View,
    bad_part: float,
    kind: PathKind,
    visitors: int,
    random_bytes: RandomBytes,
    *,
    chain: bool = False,
    most: int = RESUMPTIONS_MOST,
) -> list[float]:
    """For each of so many visitors the number of resumptions after which a guard is known, in order. `chain`:
    by a chain of bad relays, else by times. More than `most` is inf."""
    chance = Chance(random_bytes)
    bad = {row.identity for row in view.relays[: round(len(view.relays) * bad_part)]}
    introducer = view.relays[-1].identity  # the far end's, in addition to its part of the relays
    return sorted(
        _until_known(view, _End(view, bad, chance), kind, introducer, chain, most) for _ in range(visitors)
    )


def _until_known(
    view: View, visitor: _End, kind: PathKind, introducer: RelayId, chain: bool, most: int
) -> float:
    each = FOLLOW_SECONDS // RESUME_SECONDS
    for begun in range(0, most, each):
        visitor.follow(view.consensus.valid_after + begun * RESUME_SECONDS)
        if kind.pinned and not visitor.bad_second_hop:
            continue  # each path of these hours has a good second relay: none needs to be drawn
        for number in range(begun + 1, begun + each + 1):
            behind = visitor.bad_places(kind, introducer)[1:-1]
            if all(behind) if chain else behind[0]:
                return number
    return inf


def quantile(numbers: Sequence[float], part: float) -> float:
    """The number that is reached by this part of the sorted numbers."""
    return numbers[ceil(part * len(numbers)) - 1]


def drawn_quantile(chance_each: float, part: float) -> int:
    """The same for something that happens with the same chance each time, by formula."""
    return ceil(log(1 - part) / log(1 - chance_each))


def print_ends(view: View, pairs: int) -> None:
    """How often one adversary is at both ends, next to the formula's values for q.

    A second circuit uses the other of two guards half of the time: (q + 1 - (1-q)^2) / 2 at one end.
    """
    print(f"{pairs} pairs, {len(view.relays)} relays; in brackets what the formula says")
    print("     q   a bad guard at one end      at both ends          one whisper          a first contact")
    for q in PARTS:
        seen = exposure(view, q, pairs, seeded(1))
        guard = 1 - (1 - q) ** 2
        either = (q + guard) / 2
        print(
            f"{q:6.0%}   {seen.guard:9.2%} ({guard:.2%})       {seen.both:9.2%} ({guard * guard:.2%})"
            f"     {seen.whisper:9.2%} ({q * q:.2%})     {seen.first:9.2%} ({either * either:.2%})"
        )


def print_resumptions(view: View, visitors: int) -> None:
    """Resumptions until a far end knows a guard: the median, and what nine of ten visitors do not exceed.

    With three drawn relays a chain takes two bad ones each time, and is too rare to be drawn: the formula for
    q^2 stands alone.
    """
    two, three, pinned = PathKind(3, TALK.number), PathKind(4, TALK.number), Purpose.RESUME.kind()
    day = 86_400 // RESUME_SECONDS
    print(f"\n{visitors} visitors that resume every {RESUME_SECONDS // 60} min; median / nine of ten")
    print(
        "     q   two drawn      three drawn    (chain)            three pinned, in days       chain, in days"
    )
    for q in PARTS:
        shown = []
        for kind in (two, three):
            found = resumptions(view, q, kind, visitors, seeded(1))
            shown.append(f"{quantile(found, 0.5):4.0f} /{quantile(found, 0.9):4.0f}")
        shown.append(f"({drawn_quantile(q * q, 0.5)} / {drawn_quantile(q * q, 0.9)})".ljust(15))
        for chain in (False, True):
            found = resumptions(view, q, pinned, visitors, seeded(1), chain=chain)
            middle, ninth = quantile(found, 0.5), quantile(found, 0.9)
            shown.append(f"{middle:6.0f} /{ninth:6.0f}  {middle / day:5.1f} /{ninth / day:4.0f}")
        print(f"{q:6.0%}   " + "    ".join(shown))


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables of THREATS.md as the code gives them."""
    parser = argparse.ArgumentParser(prog="python -m simulations.exposure")
    parser.add_argument("pairs", type=int, nargs="?", default=2000)
    pairs = parser.parse_args(arguments).pairs
    view = network(400)
    print_ends(view, pairs)
    print_resumptions(view, ceil(pairs / 20))


if __name__ == "__main__":
    main()
