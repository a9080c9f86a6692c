"""The two hash chains of a session: one side spends the steps of a chain, the other accepts them (SPEC 12).

A step is 32 bytes. Each step gives one tag, the name that its RESUME travels under, and the keys of that
RESUME. From a chain's key come the present step and the next key, and the present key is then erased. So a
stolen disk opens nothing that was spent before.

The accepting side knows the tags from `base` to `base + 31`. If a tag further on is used, the steps in
between are kept for a while, because their cells may still be on their way. The window slides by the highest
tag that was used, never by the lowest that was not: a lost cell must not hold the window back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, NewType

from onionshh.crypto.primitives import kdf
from onionshh.geometry import KEY, SESSION_TAG

Tag = NewType("Tag", bytes)
"""The name of one step, 16 bytes."""
Step = NewType("Step", bytes)
"""One step of a chain, 32 secret bytes."""

WINDOW: Final = 32
"""How many tags ahead the accepting side knows."""
SKIPPED_MOST: Final = 32
"""How many steps that were jumped over are kept."""
NUMBER_MOST: Final = 2**53


def next_step(key: bytes) -> tuple[Step, bytes]:
    """The step of this chain key, and the chain key after it."""
    both = kdf("step", key, length=2 * KEY)
    return Step(both[:KEY]), both[KEY:]


def tag_of(step: Step) -> Tag:
    """The tag of a step."""
    return Tag(kdf("tag", step, length=SESSION_TAG))


@dataclass(slots=True)
class SpendingChain:
    """The chain whose steps this side spends."""

    key: bytes = field(repr=False)
    index: int = 0
    """The number of the next step."""
    settled: int = 0
    """All steps before this number are answered, or nobody waits for an answer to them any more."""

    def spend(self) -> tuple[int, Step]:
        """The next step and its number. Its key is gone from then on."""
        step, self.key = next_step(self.key)
        self.index += 1
        return self.index - 1, step

    def answered(self, index: int) -> None:
        """An answer to this step came. It settles all steps before it."""
        self.settled = max(self.settled, min(index + 1, self.index))

    @property
    def unanswered(self) -> int:
        """How many steps are out without an answer."""
        return self.index - self.settled


class AcceptingChain:
    """The chain whose steps the other side spends. `key` is that of step `base`; `skipped` has earlier steps
    that were not used, by number."""

    __slots__ = ("_ahead", "_key", "base", "skipped")

    def __init__(self, key: bytes, base: int = 0, skipped: dict[int, Step] | None = None) -> None:
        self._key = key
        self.base = base
        self.skipped: dict[int, Step] = {} if skipped is None else skipped
        """Lowest number first."""
        self._ahead = key
        """The chain key of step `base + WINDOW`. It follows from `_key` and saves most of the work."""
        for _ in range(WINDOW):
            _, self._ahead = next_step(self._ahead)

    def __repr__(self) -> str:
        return f"<AcceptingChain base {self.base}>"

    @property
    def key(self) -> bytes:
        """The chain key of step `base`, for the disk."""
        return self._key

    def tags(self) -> Iterator[tuple[Tag, int]]:
        """Every tag that is accepted now, with its number."""
        for index, step in self.skipped.items():
            yield tag_of(step), index
        key = self._key
        for index in range(self.base, self.base + WINDOW):
            step, key = next_step(key)
            yield tag_of(step), index

    def step(self, index: int) -> Step | None:
        """The step of this number, None if it is not accepted. It stays usable until `burn`."""
        if index < self.base:
            return self.skipped.get(index)
        if index >= self.base + WINDOW:
            return None
        key = self._key
        for _ in range(index - self.base):
            _, key = next_step(key)
        return next_step(key)[0]

    def burn(self, index: int) -> tuple[list[Tag], list[tuple[Tag, int]]]:
        """The step of this number was used, and is not accepted again. Returns the tags that are gone and the
        tags that are new, these with their numbers. Nothing changes for a step that is not accepted."""
        if index < self.base:
            step = self.skipped.pop(index, None)
            return ([] if step is None else [tag_of(step)]), []
        if index >= self.base + WINDOW:
            return [], []
        new: list[tuple[Tag, int]] = []
        for number in range(self.base, index + 1):
            step, self._key = next_step(self._key)
            self.skipped[number] = step
            ahead, self._ahead = next_step(self._ahead)
            new.append((tag_of(ahead), number + WINDOW))
        self.base = index + 1
        gone = [tag_of(self.skipped.pop(index))]
        while len(self.skipped) > SKIPPED_MOST:
            gone.append(tag_of(self.skipped.pop(min(self.skipped))))
        return gone, new
