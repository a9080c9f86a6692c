"""The introducer: passes introductions on to an endpoint that it knows only by one key (SPEC 11).

An endpoint proves on its circuit that it holds an auth key. The proof is a signature over this circuit's
binding and this relay's identity, so it works nowhere else. A visitor names that key. The introducer passes
the visitor's INTRODUCE1 on unread and answers with a status. It does not learn who either of them is, since
both come over circuits.

INTRODUCE1 has two kinds: a new introduction, and the resumption of a session (SPEC 12). An endpoint that
does not keep up is protected: while 16 introductions or 64 resumptions wait, and above the rate of that kind
for its key, the answer is `busy` and the visitor tries another introducer. Each kind has its own bound and
its own rate, so a flood of one kind refuses no visitor of the other kind. While every effort is 0 (there is
no proof of work yet, SPEC 15), the 16 introductions of highest effort are the first 16.

When all places for keys are taken, a new key takes the place of the youngest key of the origin that has most
(`shares.py`). If the new one is that youngest key, the answer is `busy`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from onionshh.core.base.buckets import TokenBucket
from onionshh.core.base.params import Params
from onionshh.core.roles import CircuitHandle, Drop, EndCircuit, Reply, RoleAction
from onionshh.crypto.identity import verify_untrusted
from onionshh.crypto.primitives import sha3_256
from onionshh.errors import ProtocolError
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from onionshh.rendezvous.shares import Rank, Shares
from onionshh.wire import messages as m

WAITING_MOST: Final[Mapping[int, int]] = MappingProxyType({m.INTRODUCE_NEW: 16, m.INTRODUCE_RESUME: 64})
"""By kind: messages that may wait for one endpoint."""
TRIES_MOST: Final = 2
"""INTRODUCE1 messages that a circuit may carry: one, and the same bytes once more."""


@dataclass(slots=True)
class _Endpoint:
    """Where introductions for one auth key go. The buckets, by kind, outlive a change of circuits."""

    circuit: CircuitHandle
    buckets: Mapping[int, TokenBucket]
    rank: Rank
    """The youngest key has the lowest. A change of circuits does not change the age."""
    passed_on: deque[int] = field(default_factory=deque)
    """The kinds of the last messages that went to this circuit, in their order."""

    def waiting(self, kind: int) -> int:
        """How many of this kind wait. The circuit counts all kinds together; what was first leaves first.

        What the relay itself says on the circuit, such as an echo, may wait among them. Then a few that have
        left count as waiting, always of their own kind.
        """
        while len(self.passed_on) > self.circuit.waiting_messages:
            self.passed_on.popleft()
        return self.passed_on.count(kind)

    def moves(self, circuit: CircuitHandle) -> None:
        """Another circuit takes over. What waits for the old one is lost with it."""
        self.circuit = circuit
        self.passed_on.clear()


@dataclass(slots=True)
class _Visit:
    """What a visitor's circuit has sent: a hash of its one introduction, and how often."""

    digest: bytes
    tries: int


