"""A relay that leaves: it takes no new circuits, and those that it has get a bounded time (SPEC 6).

CREATE is refused, also from other relays, so nobody begins with a relay that is about to end. A circuit that
exists may still be extended: its client chose this path before, and two more round trips make it useful. The
directory is told nothing. Most relays that leave come back a moment later, and a relay that has withdrawn
would have to be checked before it is listed again. One that stays away fails its next checks.

Nobody sees from outside whether a circuit is in use, but a silent one can be told from a busy one: pooled
circuits and those of introducers carry nothing for minutes. A circuit over which no RELAY cell came for
`SILENT_SECONDS` ends. Its client builds another, elsewhere, before it needs one.
"""

from __future__ import annotations

from collections.abc import Iterable

from onionshh.relay.state import RelayCircuit

SILENT_SECONDS = 5.0
"""Longer than an answer takes over six relays, and short enough that a quiet relay ends at once."""
ENDED_A_TICK = 2000
"""Circuits that are ended at one tick: more would hold up the cells of the others."""


class Draining:
    """Which circuits of a leaving relay are silent. `now`: when it began to leave."""

    def __init__(self, circuits: Iterable[RelayCircuit], now: float) -> None:
        self._used_at = dict.fromkeys(circuits, now)
        for circuit in self._used_at:
            circuit.used_since()  # what was before does not count

    def silent(self, circuits: Iterable[RelayCircuit], now: float) -> list[RelayCircuit]:
        """The circuits that have been silent for too long. Called at each tick."""
        before, self._used_at = self._used_at, {}
        silent: list[RelayCircuit] = []
        for circuit in circuits:
            at = now if circuit.used_since() else before.get(circuit, now)
            self._used_at[circuit] = at
            if now - at >= SILENT_SECONDS and len(silent) < ENDED_A_TICK:
                silent.append(circuit)
        return silent
