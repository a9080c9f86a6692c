"""Messages that cost as much as a handshake, and wait for a moment between two reads (core/roles.py).

A frame may bring ten of them. If they were served on the spot, each cell behind them would wait for all.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from onionshh.relay.state import RelayCircuit

COSTLY_MOST: Final = 256
"""1.4 MB of PUTs. What comes when so many wait is served on the spot, so that nothing is lost."""

Message = tuple[RelayCircuit, int, bytes]


class Costly:
    """A queue with a bound, for all roles of a relay."""

    def __init__(self) -> None:
        self.types: frozenset[int] = frozenset()
        """Types of messages that are costly."""
        self._waiting: deque[Message] = deque()

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, circuit: RelayCircuit, message_type: int, body: bytes) -> bool:
        """Let a message wait, if it is costly and there is room."""
        if message_type not in self.types or len(self._waiting) >= COSTLY_MOST:
            return False
        self._waiting.append((circuit, message_type, body))
        return True

    def next(self) -> Message | None:
        """The message that has waited longest, of a circuit that can still be answered; None for none."""
        while self._waiting:
            message = self._waiting.popleft()
            if message[0].has_voice:
                return message
        return None
