"""Which relays a circuit goes through: a pure function of consensus, constraints and chance (SPEC 6).

A small search with backtracking finds a path. The end comes first: it is given, or drawn by weight without
regard to the guards. Then comes the guard. If the end is the first guard or in its group, the other guard is
used. Last comes the middle, drawn by weight. Hard rules: no relay twice, no two relays of one family or
subnet, none of our own relays. Preferences: layer-2 guards at the second place, and no relay in the failure
memory. The failure memory is ignored when nothing else is left, and never applies to a guard.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
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
) -> tuple[RelayRow, ...]:
    """The relays of a new circuit, first hop first. Raises PathImpossible.

    relays: 1 to 4, with the last one counted. first: possible first hops, in order of preference (the guards
    that are up), or None for any; ignored for a path of one relay. last: the relay wanted at the end, or None
    for one drawn by weight. second: layer-2 guards, preferred at the second place if they fit and do not
    fail. exclude: never used (our own relays). avoid: used only when nothing else is left.
    """
    if not 1 <= relays <= PATH_RELAYS_MOST:
        raise ValueError(f"a path has 1 to {PATH_RELAYS_MOST} relays, not {relays}")
    target: RelayRow | None = None
    if last is not None:
        target = view.any_relay(last)
        if target is None:
            raise PathImpossible(relays, 0, "the relay wanted at its end is not in the consensus")
        if last in exclude:
            raise PathImpossible(relays, 0, "the relay wanted at its end is one of our own")
    entries: list[RelayRow] | None = None
    if first is not None and relays > 1:
        entries = [row for row in map(view.any_relay, first) if row and row.identity not in exclude]
        if not entries:
            raise PathImpossible(relays, 0, "none of our guards is up to be its first hop")
    pinned = [
        row
        for row in map(view.any_relay, second)
        if row and row.identity not in exclude and row.identity not in avoid
    ]
    search = _Search(view, chance, relays, target, entries, pinned)
    found = search.run(exclude | avoid) or (search.run(exclude) if avoid else None)
    if found is None:
        raise PathImpossible(relays, search.best)
    return found


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
        entries: Sequence[RelayRow] | None,
        pinned: Sequence[RelayRow],
    ) -> None:
        self._view = view
        self._chance = chance
        self._relays = relays
        self._target = target
        self._entries = entries
        self._pinned = pinned
        self._pool: list[RelayRow] = []
        self._steps = 0
        self.best = 0

    def run(self, shunned: frozenset[RelayId]) -> tuple[RelayRow, ...] | None:
        """A path whose drawn relays are not in `shunned`, or None. `best` is the longest try's length."""
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
        elif len(path) == 1 and self._entries is not None:
            yield from (row for row in self._entries if self._fits(row, path))
        else:
            if len(path) == 2:
                yield from (row for row in self._chance.shuffled(self._pinned) if self._fits(row, path))
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
