"""A RESUME is looked up, opened, burned on disk, and only then acted on (SPEC 12)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.delivery.joined import JoinedCircuit
from onionshh.client.node import Node
from onionshh.client.session import accepting
from onionshh.client.session.accepting import Accepting
from onionshh.client.session.keeper import SessionKeeper
from onionshh.core.delivery.record import Record, new_whisper
from onionshh.core.session.resumption import Resumption, SpentStep
from onionshh.core.session.session import LEGS_BURST, Session
from onionshh.geometry import COOKIE
from onionshh.ids import AuthKey, RelayId
from onionshh.reasons import Reason
from onionshh.wire.messages import Resume
from tests.client.recorded import noting
from tests.client.session.pair import Rows, both
from tests.client.world import WALL, small
from tests.inside import inside
from tests.seeded import seeded

KEY = AuthKey(b"k" * 32)


@dataclass
class Server:
    """One that accepts, and its visitor."""

    net: testing.Network
    node: Node
    rows: Rows
    visitor: Session
    served: list[tuple[JoinedCircuit | None, Record | None]] = field(default_factory=list)
    looked: list[bool | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.keeper = SessionKeeper(inside(self.node), self.rows)
        self.accepting = Accepting(inside(self.node), self.keeper, self.serve)
        self._random = seeded(1)

    def serve(self, joined: JoinedCircuit | None, session: Session, record: Record | None) -> None:
        self.served.append((joined, record))

    def resume(self, *points: RelayId, body: bytes = b"", by: Session | None = None) -> Resume:
        """The next cell of the visitor, or of another."""
        record = new_whisper(body, expires=WALL + 999, privacy_class=1, random_bytes=self._random)
        step = SpentStep((by or self.visitor).spend().step, self._random(12))
        return Resume.decode_untrusted(
            step.seal(KEY, Resumption(1, points, record.encode() if body else b""))
        )

    async def take(self, message: Resume) -> None:
        await self.accepting.resumed(message, self.looked.append)

    def dropped(self, reason: Reason) -> int:
        return self.node.drops().get(reason, 0)

    @property
    def bodies(self) -> list[bytes]:
        return [record.body for _, record in self.served if record is not None]


@asynccontextmanager
async def server() -> AsyncIterator[Server]:
    visitor, endpoint = both()
    async with small(5) as net, net.join() as node:
        made = Server(net, node, Rows(endpoint), visitor)
        await made.keeper.load()
        yield made


async def test_a_record_that_comes_alone_is_served_once(autojump_clock: MockClock) -> None:
    async with server() as s:
        cell = s.resume(body=b"hello")
        await s.take(cell)
        await s.take(cell)
        assert s.bodies == [b"hello"]
        assert s.served[0][0] is None
        assert s.looked == [True, None]  # a stranger may have sent it a second time
        assert s.dropped(Reason.RESUME_UNKNOWN) == 1


async def test_a_tag_is_burned_on_disk_or_nothing_happens(autojump_clock: MockClock) -> None:
    async with server() as s:
        s.rows.full = True
        cell = s.resume(body=b"never")
        await s.take(cell)
        assert s.served == []
        s.rows.full = False
        await s.take(cell)  # burned in memory; its whisper comes again under another tag
        assert s.served == []
        await s.take(s.resume(body=b"again"))
        assert s.bodies == [b"again"]
        (document,) = (s.rows.on_disk(session_id) for session_id in s.rows.documents)
        assert document.chains.accept.base == 2


async def test_a_cell_that_was_changed_is_blamed_on_who_brought_it(autojump_clock: MockClock) -> None:
    async with server() as s:
        cell = s.resume(body=b"hello")
        changed = Resume(cell.auth_key, cell.tag, cell.salt, cell.sealed[:-1] + bytes((cell.sealed[-1] ^ 1,)))
        await s.take(changed)
        assert s.looked == [False]
        assert s.dropped(Reason.RESUME_OPEN) == 1
        await s.take(cell)
        assert s.bodies == [b"hello"]


async def test_beyond_the_budget_records_are_taken_and_no_circuit_is_built(
    autojump_clock: MockClock,
) -> None:
    async with server() as s:
        seen, point = noting(s.net), s.net.relays[0].relay.keys.relay_id
        for number in range(LEGS_BURST + 3):
            await s.take(s.resume(point, body=b"%d" % number))
        await trio.sleep(1)
        assert len(s.bodies) == LEGS_BURST + 3
        assert sum(joined is not None for joined, _ in s.served) == LEGS_BURST
        assert len([body for body in seen.met if len(body) > COOKIE]) == LEGS_BURST
        assert s.dropped(Reason.RESUME_BUDGET) == 3


async def test_a_point_that_nobody_knows(autojump_clock: MockClock) -> None:
    async with server() as s:
        await s.take(s.resume(RelayId(b"n" * 32), body=b"hello"))
        assert s.served == []
        assert s.dropped(Reason.RENDEZVOUS_UNKNOWN_RELAY) == 1
        await s.take(s.resume(*(one.relay.keys.relay_id for one in s.net.relays[:3])))
        assert s.dropped(Reason.RESUME_LEGS) == 1  # reserved for a later class


async def test_bytes_in_place_of_a_record(autojump_clock: MockClock) -> None:
    async with server() as s:
        step = SpentStep(s.visitor.spend().step, bytes(12))
        await s.take(Resume.decode_untrusted(step.seal(KEY, Resumption(1, (), b"no record"))))
        assert s.served == []


async def test_a_silent_point_holds_no_places_of_others(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many peers name it, and each has a budget of its own."""
    monkeypatch.setattr(accepting, "AT_ONCE", 4)
    monkeypatch.setattr(accepting, "WAITING_MOST", 4)
    others = [both(number) for number in range(2, 12)]
    async with server() as s, trio.open_nursery() as nursery:
        for _, theirs in others:
            await s.keeper.save(theirs)
        s.accepting = Accepting(inside(s.node), s.keeper, s.serve)
        paths = {relay for circuit in s.node.circuits() for relay in circuit.relays[:2]}
        silent, *rest = [one for one in s.net.relays if one.id not in paths]
        assert s.net.memory is not None
        s.net.memory.hold(silent.host)
        for mine, _ in others:
            nursery.start_soon(s.take, s.resume(silent.relay.keys.relay_id, by=mine))
        await trio.sleep(1)
        assert s.served == []
        began = trio.current_time()
        point = rest[0] if rest else next(one for one in s.net.relays if one is not silent)
        await s.take(s.resume(point.relay.keys.relay_id))
        assert trio.current_time() - began < 12  # the silent relay may also be a hop, once
        assert len(s.served) == 1
        nursery.cancel_scope.cancel()
