"""Cells that wait for one link, and the memory they use (SPEC 7).

Every circuit has its own queue at a link. While the link is fast enough, the queues stay empty: cells lie in
the order in which they came, and `take` returns them all. They go to their queues once more waits than one
frame holds. Then the circuits take turns, cell by cell. So a bulk circuit cannot starve the quiet ones. All
cells of a node are charged to one `Memory`.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import MutableSequence
from dataclasses import dataclass

from onionshh.geometry import CELL


@dataclass(frozen=True, slots=True)
class MemoryStatistics:
    """How much a node's queues and messages hold, and how much they may hold."""

    used_bytes: int
    most_bytes: int


class Memory:
    """One quota in bytes for all queues, partial messages and waiting cells of a node."""

    __slots__ = ("most_bytes", "now", "used_bytes")

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.used_bytes = 0
        self.now = 0.0
        """The time of the current read, monotonic seconds. Cells queued now date from this time."""

    def statistics(self) -> MemoryStatistics:
        """The present numbers."""
        return MemoryStatistics(self.used_bytes, self.most_bytes)


class CellQueue:
    """One circuit's cells for one link, oldest first. No cell here arrived before `since`.

    The exact age of the first cell would need a time per cell. Instead, the number of waiting cells is noted
    from time to time. When these cells have left, all others are younger than that moment. So a queue that
    drains is at most as old as the cells of its last two turns. A queue that does not drain gets older.

    It is a list: an empty deque takes 620 bytes, and of ten thousand circuits most are empty. Taking the
    first cell of a full queue (1 024 cells) moves 8 KB.
    """

    __slots__ = ("cells", "noted", "older", "since")

    def __init__(self) -> None:
        self.cells: MutableSequence[bytes] = []
        self.since = 0.0
        self.noted = 0.0
        self.older = 0
        """How many of the cells that were here at `noted` are left."""

    def first(self) -> bytes:
        """Take the oldest cell."""
        return self.cells.pop(0)

    def note(self, now: float) -> None:
        """All cells that were here at `noted` have left. If the queue was empty after `noted`, `since` is the
        later time and stays."""
        self.since = max(self.since, self.noted)
        self.noted = now
        self.older = len(self.cells)


class ControlQueue(CellQueue):
    """A link's own cells. A DESTROY for each of 65 536 circuits may wait here: too many for a list."""

    __slots__ = ()

    def __init__(self) -> None:
        super().__init__()
        self.cells: deque[bytes] = deque()

    def first(self) -> bytes:
        return self.cells.popleft()


class Outbox:
    """The queues of one link. `touched` is the node's list of outboxes to flush after the current read.

    A forwarded cell is pushed and taken without a look at its circuit's queue. With ten thousand circuits,
    memory that is not touched is what saves most time.
    """

    __slots__ = ("_busy", "_cells", "_in_list", "_owners", "_since", "_touched", "memory", "waiting")

    def __init__(self, memory: Memory, touched: list[Outbox]) -> None:
        self.memory = memory
        self.waiting = 0
        """Cells of all queues."""
        self._cells: list[bytes] = []
        """Cells that are in no queue yet, oldest first, and in `_owners` the queue of each."""
        self._owners: list[CellQueue] = []
        self._since = 0.0
        """No cell in `_cells` arrived before this time."""
        # Ordered, and any queue can be removed quickly, because its circuit may end at any moment.
        self._busy: OrderedDict[CellQueue, None] = OrderedDict()
        self._touched = touched
        self._in_list = False

    def push(self, queue: CellQueue, cell: bytes) -> None:
        """Add a cell at the end of a circuit's queue."""
        if not self._in_list:
            self._in_list = True
            self._touched.append(self)
            if self._cells:  # the last flush did not take them: they are older
                self._sort()
            self._since = self.memory.now
        self._owners.append(queue)
        self._cells.append(cell)
        self.waiting += 1
        self.memory.used_bytes += CELL

    def count(self, queue: CellQueue) -> int:
        """How many cells of this queue wait. Afterwards `queue.since` is known."""
        self._sort()
        return len(queue.cells)

    def untouch(self) -> None:
        """The node's list was flushed: the next push enters this outbox again."""
        self._in_list = False

    def take(self, most: int) -> list[bytes]:
        """At most `most` cells, in order within a circuit, in turns between circuits."""
        busy = self._busy
        taken: list[bytes] = []
        if self.waiting <= most:
            for queue in busy:
                taken.extend(queue.cells)
                queue.cells.clear()
            busy.clear()
            taken += self._cells
            self._cells.clear()
            self._owners.clear()
        else:
            self._sort()
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
        """Drop a circuit's waiting cells; returns how many there were."""
        count = self.count(queue)
        if count:
            del self._busy[queue]
            queue.cells.clear()
            self.waiting -= count
            self.memory.used_bytes -= CELL * count
        return count

    def discard_all(self) -> int:
        """Drop all waiting cells, because the link has ended; returns how many there were."""
        count = self.waiting
        for queue in self._busy:
            queue.cells.clear()
        self._busy.clear()
        self._cells.clear()
        self._owners.clear()
        self.waiting = 0
        self.memory.used_bytes -= CELL * count
        return count

    def _sort(self) -> None:
        """Put each cell into its queue."""
        for queue, cell in zip(self._owners, self._cells, strict=True):
            if not queue.cells:
                queue.since = self._since
                self._busy[queue] = None
            queue.cells.append(cell)
        self._cells.clear()
        self._owners.clear()
