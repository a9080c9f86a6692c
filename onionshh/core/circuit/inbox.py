"""Messages of one circuit that came and were not read yet, charged to the node's memory."""

from __future__ import annotations

from collections import deque

from onionshh.core.circuit.circuit import MessageIn
from onionshh.core.link.outbox import Memory

INBOX_MESSAGES = 16


class Inbox:
    """Oldest first. Once it is full the circuit stops acknowledging, until half of it has been read."""

    __slots__ = ("_charging", "_memory", "_messages", "full")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._messages: deque[MessageIn] = deque()
        self._charging = True
        self.full = False
        """Whether nothing is to be acknowledged now."""

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: MessageIn) -> None:
        """One more came."""
        self._messages.append(message)
        self._memory.used_bytes += len(message.body)
        self.full = self.full or len(self._messages) >= INBOX_MESSAGES

    def take(self) -> MessageIn:
        """The oldest, which is read now."""
        message = self._messages.popleft()
        if self._charging:
            self._memory.used_bytes -= len(message.body)
        self.full = self.full and len(self._messages) >= INBOX_MESSAGES // 2
        return message

    def clear(self) -> None:
        """What is here is not for whoever reads from now on."""
        if self._charging:
            self._memory.used_bytes -= self._bytes()
        self._messages.clear()
        self.full = False

    def release(self) -> None:
        """The circuit is over: what is left may still be read, but it grows no more and goes with it."""
        if self._charging:
            self._charging = False
            self._memory.used_bytes -= self._bytes()

    def _bytes(self) -> int:
        return sum(len(message.body) for message in self._messages)
