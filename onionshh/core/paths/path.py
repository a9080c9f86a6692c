"""Which relays a circuit goes through: a pure function of consensus, constraints and chance (SPEC 6).

A small search with backtracking finds a path. The end comes first: it is given, or drawn by weight without
regard to the guards. Then comes the guard. If the end is the first guard or in its group, the other guard is
used. Last comes the middle, drawn by weight. Hard rules: no relay twice, no two relays of one family or
subnet, none of our own relays. Preferences, the strongest first: a layer-2 guard at the second place, another
guard than that of circuits beside this one, and no relay in the failure memory.

A layer-2 guard that fails is still taken rather than a relay drawn in its place. Otherwise an adversary could
flood the four of a node, and would be its second hop soon. Only rules can set all four aside: then the second
hop is drawn. The failure memory is ignored when nothing else is left, and never applies to a guard.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Final

from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import PATH_RELAYS_MOST
from onionshh.core.paths.view import View
from onionshh.errors import NetworkUnreachable
from onionshh.ids import RelayId
from onionshh.wire.consensus import RelayRow

_LAZY_DRAWS: Final = 16
_MOST_STEPS: Final = 2000
"""How many candidates a search tries before it gives up.

Relays that are alike are tried once, and the last place is always searched completely. So only many
overlapping families reach this limit. The search is exhaustive in any network of up to 30 relays.
"""


class PathImpossible(NetworkUnreachable):
    """No path of that length is possible. A shorter path is never used instead.

    `needed`: how many relays the path must have. `have`: the most that fit together.
    """

    def __init__(self, needed: int, have: int, why: str = "") -> None:
        reason = why or (
            f"no more than {have} of those known fit together"
            " (no relay, family or subnet twice, none of our own)"
        )
        super().__init__(f"the path needs {needed} relay{'s' * (needed != 1)}, but {reason}")
        self.needed = needed
        self.have = have


def choose_path(
    view: View,
    chance: Chance,
    *,
    relays: int,
    first: Sequence[RelayId] | None = None,
    last: RelayId | None = None,
    second: Sequence[RelayId] = (),
    exclude: frozenset[RelayId] = frozenset(),
    avoid: frozenset[RelayId] = frozenset(),
    beside: Collection[RelayId] = (),
) -> tuple[RelayRow, ...]:
    """The relays of a new circuit, first hop first. Raises PathImpossible.

    relays: 1 to 4, with the last one counted. first: possible first hops, in order of preference (the guards
    that are up), or None for any; ignored for a path of one relay. last: the relay wanted at the end, or None
    for one drawn by weight. second: layer-2 guards. One of them is the second hop if any fits, one that does
    not fail if possible; without a wanted end, also in a path of two. exclude: never used (our own relays).
    avoid: used only when nothing else is left. beside: first hops of other circuits, taken only if no path
    begins with another one.
    """
    if not 1 <= relays <= PATH_RELAYS_MOST:
        raise ValueError(f"a path has 1 to {PATH_RELAYS_MOST} relays, not {relays}")
    target: RelayRow | None = None
    if last is not None:
        target = view.any_relay(last)
        if target is None:
            raise PathImpossible(relays, 0, "the relay wanted at its end is not in the consensus")
        if target.only_over_tor:
            raise PathImpossible(relays, 0, "only tor reaches the relay wanted at its end")
        if last in exclude:
            raise PathImpossible(relays, 0, "the relay wanted at its end is one of our own")
    entries: list[RelayRow] | None = None
    if first is not None and relays > 1:
        entries = [row for row in map(view.any_relay, first) if row and row.identity not in exclude]
        if not entries:
            raise PathImpossible(relays, 0, "none of our guards is up to be its first hop")
    pinned: list[RelayRow] = []
    if relays > 2 or (relays == 2 and target is None):
        rows = [row for row in map(view.any_relay, second) if row and row.identity not in exclude]
        pinned = [row for row in rows if not row.only_over_tor]
    search = _Search(view, chance, relays, target)
    for firsts, seconds, shunned in _rounds(entries, beside, pinned, exclude, avoid):
        found = search.run(firsts, seconds, shunned)
        if found is not None:
            return found
    raise PathImpossible(relays, search.best)


def _rounds(
    entries: list[RelayRow] | None,
    beside: Collection[RelayId],
    pinned: list[RelayRow],
    exclude: frozenset[RelayId],
    avoid: frozenset[RelayId],
) -> Iterator[tuple[list[RelayRow] | None, list[RelayRow] | None, frozenset[RelayId]]]:
    """What to search, one after the other: first hops, second hops (None: any), and what is not drawn."""
    firsts = [entries]
    if entries is not None:
        others = [row for row in entries if row.identity not in beside]
        if 0 < len(others) < len(entries):
            firsts.insert(0, others)
    shunned = [exclude | avoid, exclude] if avoid else [exclude]
    if pinned:
        healthy = [row for row in pinned if row.identity not in avoid]
        for hops in firsts:
            if 0 < len(healthy) < len(pinned):
                yield hops, healthy, shunned[0]
            yield from ((hops, pinned, not_drawn) for not_drawn in shunned)
    for hops in firsts:
        yield from ((hops, None, not_drawn) for not_drawn in shunned)


def choose_target(
    view: View,
    chance: Chance,
    *,
    exclude: frozenset[RelayId] = frozenset(),
    avoid: frozenset[RelayId] = frozenset(),
) -> RelayRow:
    """One relay drawn by weight, for a rendezvous point or an introducer. Raises PathImpossible."""
    rows = choose_targets(view, chance, 1, exclude=exclude, avoid=avoid)
    if not rows:
        raise PathImpossible(1, 0, "the consensus lists none that is not our own")
    return rows[0]


def choose_targets(
    view: View,
    chance: Chance,
    count: int,
    *,
    exclude: frozenset[RelayId] = frozenset(),
    avoid: frozenset[RelayId] = frozenset(),
) -> tuple[RelayRow, ...]:
    """`count` distinct relays drawn by weight, or fewer if there are not enough. Failing relays come last.

    Our own guards are not excluded. If an endpoint's introducers were never its guards, every introducer
    would reveal a little about its guards. `choose_path` makes sure that the guard in use is not the end.
    """
    chosen: list[RelayRow] = []
    healthy = [row for row in view.relays if row.identity not in exclude and row.identity not in avoid]
    failing = [row for row in view.relays if row.identity in avoid and row.identity not in exclude]
    for rows in (healthy, failing):
        for row in _weighted_order(rows, chance):
            if len(chosen) == count:
                break
            chosen.append(row)
    return tuple(chosen)


class _Search:
    """One search, depth first over the places of a path, with the end first."""

    def __init__(
        self,
        view: View,
        chance: Chance,
        relays: int,
        target: RelayRow | None,
    ) -> None:
        self._view = view
        self._chance = chance
        self._relays = relays
        self._target = target
        self._firsts: Sequence[RelayRow] | None = None
        self._seconds: Sequence[RelayRow] | None = None
        self._pool: list[RelayRow] = []
        self._steps = 0
        self.best = 0

    def run(
        self,
        firsts: Sequence[RelayRow] | None,
        seconds: Sequence[RelayRow] | None,
        shunned: frozenset[RelayId],
    ) -> tuple[RelayRow, ...] | None:
        """A path that begins with one of `firsts` and one of `seconds` (None: any relay), whose drawn relays
        are not in `shunned`, or None. `best` is the longest try's length."""
        self._firsts, self._seconds = firsts, seconds
        self._pool = [row for row in self._view.relays if row.identity not in shunned]
        self._steps = _MOST_STEPS
        path = self._extend([])
        return None if path is None else (*path[1:], path[0])

    def _extend(self, path: list[RelayRow]) -> list[RelayRow] | None:
        """Extend `path`, which has the end first, then the relays from the first hop on."""
        self.best = max(self.best, len(path))
        if len(path) == self._relays:
            return path
        stuck: list[RelayRow] = []
        for row in self._candidates(path):
            # A relay without family only rules out its subnet. If it fails, the whole subnet fails here.
            if any(self._view.same_group(row, other) for other in stuck):
                continue
            if self._steps == 0:
                return None
            self._steps -= 1
            found = self._extend([*path, row])
            if found is not None:
                return found
            if not row.family:
                stuck.append(row)
        return None

    def _candidates(self, path: list[RelayRow]) -> Iterator[RelayRow]:
        if not path and self._target is not None:
            yield self._target
        elif len(path) == 1 and self._firsts is not None:
            yield from (row for row in self._firsts if self._fits(row, path))
        elif self._seconds is not None and len(path) == (0 if self._relays == 2 else 2):
            yield from (row for row in self._chance.shuffled(self._seconds) if self._fits(row, path))
        else:
            yield from self._drawn(path)

    def _drawn(self, path: list[RelayRow]) -> Iterator[RelayRow]:
        """Every relay in the pool that fits, once, in the order of draws by weight.

        One of the first draws nearly always fits, so the whole pool is filtered only after some draws.
        """
        order = _weighted_order(self._pool, self._chance)
        tried = set()
        for row in order:
            tried.add(row.identity)
            if self._fits(row, path):
                yield row
            if len(tried) == _LAZY_DRAWS:
                break
        rest = [row for row in self._pool if row.identity not in tried and self._fits(row, path)]
        yield from _weighted_order(rest, self._chance)

    def _fits(self, row: RelayRow, path: list[RelayRow]) -> bool:
        return not any(self._view.same_group(row, at) for at in path)


def _weighted_order(rows: Sequence[RelayRow], chance: Chance) -> Iterator[RelayRow]:
    """Draws by weight without replacement, each made only when it is asked for."""
    pool = list(rows)
    weights = [row.weight for row in pool]
    while pool:
        at = chance.weighted(range(len(pool)), weights)
        drawn = pool[at]
        pool[at], weights[at] = pool[-1], weights[-1]
        pool.pop()
        weights.pop()
        yield drawn
