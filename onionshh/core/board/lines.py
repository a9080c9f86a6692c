"""Puts the posts of each author in order, and says where some are missing (SPEC 14). Pure.

Each author counts its posts. They come from several relays, in any order, and some never come: they expired,
were taken back, or a relay hides them. One author's posts are its *line*.

| what comes, by its number               | what happens                                                     |
|-----------------------------------------|------------------------------------------------------------------|
| no author (number 0)                    | given at once                                                    |
| of an author without a line: 1          | begins the line, given at once                                   |
| of an author without a line: another    | held for 10 s, then the lowest that came begins the line         |
| the next of the line                    | given at once                                                    |
| beyond the next                         | held for 60 s at most, then given with how many are missing      |
| not beyond the last that was given      | given at once, marked as late                                    |

Late is what fills a gap after all, and what has a number for the second time: an author who posts with one
identity from two machines does that. Nothing that came is lost.

When all relays have been asked for all that they have, what was posted a while ago is not held any longer
(`settled`): what is missing there has no place where it could come from. What is just being posted may have
been missed by a moment. Lines are mixed by the times that the authors give.

Only so many lines are remembered, and anyone can be a new author. So each line has a *rank*: every post that
is given of it adds 1, and it never lies below the rank that was last forgotten. The line of the lowest rank
goes first, among equals the one of which nothing came for longest. Whoever wants the line of an author of
whom k posts were given forgotten must have about k times `LINES_MOST` posts given. A line of the past sinks
by and by, so old authors do not keep new ones out.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from math import inf
from operator import itemgetter
from types import MappingProxyType
from typing import Final

BEGIN_SECONDS: Final = 10.0
GAP_SECONDS: Final = 60.0
HELD_MOST: Final = 1024
HELD_BYTES_MOST: Final = 8 * 1024 * 1024
LINES_MOST: Final = 4096
"""Authors whose last number is remembered."""
NO_RANKS: Final[Mapping[bytes, int]] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Arrived:
    """A whole post. `posted`: Unix seconds, as its author says. `missing`: how many posts of the author
    before it did not come. `late`: whether later ones were given before it."""

    author: bytes
    number: int
    post_id: bytes
    posted: int
    body: bytes = field(repr=False)
    missing: int = 0
    late: bool = False


@dataclass(slots=True)
class _Line:
    last: int | None = None
    """The number of the last post that was given."""
    held: list[tuple[int, bytes, float, Arrived]] = field(default_factory=list)
    """Number, id, when it came (monotonic seconds), and the post: a heap."""
    rank: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the first that is held can be given now."""
        first = self.held[0][0]
        return first <= (1 if self.last is None else self.last + 1)

    @property
    def opens_at(self) -> float:
        """When it is given in any case. None of those behind it is held any longer either."""
        since = min(came for _, _, came, _ in self.held)
        return since + (BEGIN_SECONDS if self.last is None else GAP_SECONDS)


class Lines:
    """`lasts`: by author, the number of the last post that was given before this run. `ranks`: those of their
    lines, 1 if it is not said."""

    def __init__(self, lasts: Mapping[bytes, int], ranks: Mapping[bytes, int] = NO_RANKS) -> None:
        self._lines = {author: _Line(last, rank=ranks.get(author, 1)) for author, last in lasts.items()}
        """The one that something was given of last is at the end."""
        full = len(self._lines) >= LINES_MOST
        self._forgotten = min((line.rank for line in self._lines.values()), default=0) if full else 0
        """The highest rank of a line that was forgotten. When it is not known, no line lies below it."""
        self._count = 0
        self._bytes = 0

    @property
    def held(self) -> int:
        """How many posts are held."""
        return self._count

    @property
    def next_deadline(self) -> float | None:
        """When something that is held must be given: monotonic seconds."""
        return min((line.opens_at for line in self._lines.values() if line.held), default=None)

    def highest(self, author: bytes) -> int:
        """The highest number of this author that came, given or held. 0 if there is none."""
        line = self._lines.get(author)
        return 0 if line is None else max(line.last or 0, *(number for number, *_ in line.held), 0)

    def add(self, post: Arrived, now: float) -> None:
        """A post has come for the first time. `take` gives it."""
        line = self._lines.setdefault(post.author, _Line())
        heapq.heappush(line.held, (post.number, post.post_id, now, post))
        self._count += 1
        self._bytes += len(post.body)

    def take(self, now: float, *, settled: float = -inf) -> tuple[Arrived, ...]:
        """All that can be given now, in order. What was posted until `settled` (Unix seconds) is not held."""
        found = list(self._mixed(now, settled))
        while self._count > HELD_MOST or self._bytes > HELD_BYTES_MOST:
            found.append(self._give(self._longest_held()))
        self._forget(len(self._lines) - LINES_MOST)
        return tuple(found)

    def _forget(self, many: int) -> None:
        """Forget so many lines, or all of which nothing is held."""
        if many > 0:
            idle = ((line.rank, author) for author, line in self._lines.items() if not line.held)
            for rank, author in heapq.nsmallest(many, idle, key=itemgetter(0)):  # of equals the first
                self._forgotten = max(self._forgotten, rank)
                del self._lines[author]

    def _mixed(self, now: float, settled: float) -> Iterator[Arrived]:
        ready: list[tuple[int, bytes]] = []

        def look(author: bytes) -> None:
            line = self._lines.get(author)
            if line is None or not line.held:
                return
            posted = line.held[0][3].posted
            if posted <= settled or line.is_open or now >= line.opens_at:
                heapq.heappush(ready, (posted, author))

        for author in list(self._lines):
            look(author)
        while ready:
            author = heapq.heappop(ready)[1]
            yield self._give(author)
            look(author)

    def _longest_held(self) -> bytes:
        holding = [(line.opens_at, author) for author, line in self._lines.items() if line.held]
        return min(holding)[1]

    def _give(self, author: bytes) -> Arrived:
        """The first that is held of this author."""
        line = self._lines.pop(author)
        post = heapq.heappop(line.held)[3]
        self._count -= 1
        self._bytes -= len(post.body)
        if line.held or line.last is not None or post.number:
            self._lines[author] = line
        if not post.number:
            return post
        line.rank = max(line.rank, self._forgotten) + 1
        last, line.last = line.last, max(line.last or 0, post.number)
        if last is None:
            return post
        if post.number <= last:
            return replace(post, late=True)
        return replace(post, missing=post.number - last - 1)
