"""The introducer: passes introductions on to an endpoint that it knows only by one key (SPEC 11).

An endpoint proves on its circuit that it holds an auth key. The proof is a signature over this circuit's
binding and this relay's identity, so it works nowhere else. A visitor names that key. The introducer passes
the visitor's INTRODUCE1 on unread and answers with a status. It does not learn who either of them is, since
both come over circuits.

INTRODUCE1 has two kinds: a new introduction, and the resumption of a session (SPEC 12). An endpoint that
does not keep up is protected: while 16 introductions or 64 resumptions wait, and above the rate of that kind
for its key, the answer is `busy` and the visitor tries another introducer. Each kind has its own bound and
its own rate, so a flood of one kind refuses no visitor of the other kind.

Once a minute an endpoint hears how many introductions were turned away. It may then want a proof of work for
each (INTRO_PROOF, SPEC 15). Those that have it wait in `toll_gate.py` until there is room; the others are
turned away. Resumptions need none.

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
from onionshh.rendezvous.spent import Spent
from onionshh.rendezvous.toll_gate import TollGate, Waiting
from onionshh.wire import messages as m

WAITING_MOST: Final[Mapping[int, int]] = MappingProxyType({m.INTRODUCE_NEW: 16, m.INTRODUCE_RESUME: 64})
"""By kind: messages that may wait for one endpoint."""
TRIES_MOST: Final = 2
"""INTRODUCE1 messages that a circuit may carry: one, and the same bytes once more."""
GATES_MOST: Final = 1024
"""Introductions that wait at the gates of all endpoints, 3 MB. Beyond that the longest loses its last."""
LOAD_SECONDS: Final = 60.0
PROOF_SECONDS, PROOF_BURST = 10.0, 16
"""An endpoint may change what it wants so often."""
_COUNT_MOST: Final = 0xFFFFFFFF


@dataclass(slots=True)
class _Load:
    """What an endpoint is to hear about those who were turned away. `next_at`: monotonic seconds."""

    turned_away: int = 0
    paid: int = 0
    next_at: float = 0.0

    def say(self, now: float) -> m.IntroLoad | None:
        """What to say now; None for nothing."""
        if not self.turned_away or now < self.next_at:
            return None
        said = m.IntroLoad(min(self.turned_away, _COUNT_MOST), min(self.paid, _COUNT_MOST))
        self.turned_away = self.paid = 0
        self.next_at = now + LOAD_SECONDS
        return said


@dataclass(slots=True)
class _Endpoint:
    """Where introductions for one auth key go. The buckets, by kind, outlive a change of circuits."""

    circuit: CircuitHandle
    buckets: Mapping[int, TokenBucket]
    rank: Rank
    """The youngest key has the lowest. A change of circuits does not change the age."""
    gate: TollGate
    passed_on: deque[int] = field(default_factory=deque)
    """The kinds of the last messages that went to this circuit, in their order."""
    load: _Load = field(default_factory=_Load)
    changes: TokenBucket = field(default_factory=lambda: TokenBucket(1 / PROOF_SECONDS, PROOF_BURST))

    def waiting(self, kind: int) -> int:
        """How many of this kind wait. The circuit counts all kinds together; what was first leaves first.

        What the relay itself says on the circuit, such as an echo, may wait among them. Then a few that have
        left count as waiting, always of their own kind.
        """
        while len(self.passed_on) > self.circuit.waiting_messages:
            self.passed_on.popleft()
        return self.passed_on.count(kind)

    def moves(self, circuit: CircuitHandle) -> None:
        """Another circuit takes over. What waits for the old one is lost with it. What the endpoint wants it
        says again."""
        self.circuit = circuit
        self.passed_on.clear()
        self.gate.opens()


@dataclass(slots=True)
class _Visit:
    """What a visitor's circuit has sent: a hash of its one introduction, and how often."""

    digest: bytes
    tries: int
    waits_for: _Endpoint | None = None
    """At whose gate it waits."""


