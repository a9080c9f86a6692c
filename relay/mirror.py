"""The consensus mirror: any relay passes on the consensus that it holds, so that no directory sees who is
online (SPEC 8)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from onionshh.core.roles import CircuitHandle, Reply, RoleAction
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire import messages as m


class Mirror:
    """The Role that answers FETCH_CONSENSUS. `held()`: (valid-after, document) of the consensus it holds."""

    accepts: Final = frozenset((m.FETCH_CONSENSUS,))

    def __init__(self, held: Callable[[], tuple[int, bytes]]) -> None:
        self._held = held

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """Answer with the document, or with an empty one when the asker's consensus is as new."""
        known = m.decode_fetch_consensus_untrusted(body)
        if circuit.waiting_messages:
            raise ProtocolError(
                Reason.CONSENSUS_ASKED_TWICE
            )  # one at a time: it is the largest message there is
        valid_after, document = self._held()
        return (Reply(circuit, m.CONSENSUS, document if valid_after > known else b""),)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Nothing waits to be sent: the consensus is one message."""
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Nothing is kept for a circuit."""
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Nothing expires."""
        return ()
