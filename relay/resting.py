"""Silent circuits give up their cipher contexts, which are most of their memory (ARCHITECTURE.md)."""

from __future__ import annotations

from collections.abc import Iterable

from onionshh.relay.state import RelayCircuit, Stage

REST_SECONDS = 60.0
REST_A_TICK = 1000
"""Circuits looked at per tick: giving up thousands takes as long as forwarding thousands of cells."""


class Resting:
    """Looks at every circuit once in `REST_SECONDS`, some at each tick."""

    def __init__(self) -> None:
        self._look_at = 0.0
        self._to_look_at: list[RelayCircuit] = []
        self.rested = 0
        """Circuits that gave up their cipher contexts so far."""

    def tick(self, circuits: Iterable[RelayCircuit], now: float) -> None:
        """A circuit on which no cell came since the last look rests; its next cell wakes it."""
        if now >= self._look_at and not self._to_look_at:  # else the last ones would never be looked at
            self._look_at = now + REST_SECONDS
            self._to_look_at = list(circuits)
        looked_at, self._to_look_at = self._to_look_at[:REST_A_TICK], self._to_look_at[REST_A_TICK:]
        for circuit in looked_at:
            if not circuit.used_since() and circuit.stage is not Stage.ENDED and not circuit.layers.resting:
                circuit.layers.rest()
                self.rested += 1