class Introducer:
    """The Role of an introducer. `own_id` is this relay's identity, `params` gives those in force."""

    accepts: Final = frozenset((m.ESTABLISH_INTRO, m.INTRODUCE1, m.INTRO_PROOF))

    def __init__(self, own_id: RelayId, params: Callable[[], Params]) -> None:
        self._own_id = own_id
        self._params = params
        self._endpoints: dict[AuthKey, _Endpoint] = {}
        self._key_of: dict[CircuitHandle, AuthKey] = {}
        self._visits: dict[CircuitHandle, _Visit] = {}
        self._shares: Shares[AuthKey] = Shares()
        self._numbered = 0
        self._crowded: dict[AuthKey, _Endpoint] = {}
        """Those at whose gates somebody waits."""
        self._spent = Spent()

    @property
    def established(self) -> int:
        """Keys that are established."""
        return len(self._endpoints)

    @property
    def circuits(self) -> int:
        """Circuits for which anything is kept, of endpoints and of visitors."""
        return len(self._key_of) + len(self._visits)

    @property
    def proofs_spent(self) -> int:
        """Proofs of introductions that were let through, and whose seeds are not over."""
        return len(self._spent)

    def statistics(self) -> Mapping[str, int]:
        """Keys that are established, and introductions that wait at gates."""
        waiting = sum(len(endpoint.gate) for endpoint in self._crowded.values())
        return {"introduction_keys": self.established, "introductions_waiting": waiting}

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """ESTABLISH_INTRO, INTRO_PROOF or INTRODUCE1. Raises ProtocolError: the circuit ends."""
        if circuit.joined:
            raise ProtocolError(Reason.MESSAGE_ON_JOINED_CIRCUIT)
        if message_type == m.ESTABLISH_INTRO:
            return self._establish(circuit, m.EstablishIntro.decode_untrusted(body))
        if message_type == m.INTRODUCE1:
            return self._introduce(circuit, m.introduced_untrusted(body), body, now, wall)
        if message_type == m.INTRO_PROOF:
            return self._want(circuit, m.IntroProof.decode_untrusted(body), now, wall)
        raise ProtocolError(Reason.MESSAGE_TYPE)

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """An endpoint has taken what waited for it: there is room for those at the gate."""
        endpoint = self._endpoint_on(circuit)
        return () if endpoint is None else self._pass_on(endpoint, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        """Forget the key that this circuit established, unless another has taken it over; or this visitor."""
        visit = self._visits.pop(circuit, None)
        if visit is not None and visit.waits_for is not None:
            visit.waits_for.gate.leave(circuit)
        key = self._key_of.pop(circuit, None)
        if key is None:
            return ()
        return self._forget(key)

    @property
    def is_due_soon(self) -> bool:
        """Whether an introduction waits at a gate."""
        return bool(self._crowded)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        """Let in those at the gates for whom there is room, turn away those that waited too long, and tell
        endpoints of their load. A key lives as long as its circuit."""
        actions: list[RoleAction] = []
        for endpoint in tuple(self._crowded.values()):
            actions += self._pass_on(endpoint, now)
            for late in endpoint.gate.late(now):
                actions += self._outbid(endpoint, late)
        self._crowded = {key: endpoint for key, endpoint in self._crowded.items() if endpoint.gate}
        for endpoint in self._endpoints.values():
            actions += _load(endpoint, now)
        self._spent.tick(wall)
        return tuple(actions)

    def _endpoint_on(self, circuit: CircuitHandle) -> _Endpoint | None:
        key = self._key_of.get(circuit)
        return None if key is None else self._endpoints[key]

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
            self._endpoints[key] = _Endpoint(circuit, buckets, rank, TollGate(key, self._spent))
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
            displaced += self._forget(gone)
        return displaced

    def _forget(self, key: AuthKey) -> tuple[RoleAction, ...]:
        """Forget a key. Those who wait for it are told."""
        self._shares.remove(key)
        self._crowded.pop(key, None)
        waiting = self._endpoints.pop(key).gate.empty()
        for one in waiting:
            self._answered(one.circuit)
        return tuple(_answer(one.circuit, m.NO_SUCH_KEY) for one in waiting)

    def _want(
        self, circuit: CircuitHandle, proof: m.IntroProof, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        """An endpoint wants other proofs from now on."""
        endpoint = self._endpoint_on(circuit)
        if endpoint is None or not endpoint.changes.take(now):
            raise ProtocolError(Reason.INTRO_PROOF_RATE)
        endpoint.gate.wants(proof, wall)
        return self._pass_on(endpoint, now) if not proof.effort else ()

    def _introduce(
        self, circuit: CircuitHandle, message: m.Introduce | m.Resume, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        if circuit in self._key_of:
            raise ProtocolError(Reason.INTRO_SECOND_USE)
        visit = self._count_visit(circuit, body)
        endpoint = self._endpoints.get(AuthKey(message.auth_key))
        if endpoint is None or endpoint.circuit.joined:
            return (_answer(circuit, m.NO_SUCH_KEY), Drop(Reason.INTRODUCE_NO_SUCH_KEY))
        if isinstance(message, m.Introduce) and not endpoint.gate.is_open(wall):
            return self._to_gate(circuit, visit, endpoint, message, now, wall)
        new = isinstance(message, m.Introduce)
        kind = m.INTRODUCE_NEW if new else m.INTRODUCE_RESUME
        if new and endpoint.gate:  # the endpoint wants no proof any more, and those who paid go first
            passed = self._pass_on(endpoint, now)
            if endpoint.gate:
                return (*passed, *self._busy(circuit, endpoint, Reason.INTRODUCE_BUSY, new=True))
            return (*passed, *self._introduce_now(circuit, endpoint, kind, body, now))
        return self._introduce_now(circuit, endpoint, kind, body, now)

    def _introduce_now(
        self, circuit: CircuitHandle, endpoint: _Endpoint, kind: int, body: bytes, now: float
    ) -> tuple[RoleAction, ...]:
        """Pass it on, if there is room now."""
        new = kind == m.INTRODUCE_NEW
        if endpoint.waiting(kind) >= WAITING_MOST[kind]:
            return self._busy(
                circuit, endpoint, Reason.INTRODUCE_BUSY if new else Reason.RESUME_BUSY, new=new
            )
        if not self._take(endpoint, kind, now):
            return self._busy(
                circuit, endpoint, Reason.INTRODUCE_RATE if new else Reason.RESUME_RATE, new=new
            )
        endpoint.passed_on.append(kind)
        return (Reply(endpoint.circuit, m.INTRODUCE2, body), _answer(circuit, m.OK))

    def _to_gate(
        self,
        circuit: CircuitHandle,
        visit: _Visit,
        endpoint: _Endpoint,
        message: m.Introduce,
        now: float,
        wall: int,
    ) -> tuple[RoleAction, ...]:
        """A visitor for an endpoint that wants proofs."""
        if visit.waits_for is not None:
            return ()  # the same bytes once more: their answer is still to come
        effort = endpoint.gate.has_paid(message, wall)
        if not effort:
            return self._busy(circuit, endpoint, Reason.INTRODUCE_UNPAID, new=True)
        visit.waits_for = endpoint
        self._crowded[AuthKey(message.auth_key)] = endpoint
        pushed_out = endpoint.gate.add(circuit, message, effort, now)
        actions = () if pushed_out is None else self._outbid(endpoint, pushed_out)
        if sum(len(other.gate) for other in self._crowded.values()) > GATES_MOST:
            longest = max(self._crowded.values(), key=lambda other: len(other.gate))
            actions = (*actions, *self._outbid(longest, longest.gate.least(), Reason.INTRODUCE_GATES_FULL))
        return (*actions, *self._pass_on(endpoint, now))

    def _pass_on(self, endpoint: _Endpoint, now: float) -> tuple[RoleAction, ...]:
        """Let in those at the gate for whom there is room."""
        actions: list[RoleAction] = []
        kind, passed = m.INTRODUCE_NEW, 0
        waiting = endpoint.waiting(kind) if endpoint.gate else 0
        while endpoint.gate and waiting + passed < WAITING_MOST[kind] and self._take(endpoint, kind, now):
            first = endpoint.gate.next()
            self._answered(first.circuit)
            actions += [Reply(endpoint.circuit, m.INTRODUCE2, first.body), _answer(first.circuit, m.OK)]
            passed += 1
        endpoint.passed_on.extend([kind] * passed)
        return tuple(actions)

    def _take(self, endpoint: _Endpoint, kind: int, now: float) -> bool:
        bucket = endpoint.buckets[kind]
        bucket.rate, bucket.burst = _limits(self._params())[kind]
        return bucket.take(now)

    def _outbid(
        self, endpoint: _Endpoint, gone: Waiting, why: Reason = Reason.INTRODUCE_OUTBID
    ) -> tuple[RoleAction, ...]:
        """One that has paid is turned away all the same."""
        self._answered(gone.circuit)
        endpoint.load.paid += 1
        return self._busy(gone.circuit, endpoint, why, new=True)

    def _answered(self, circuit: CircuitHandle) -> None:
        visit = self._visits.get(circuit)
        if visit is not None:
            visit.waits_for = None

    def _busy(
        self, circuit: CircuitHandle, endpoint: _Endpoint, why: Reason, *, new: bool
    ) -> tuple[RoleAction, ...]:
        endpoint.load.turned_away += new
        return (_answer(circuit, m.BUSY), Drop(why))

    def _count_visit(self, circuit: CircuitHandle, body: bytes) -> _Visit:
        digest = sha3_256(body)
        visit = self._visits.get(circuit)
        if visit is None:
            visit = self._visits[circuit] = _Visit(digest, 1)
            return visit
        if visit.tries >= TRIES_MOST:
            raise ProtocolError(Reason.INTRODUCE_TOO_MANY)
        if visit.digest != digest:
            raise ProtocolError(Reason.INTRODUCE_DIFFERENT)
        visit.tries += 1
        return visit


def _limits(params: Params) -> dict[int, tuple[int, int]]:
    """By kind: rate and burst for one auth key."""
    return {
        m.INTRODUCE_NEW: (params.introduce_rate, params.introduce_burst),
        m.INTRODUCE_RESUME: (params.resume_rate, params.resume_burst),
    }


def _load(endpoint: _Endpoint, now: float) -> tuple[Reply, ...]:
    """What an endpoint is to hear of its load now."""
    said = endpoint.load.say(now)
    return () if said is None else (Reply(endpoint.circuit, m.INTRO_LOAD, said.encode()),)


def _answer(circuit: CircuitHandle, status: int) -> Reply:
    return Reply(circuit, m.INTRODUCE_ACK, bytes((status,)))
