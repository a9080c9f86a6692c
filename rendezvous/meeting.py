"""The meeting point: two circuits that show the same cookie become one (SPEC 11).

The visitor's circuit waits under a cookie of 32 random bytes. The endpoint has learned the cookie inside the
introduction, and its circuit brings a sealed reply. The meeting point passes the reply on, joins the two
circuits and forgets the cookie, so a cookie works once.

A cookie is looked up in a dict, and how long that takes may depend on its hash. This tells nothing: Python
keys the hash of bytes anew in each process, and all 256 bits must match. To find a cookie by asking would
take 2^256 circuits, since a wrong cookie ends the circuit that it came on.

When all places are taken, a new cookie takes the place of the one that has waited longest among those of the
origin that has most (`shares.py`). An honest visitor waits for seconds, a flood for as long as it likes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from onionshh.core.base.params import Params
from onionshh.core.roles import CircuitHandle, EndCircuit, Join, Reply, RoleAction
from onionshh.errors import ProtocolError
from onionshh.geometry import COOKIE
from onionshh.ids import Cookie
from onionshh.reasons import Reason
from onionshh.rendezvous.shares import Shares
from onionshh.wire import messages as m

WAIT_SECONDS: Final = 600.0


@dataclass(frozen=True, slots=True)
class _Waiting:
    circuit: CircuitHandle
    until: float


class Meeting:
    """The Role of a rendezvous point. `params` gives the parameters in force."""

    accepts: Final = frozenset((m.ESTABLISH_RENDEZVOUS, m.RENDEZVOUS1))

    def __init__(self, params: Callable[[], Params]) -> None:
        self._params = params
        self._waiting: dict[Cookie, _Waiting] = {}  # all wait equally long, so this is the order of expiry
        self._cookie_of: dict[CircuitHandle, Cookie] = {}
        self._shares: Shares[Cookie] = Shares()
        self._numbered = 0

    @property
    def waiting(self) -> int:
        """Cookies that wait."""
        return len(self._waiting)

    def statistics(self) -> Mapping[str, int]:
        """Cookies that wait."""
        return {"cookies": self.waiting}

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """ESTABLISH_RENDEZVOUS or RENDEZVOUS1. Raises ProtocolError: the circuit ends."""
        if circuit.joined:
            raise ProtocolError(Reason.MESSAGE_ON_JOINED_CIRCUIT)
        if circuit in self._cookie_of:
            # A circuit that waits has nothing more to say here: no second cookie, and no joining to itself.
            raise ProtocolError(Reason.RENDEZVOUS_SECOND_USE)
        if message_type == m.ESTABLISH_RENDEZVOUS:
            return self._establish(circuit, Cookie(m.exactly(body, COOKIE)), now)
        if message_type == m.RENDEZVOUS1:
            return self._meet(circuit, m.Rendezvous1.decode_untrusted(body), now)
        raise ProtocolError(Reason.MESSAGE_TYPE)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Nothing waits to be sent."""
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Forget the cookie this circuit waited under."""
        self._forget(circuit)
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """After ten minutes forget the cookie, and end the circuit so that its visitor knows."""
        ended: list[RoleAction] = []
        while self._waiting:
            oldest = next(iter(self._waiting.values()))
            if now < oldest.until:
                break
            self._forget(oldest.circuit)
            ended.append(EndCircuit(oldest.circuit, Reason.RENDEZVOUS_EXPIRED))
        return tuple(ended)

    def _establish(self, circuit: CircuitHandle, cookie: Cookie, now: float) -> tuple[RoleAction, ...]:
        if cookie in self._waiting:
            return (_established(circuit, m.TAKEN),)
        self._numbered += 1
        self._waiting[cookie] = _Waiting(circuit, now + WAIT_SECONDS)
        self._cookie_of[circuit] = cookie
        self._shares.add(cookie, circuit.origin, (self._numbered,))
        crowded_out: list[RoleAction] = []
        while len(self._waiting) > self._params().cookies:
            gone = self._waiting[self._shares.goes_first()].circuit
            self._forget(gone)
            crowded_out.append(EndCircuit(gone, Reason.RENDEZVOUS_DISPLACED))
        return (_established(circuit, m.OK), *crowded_out)

    def _meet(self, circuit: CircuitHandle, message: m.Rendezvous1, now: float) -> tuple[RoleAction, ...]:
        waiting = self._waiting.get(Cookie(message.cookie))
        if waiting is None or now >= waiting.until:
            raise ProtocolError(Reason.RENDEZVOUS_UNKNOWN_COOKIE)
        self._forget(waiting.circuit)
        # The reply goes first: after the join nothing that this relay says reaches either client.
        return (Reply(waiting.circuit, m.RENDEZVOUS2, message.sealed), Join(waiting.circuit, circuit))

    def _forget(self, circuit: CircuitHandle) -> None:
        cookie = self._cookie_of.pop(circuit, None)
        if cookie is not None:
            del self._waiting[cookie]
            self._shares.remove(cookie)


def _established(circuit: CircuitHandle, status: int) -> Reply:
    return Reply(circuit, m.RENDEZVOUS_ESTABLISHED, bytes((status,)))
