"""Cells waiting for one link, and the memory they take (SPEC 7).

Every circuit has a queue of its own at a link. While the link keeps up, `take` hands out everything that
waits; once more waits than one frame holds, the circuits take turns, cell by cell, so that a bulk circuit
cannot starve the quiet ones beside it. All queues of a node are charged to one `Memory`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import MutableSequence
from dataclasses import dataclass

from onionshh.geometry import CELL


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """What a node's queues and messages hold, and what they may."""

    used_bytes: int
    most_bytes: int


class Memory:
    """One quota for every queue, partial message and waiting cell of a node, in bytes."""

    __slots__ = ("most_bytes", "now", "used_bytes")

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self.now = 0.0
        """Monotonic seconds of the read under way: what is queued now is this old."""

    def statistics(self) -> MemoryStatistics:
        """Numbers of this moment."""
        return MemoryStatistics(self.used_bytes, self.most_bytes)


class CellQueue:
    """One circuit's cells for one link, oldest first. No cell here came before `since`.

    How old the first one is would take a time for each cell. Instead, now and then it is noted how many
    stand here: once these have left, what is left is younger than that moment. So the age of a queue that
    drains is at most that of the cells of its last two turns, and one that stands still ages.

    A list: an empty deque takes 620 bytes, and of ten thousand circuits most are empty. Taking the first
    of a full queue, 1 024 cells, moves 8 KB.
    """

    __slots__ = ("cells", "noted", "older", "since")

    def __init__(self) -> None:
        self.cells: MutableSequence[bytes] = []
        self.since = 0.0
        self.noted = 0.0
        self.older = 0
        """How many cells are left of those that stood here at `noted`."""

    def first(self) -> bytes:
        """Take the oldest."""
        return self.cells.pop(0)

    def note(self, now: float) -> None:
        """All that stood here at `noted` has left. Whatever was noted before the queue was last empty says
        less than `since`, which begins anew then."""
        self.since = max(self.since, self.noted)
        self.noted = now
        self.older = len(self.cells)


class ControlQueue(CellQueue):
    """A link's own cells: a DESTROY for each of 65 536 circuits may wait here, too many for a list."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.cells: deque[bytes] = deque()

    def first(self) -> bytes:
        return self.cells.popleft()


class Outbox:
    """The queues of one link. `touched` is the node's list of outboxes to flush after this read."""

    __slots__ = ("_busy", "_in_list", "_touched", "memory", "waiting")

    def __init__(self, memory: Memory, touched: list[Outbox]) -> None:
        self.memory = memory
        self.waiting = 0
        # Ordered, and any one of ten thousand can leave it at once: its circuit may end at any moment.
        self._busy: OrderedDict[CellQueue, None] = OrderedDict()
        self._touched = touched
        self._in_list = False

    def push(self, queue: CellQueue, cell: bytes) -> None:
        """One more cell at the end of a circuit's queue."""
        if not queue.cells:
            queue.since = self.memory.now
            self._busy[queue] = None
        queue.cells.append(cell)
        self.waiting += 1
        self.memory.used_bytes += CELL
        if not self._in_list:
            self._in_list = True
            self._touched.append(self)

    def untouch(self) -> None:
        """The node's list has been worked off; the next push enters it again."""
        self._in_list = False

    def take(self, most: int) -> list[bytes]:
        """At most so many cells, in order within a circuit, in turns between circuits."""
        busy = self._busy
        taken: list[bytes] = []
        if self.waiting <= most:
            for queue in busy:
                taken.extend(queue.cells)
                queue.cells.clear()
            busy.clear()
        else:
            while len(taken) < most:
                queue, _ = busy.popitem(last=False)
                taken.append(queue.first())
                queue.older -= 1
                if queue.cells:
                    busy[queue] = None
                    if queue.older <= 0:
                        queue.note(self.memory.now)
        self.waiting -= len(taken)
        self.memory.used_bytes -= CELL * len(taken)
        return taken

    def discard(self, queue: CellQueue) -> int:
        """Forget a circuit's waiting cells; returns how many there were."""
        count = len(queue.cells)
        if count:
            del self._busy[queue]
            queue.cells.clear()
            self.waiting -= count
            self.memory.used_bytes -= CELL * count
        return count

    def discard_all(self) -> int:
        """Forget every waiting cell: the link is gone."""
        count = self.waiting
        for queue in self._busy:
            queue.cells.clear()
        self._busy.clear()
        self.waiting = 0
        self.memory.used_bytes -= CELL * count
        return count
