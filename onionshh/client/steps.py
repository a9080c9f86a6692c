"""What a node does, step by step, in words: for `--verbose`, and for anyone else who wants to see it.

The lines go to a logger of their own, at debug level, so by default nobody sees them. They name relays, which
are public, but no address, no id and no key.
"""

from __future__ import annotations

import logging

from onionshh.net.circuits import Circuit

STEPS = "onionshh.steps"
"""The logger's name."""
steps = logging.getLogger(STEPS)


class InWords:
    """A circuit's relays in words, made only if the line is shown."""

    def __init__(self, circuit: Circuit) -> None:
        self._circuit = circuit

    def __str__(self) -> str:
        names = [row.nickname for row in self._circuit.path]
        if len(names) == 1:
            return f"{names[0]}, which sees our address"
        return f"{names[-1]}, by way of {', '.join(names[:-1])}"
