"""One line when something begins to be wrong and one when it is over; what lasts is not said again."""

from __future__ import annotations

from collections.abc import Callable


class Condition:
    """One thing that can be wrong, and `say`, which takes its lines."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self.now = ""
        """How it stands; empty while all is well."""

    def holds(self, sentence: str) -> None:
        """It is so. Said unless it was so before, in whatever words."""
        begins, self.now = not self.now, sentence
        if begins:
            self._say(sentence)

    def over(self, sentence: str) -> None:
        """It is not so, or no longer."""
        if self.now:
            self.now = ""
            self._say(sentence)