class Introducer:
    """The Role of an introducer. `own_id` is this relay's identity, `params` gives those in force."""

    accepts: Final = frozenset((m.ESTABLISH_INTRO, m.INTRODUCE1))

    def __init__(self, own_id: RelayId, params: Callable[[], Params]) -> None:
        self._own_id = own_id
        self._params = params
        self._endpoints: dict[AuthKey, _Endpoint] = {}
        self._key_of: dict[CircuitHandle, AuthKey] = {}
        self._visits: dict[CircuitHandle, _Visit] = {}
        self._shares: Shares[AuthKey] = Shares()
        self._numbered = 0

    @property
    def established(self) -> int:
        """Keys that are established."""
        return len(self._endpoints)

    @property
    def circuits(self) -> int:
        """Circuits for which anything is kept, of endpoints and of visitors."""
        return len(self._key_of) + len(self._visits)

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """ESTABLISH_INTRO or INTRODUCE1. Raises ProtocolError: the circuit ends."""
        if circuit.joined:
            raise ProtocolError(Reason.MESSAGE_ON_JOINED_CIRCUIT)
        if message_type == m.ESTABLISH_INTRO:
            return self._establish(circuit, m.EstablishIntro.decode_untrusted(body))
        if message_type == m.INTRODUCE1:
            return self._introduce(circuit, m.introduced_untrusted(body), body, now)
        raise ProtocolError(Reason.MESSAGE_TYPE)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Nothing waits to be sent: for an endpoint that does not keep up the answer is `busy`."""
        return ()

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Forget the key that this circuit established, unless another has taken it over."""
        self._visits.pop(circuit, None)
        key = self._key_of.pop(circuit, None)
        if key is not None:
            self._forget(key)
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Nothing expires: a key lives as long as its circuit."""
        return ()

    def _establish(self, circuit: CircuitHandle, message: m.EstablishIntro) -> tuple[RoleAction, ...]:
        if circuit in self._key_of or circuit in self._visits:
            raise ProtocolError(Reason.INTRO_SECOND_USE)
        key = AuthKey(message.auth_key)
        params = self._params()
        known = self._endpoints.get(key)
        rank = (-self._numbered - 1,) if known is None else known.rank
        full = known is None and len(self._endpoints) >= params.introduction_keys
        if full and not self._shares.would_stay(key, circuit.origin, rank):
            return (Reply(circuit, m.INTRO_ESTABLISHED, bytes((m.BUSY,))), Drop(Reason.INTRO_KEYS_FULL))
        # CryptoError for a proof stolen from another circuit or introducer: it must be signed for ours.
        verify_untrusted(key, message.signature, message.signed(circuit.binding, self._own_id))
        actions: list[RoleAction] = []
        if known is None:
            self._numbered += 1
            buckets = {kind: TokenBucket(rate, burst) for kind, (rate, burst) in _limits(params).items()}
            self._endpoints[key] = _Endpoint(circuit, buckets, rank)
        else:
            del self._key_of[known.circuit]
            actions.append(EndCircuit(known.circuit, Reason.INTRO_TAKEN_OVER))
            known.moves(circuit)
        self._key_of[circuit] = key
        self._shares.add(key, circuit.origin, rank)
        actions.append(Reply(circuit, m.INTRO_ESTABLISHED, bytes((m.OK,))))
        if known is None:
            actions += self._make_room(params.introduction_keys)
        return tuple(actions)

    def _make_room(self, most: int) -> list[RoleAction]:
        """End the circuits of the keys that are too many."""
        displaced: list[RoleAction] = []
        while len(self._endpoints) > most:
            gone = self._shares.goes_first()
            displaced.append(EndCircuit(self._endpoints[gone].circuit, Reason.INTRO_DISPLACED))
            del self._key_of[self._endpoints[gone].circuit]
            self._forget(gone)
        return displaced

    def _forget(self, key: AuthKey) -> None:
        del self._endpoints[key]
        self._shares.remove(key)

    def _introduce(
        self, circuit: CircuitHandle, message: m.Introduce | m.Resume, body: bytes, now: float
    ) -> tuple[RoleAction, ...]:
        if circuit in self._key_of:
            raise ProtocolError(Reason.INTRO_SECOND_USE)
        self._count_visit(circuit, body)
        endpoint = self._endpoints.get(AuthKey(message.auth_key))
        if endpoint is None or endpoint.circuit.joined:
            return (_answer(circuit, m.NO_SUCH_KEY), Drop(Reason.INTRODUCE_NO_SUCH_KEY))
        new = isinstance(message, m.Introduce)
        kind = m.INTRODUCE_NEW if new else m.INTRODUCE_RESUME
        if endpoint.waiting(kind) >= WAITING_MOST[kind]:
            return (_answer(circuit, m.BUSY), Drop(Reason.INTRODUCE_BUSY if new else Reason.RESUME_BUSY))
        bucket = endpoint.buckets[kind]
        bucket.rate, bucket.burst = _limits(self._params())[kind]
        if not bucket.take(now):
            return (_answer(circuit, m.BUSY), Drop(Reason.INTRODUCE_RATE if new else Reason.RESUME_RATE))
        endpoint.passed_on.append(kind)
        return (Reply(endpoint.circuit, m.INTRODUCE2, body), _answer(circuit, m.OK))

    def _count_visit(self, circuit: CircuitHandle, body: bytes) -> None:
        digest = sha3_256(body)
        visit = self._visits.get(circuit)
        if visit is None:
            self._visits[circuit] = _Visit(digest, 1)
            return
        if visit.tries >= TRIES_MOST:
            raise ProtocolError(Reason.INTRODUCE_TOO_MANY)
        if visit.digest != digest:
            raise ProtocolError(Reason.INTRODUCE_DIFFERENT)
        visit.tries += 1


def _limits(params: Params) -> dict[int, tuple[int, int]]:
    """By kind: rate and burst for one auth key."""
    return {
        m.INTRODUCE_NEW: (params.introduce_rate, params.introduce_burst),
        m.INTRODUCE_RESUME: (params.resume_rate, params.resume_burst),
    }


def _answer(circuit: CircuitHandle, status: int) -> Reply:
    return Reply(circuit, m.INTRODUCE_ACK, bytes((status,)))
