"""How often relays of one adversary see both ends, or an end and its rendezvous point (THREATS.md).

A made-up network of relays of equal weight, a part q of them the adversary's; users draw guards and paths
with the very code that a node runs (core/guards.py, core/path.py). Counted over many users:

    guard    the share of users one of whose two guards in use is bad
    both     the share of (visitor, endpoint) pairs in which both have a bad guard
    whisper  the share of whispers whose two first hops are bad: the one that is seen from end to end
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from onionshh.core.chance import Chance
from onionshh.core.guards import GuardSet
from onionshh.core.params import Params
from onionshh.core.path import choose_path
from onionshh.core.view import View
from onionshh.crypto.primitives import sha3_256
from onionshh.ids import RandomBytes, RelayId
from onionshh.testing import seeded
from onionshh.wire.consensus import FAST, GUARD, RING, Consensus, RelayRow, SharedRandom

RELAYS_PER_PATH = 4


@dataclass(frozen=True, slots=True)
class Exposure:
    """Shares from 0 to 1, as the file's head explains them."""

    guard: float
    both: float
    whisper: float


def network(relays: int) -> View:
    """Relays alike but for their addresses, each in a /16 of its own, all of them guards."""
    rows = sorted(
        RelayRow(
            identity=RelayId(sha3_256(number.to_bytes(4, "big"))),
            onion_key=bytes(32),
            nickname=f"relay{number}",
            host=f"{1 + number // 250}.{1 + number % 250}.0.1",
            port=9001,
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


def exposure(view: View, bad_part: float, pairs: int, random_bytes: RandomBytes) -> Exposure:
    """Draw so many visitors and endpoints, one whisper for each pair."""
    chance = Chance(random_bytes)
    bad = {row.identity for row in view.relays[: round(len(view.relays) * bad_part)]}
    guards = both = whispers = 0
    for _ in range(pairs):
        ends = []
        for _ in range(2):
            sample = GuardSet()
            sample.update(view, view.consensus.valid_after, chance)
            in_use = sample.usable(view)
            path = choose_path(view, chance, relays=RELAYS_PER_PATH, first=chance.shuffled(in_use))
            ends.append((bool(bad.intersection(in_use)), path[0].identity in bad))
        guards += ends[0][0] + ends[1][0]
        both += ends[0][0] and ends[1][0]
        whispers += ends[0][1] and ends[1][1]
    return Exposure(guards / (2 * pairs), both / pairs, whispers / pairs)


def main(pairs: int) -> None:
    """Print the table of THREATS.md as it comes out of the code, beside what q says it should be."""
    view = network(400)
    print(f"{pairs} pairs, {len(view.relays)} relays; in brackets what the formula says")
    print("     q   a bad guard at one end      at both ends           one whisper")
    for q in (0.01, 0.05, 0.1, 0.2):
        seen = exposure(view, q, pairs, seeded(1))
        one = 1 - (1 - q) ** 2
        print(
            f"{q:6.0%}   {seen.guard:9.2%} ({one:.2%})       {seen.both:9.2%} ({one * one:.2%})"
            f"     {seen.whisper:9.2%} ({q * q:.2%})"
        )


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
