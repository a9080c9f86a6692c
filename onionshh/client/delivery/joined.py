"""Records over one joined circuit: the same for both ends (SPEC 13)."""

from __future__ import annotations

from onionshh.core.base.drops import Drops
from onionshh.core.delivery.record import Record
from onionshh.core.endpoint.introduce import EndToEndKeys
from onionshh.errors import ProtocolError
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.net.clocks import Clock
from onionshh.reasons import Reason
from onionshh.wire.messages import RECORD


class JoinedCircuit:
    """A circuit whose other end is the peer."""

    def __init__(
        self, circuit: Circuit, keys: EndToEndKeys, *, as_visitor: bool, clock: Clock, drops: Drops
    ) -> None:
        circuit.join(keys.forward, keys.backward, as_visitor=as_visitor, accepts=frozenset((RECORD,)))
        self.circuit = circuit
        self._clock = clock
        self._drops = drops

    @property
    def open(self) -> bool:
        """Whether records can still be sent and received."""
        return self.circuit.failed is None

    async def closed(self) -> None:
        """Wait until the circuit has ended."""
        await self.circuit.closed()

    @property
    def more_is_coming(self) -> bool:
        """Whether another record is already on its way."""
        return self.circuit.more_is_coming

    @property
    def relays_between(self) -> int:
        """Hops of our half: relays between us and the rendezvous point."""
        return len(self.circuit.path) - 1

    def send_at_once(self, *records: Record) -> bool:
        """Send all records if they may leave now, in one frame if they fit. Else send none. CircuitFailed."""
        return self.circuit.send_at_once(RECORD, *(record.encode() for record in records))

    async def send(self, *records: Record) -> None:
        """Send records, in one frame if they fit, and wait until the last cell has left. CircuitFailed."""
        await self.circuit.deliver(RECORD, *(record.encode() for record in records))

    async def receive(self) -> Record:
        """The next record of a kind in use. A bad one ends the circuit: CircuitFailed, as for any end."""
        message = await self.circuit.receive()
        try:
            return Record.decode_untrusted(message.body)
        except ProtocolError as error:
            self._drops.count(error.reason)
            self.circuit.close(error.reason)
            raise CircuitFailed(error.reason) from error

    def why_refused(self, record: Record) -> int | None:
        """Why a whisper with these dates is refused. None when it is not."""
        return record.why_refused(earliest=self._clock.earliest(), best=self._clock.best())

    def close(self, reason: Reason = Reason.CLOSED) -> None:
        """End the circuit, and with it the peer's circuit."""
        self.circuit.close(reason)
