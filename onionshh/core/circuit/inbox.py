"""Messages of one circuit that arrived and are not read yet, charged to the node's memory."""

from __future__ import annotations

from collections import deque

from onionshh.core.circuit.circuit import MessageIn
from onionshh.core.link.outbox import Memory

INBOX_MESSAGES = 16


class Inbox:
    """Oldest first. When it is full, the circuit stops acknowledging until half of it has been read."""

    __slots__ = ("_charging", "_memory", "_messages", "full")

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._messages: deque[MessageIn] = deque()
        self._charging = True
        self.full = False
        """Whether the circuit must not acknowledge now."""

    def __len__(self) -> int:
        return len(self._messages)

    def put(self, message: MessageIn) -> None:
        """Add a message that arrived."""
        self._messages.append(message)
        self._memory.used_bytes += len(message.body)
        self.full = self.full or len(self._messages) >= INBOX_MESSAGES

    def take(self) -> MessageIn:
        """Take the oldest message to read it."""
        message = self._messages.popleft()
        if self._charging:
            self._memory.used_bytes -= len(message.body)
        self.full = self.full and len(self._messages) >= INBOX_MESSAGES // 2
        return message

    def clear(self) -> None:
        """Drop all messages: they are not for the next reader."""
        if self._charging:
            self._memory.used_bytes -= self._bytes()
        self._messages.clear()
        self.full = False

    def release(self) -> None:
        """The circuit has ended: free the charged memory. The messages left here may still be read."""
        if self._charging:
            self._charging = False
            self._memory.used_bytes -= self._bytes()

    def _bytes(self) -> int:
        return sum(len(message.body) for message in self._messages)
