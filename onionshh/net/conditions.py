"""One log line when a problem begins and one when it ends, without repetition in between."""

from __future__ import annotations

from collections.abc import Callable


class Condition:
    """One possible problem. `say` takes its log lines."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.now = ""
        """The present problem, empty if there is none."""

    def holds(self, sentence: str) -> None:
        """The problem exists. Its sentence is said only if it did not exist before."""
        begins, self.now = not self.now, sentence
        if begins:
            self._say(sentence)

    def over(self, sentence: str) -> None:
        """The problem does not exist, or has ended."""
        if self.now:
            self.now = ""
            self._say(sentence)
