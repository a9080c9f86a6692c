"""What strangers, relays, copies and wrong clocks do to sessions (SPEC 12), and what holds. Whole networks in
virtual time."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import count

import pytest
import trio
from trio.testing import MockClock

from onionshh import geometry as g
from onionshh import testing
from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.hosting import DATABASE_FILE, MIGRATIONS
from onionshh.client.node import Node
from onionshh.core.delivery.record import new_whisper
from onionshh.core.roles import CircuitHandle, Reply, Role, RoleAction
from onionshh.core.session import table as session_table
from onionshh.core.session.resumption import Resumption, SpentStep
from onionshh.core.session.session import Session
from onionshh.ids import AuthKey, RelayId
from onionshh.net.database import Database
from onionshh.net.store import run_inline
from onionshh.reasons import Reason
from onionshh.rendezvous.introducer import Introducer
from onionshh.testing import RunningRelay
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry
from tests.client.dying import copy_of, put_back
from tests.client.hostile import Replaceable, by_id, junk
from tests.client.recorded import Seen, noting, refuse
from tests.client.world import PATIENCE_SECONDS, QUIET, Stranger, WrongClock, hosted, joined, small, until
from tests.inside import behind, inside, parts, sending_of
from tests.rendezvous.circuits import Circuit

IDLE_SECONDS = 65.0


class Program:
    """An endpoint's program: it counts what it handled, and answers in capital letters."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self.handled: Counter[bytes] = Counter()

    async def run(self) -> None:
        async for whisper in self._endpoint:
            await whisper.reply(whisper.body.upper())
            self.handled[whisper.body] += 1


class World:
    """A network with one endpoint that answers, and a visitor."""

    def __init__(
        self, net: testing.Network, host: Node, endpoint: Endpoint, visitor: Node, contact: Contact
    ) -> None:
        self.net = net
        self.host = host
        self.endpoint = endpoint
        self.visitor = visitor
        self.contact = contact
        self.program = Program(endpoint)

    @property
    def session(self) -> Session:
        """The visitor's side."""
        sessions = behind(self.contact).sessions
        assert sessions is not None
        assert sessions.current is not None
        return sessions.current

    @property
    def entries(self) -> tuple[IntroducerEntry, ...]:
        return parts(self.endpoint).introducers.entries

    def introducers(self) -> list[RunningRelay]:
        """The relays that are the endpoint's introducers."""
        return [by_id(self.net, entry.relay_id.hex()) for entry in self.entries]


@asynccontextmanager
async def world(*, name: str | None = None, **params: int) -> AsyncIterator[World]:
    """They have talked once, and no circuit is left."""
    async with (
        small(7, **QUIET, **params) as net,
        hosted(net) as (host, endpoint),
        net.join("visitor") as visitor,
        visitor.contact(endpoint.address, name=name) as contact,
        trio.open_nursery() as nursery,
    ):
        w = World(net, host, endpoint, visitor, contact)
        nursery.start_soon(w.program.run)
        await asks(contact, b"hello")
        await trio.sleep(IDLE_SECONDS)
        yield w
        nursery.cancel_scope.cancel()


async def asks(contact: Contact, body: bytes, seconds: float = PATIENCE_SECONDS) -> bool:
    """A whisper arrives and is answered. Returns whether a session went on for it."""
    with trio.fail_after(seconds):
        receipt = contact.send(body, ttl_seconds=600)
        assert await receipt.reply() == body.upper()
    return receipt.resumed


# Tags.


class Hand:
    """The visitor's part of a session by hand: it holds to no rule."""

    def __init__(self, w: World, session: Session) -> None:
        self._context = inside(w.visitor)
        self._stranger = Stranger(w.visitor, w.endpoint.address)
        self._entry = w.entries[0]
        self._session = session

    def cell(self, body: bytes, *, point: RelayId | None = None, step: bytes | None = None) -> bytes:
        """A RESUME with a whisper. It spends the next step, unless one is given."""
        record = new_whisper(
            body,
            expires=self._context.clock.wall() + 600,
            privacy_class=1,
            random_bytes=self._context.chance.bytes,
        ).encode()
        spent = SpentStep(step or self._session.spend().step, self._context.chance.bytes(g.RESUME_SALT))  # type: ignore[arg-type]
        points = () if point is None else (point,)
        return spent.seal(AuthKey(self._entry.auth_key), Resumption(1, points, record))

    async def send(self, cell: bytes) -> None:
        assert await self._stranger.send(self._entry, cell) == m.OK
        await trio.sleep(1)


async def test_tags_that_come_again_late_or_from_nowhere(autojump_clock: MockClock) -> None:
    async with world() as w:
        hand = Hand(w, w.session)

        def unknown() -> int:
            return w.host.drops().get(Reason.RESUME_UNKNOWN, 0)

        cells = [hand.cell(b"cell %d" % number) for number in range(4)]
        before = unknown()
        for number in (2, 0, 3, 1):  # skipped, and late
            await hand.send(cells[number])
        assert {body: n for body, n in w.program.handled.items() if body.startswith(b"cell")} == {
            b"cell %d" % number: 1 for number in range(4)
        }
        for cell in cells:  # replayed
            await hand.send(cell)
        assert unknown() == before + 4
        far = [w.session.spend().step for _ in range(40)]
        await hand.send(hand.cell(b"too far", step=far[35]))
        foreign = Session.started(b"f" * 32, introduced=True, period=1, wall=1)
        await hand.send(hand.cell(b"foreign", step=foreign.spend().step))
        await hand.send(hand.cell(b"made up", step=b"s" * 32))
        assert unknown() == before + 7
        await hand.send(hand.cell(b"the last of the window", step=far[31]))
        await hand.send(hand.cell(b"now it is near", step=far[35]))
        assert w.program.handled[b"the last of the window"] == w.program.handled[b"now it is near"] == 1
        assert not {b"too far", b"foreign", b"made up"} & set(w.program.handled)
        assert set(w.program.handled.values()) == {1}
        assert parts(w.endpoint).introducers.complete


async def test_a_cell_that_was_changed_on_the_way_burns_no_tag(autojump_clock: MockClock) -> None:
    async with world() as w:
        hand = Hand(w, w.session)
        cell = hand.cell(b"whole")
        await hand.send(cell[:-1] + bytes((cell[-1] ^ 1,)))
        assert w.host.drops()[Reason.RESUME_OPEN] == 1
        assert b"whole" not in w.program.handled
        await hand.send(cell)
        assert w.program.handled[b"whole"] == 1


# Introducers.


@pytest.mark.parametrize("how", ["silent", "busy", "no such key", "ends"])
async def test_introducers_that_pass_no_resumption_on(how: str, autojump_clock: MockClock) -> None:
    """One of them is gone round. If all are so, the visitor introduces itself anew."""
    answer = {"busy": m.BUSY, "no such key": m.NO_SUCH_KEY}.get(how)
    async with world() as w:
        first, *others = w.introducers()
        roles = [refuse(first, answer=answer, ends=how == "ends")]
        for number in range(3):
            assert await asks(w.contact, b"one of them %d" % number, 40)
            await trio.sleep(IDLE_SECONDS)
        roles += [refuse(other, answer=answer, ends=how == "ends") for other in others]
        began = trio.current_time()
        assert not await asks(w.contact, b"all of them")
        assert trio.current_time() - began < 75
        await trio.sleep(IDLE_SECONDS)
        assert len(w.endpoint.peers()) == 2  # the old session is not known to be over
        assert set(w.program.handled.values()) == {1}
        assert all(role.refused for role in roles)
        assert w.session.session_id.hex() == w.endpoint.peers()[0].id


class Flooded:
    """An introducer that strangers flood. `kind`: of the junk; `rate`: a second."""

    accepts = Introducer.accepts

    def __init__(self, honest: Role, keys: list[bytes], *, resume: bool, rate: int) -> None:
        self._honest = honest
        self._keys = keys
        self._resume = resume
        self._rate = rate
        self._ticked: float | None = None
        self._numbers: Iterator[int] = count()

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        return (*self._flood(now, wall), *self._honest.handle(circuit, message_type, body, now, wall))

    def circuit_ready(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_ready(circuit, now)

    def circuit_closed(self, circuit: CircuitHandle, now: float) -> tuple[RoleAction, ...]:
        return self._honest.circuit_closed(circuit, now)

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        return (*self._flood(now, wall), *self._honest.tick(now, wall))

    def _flood(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        since = now if self._ticked is None else self._ticked
        self._ticked = now
        actions: list[RoleAction] = []
        for _ in range(min(200, int((now - since) * self._rate) + 1)):
            for key in self._keys:
                number = next(self._numbers)
                stranger = Circuit(number)
                if self._resume:
                    tag = number.to_bytes(16, "big")
                    body = m.Resume(key, tag, bytes(12), bytes(g.RESUME_SEALED)).encode()
                else:
                    body = junk(key, number)
                actions += [
                    action
                    for action in self._honest.handle(stranger, m.INTRODUCE1, body, now, wall)
                    if isinstance(action, Reply) and action.circuit is not stranger
                ]
                self._honest.circuit_closed(stranger, now)
        return tuple(actions)


def flood(w: World, *, resume: bool, rate: int) -> None:
    """Every introducer of the endpoint is flooded from now on."""
    for running, entry in zip(w.introducers(), w.entries, strict=True):
        (place,) = (one for one in running.roles if one.accepts == Introducer.accepts)
        assert isinstance(place, Replaceable)
        place.put(Flooded(place.role, [entry.auth_key], resume=resume, rate=rate))


LIMITS = dict(resume_rate=4, resume_burst=4, introduce_rate=4, introduce_burst=4)
"""Small, so that a flood costs little."""


async def test_a_flood_of_resumptions_starves_no_introduction(autojump_clock: MockClock) -> None:
    async with world(name=None, **LIMITS) as w:
        flood(w, resume=True, rate=12)
        for number in range(3):
            async with w.visitor.contact(w.endpoint.address) as stranger:
                assert not await asks(stranger, b"new %d" % number, 30)
            await trio.sleep(20)
        await asks(w.contact, b"known")  # it gets through, or falls back
        assert parts(w.endpoint).introducers.complete
        assert w.host.drops()[Reason.RESUME_UNKNOWN] > 20
        assert set(w.program.handled.values()) == {1}


async def test_a_flood_of_introductions_starves_no_session(autojump_clock: MockClock) -> None:
    async with world(name=None, **LIMITS) as w:
        flood(w, resume=False, rate=12)
        for number in range(3):
            assert await asks(w.contact, b"known %d" % number, 30)
            await trio.sleep(IDLE_SECONDS)


# Budgets.


async def test_a_peer_that_resumes_a_hundred_times_gets_eight_circuits(autojump_clock: MockClock) -> None:
    async with world() as w:
        seen, hand = noting(w.net), Hand(w, w.session)
        point = w.net.relays[0].relay.keys.relay_id
        cells = [hand.cell(b"of a hundred %d" % number, point=point) for number in range(100)]
        stranger = Stranger(w.visitor, w.endpoint.address)
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            for cell in cells:
                nursery.start_soon(stranger.send, w.entries[0], cell)
                await trio.sleep(0.01)
        assert trio.current_time() - started < 10
        await trio.sleep(2)
        answers = {body for body in seen.met if len(body) > g.COOKIE}
        assert len(answers) <= 8 + 2
        assert w.host.drops()[Reason.RESUME_BUDGET] >= 85
        assert sum(body.startswith(b"of a") for body in w.program.handled) >= 85  # the records are taken
        async with w.visitor.contact(w.endpoint.address) as other:
            assert not await asks(other, b"another", 20)


async def test_the_session_that_goes_is_the_one_used_longest_ago(autojump_clock: MockClock) -> None:
    """1 024 sessions: the next one displaces the oldest that the program neither kept nor answered."""
    async with world() as w:
        keeper = parts(w.endpoint).peers.keeper
        clock = inside(w.host).clock
        made = []
        for number in range(session_table.SESSIONS_MOST - 1):
            session = Session.started(
                number.to_bytes(32, "big"), introduced=False, period=20_000, wall=clock.best()
            )
            keeper.begun(session)
            session.history.used_at -= 1000 - number
            session.marks.answered = number < 5
            session.marks.kept = 5 <= number < 10
            made.append(session)
            keeper.first_written((session,))
        assert len(keeper) == session_table.SESSIONS_MOST
        async with w.visitor.contact(w.endpoint.address) as other:
            await asks(other, b"one more")
        assert len(keeper) == session_table.SESSIONS_MOST
        assert [n for n, session in enumerate(made) if keeper.get(session.session_id) is None] == [10]
        assert await asks(w.contact, b"still known")


# Both at once, and copies.


async def test_both_sides_go_on_at_once_again_and_again(autojump_clock: MockClock) -> None:
    async with (
        small(7, **QUIET) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as visitor,
        visitor.contact(endpoint.address, way_back=True) as contact,
        trio.open_nursery() as nursery,
    ):
        heard: Counter[bytes] = Counter()

        async def read(holder: Endpoint | Contact) -> None:
            async for whisper in holder:
                await whisper.done()
                heard[whisper.body] += 1

        nursery.start_soon(read, endpoint)
        nursery.start_soon(read, contact)
        with trio.fail_after(PATIENCE_SECONDS):
            await contact.whisper(b"hello")
        ways = behind(contact).ways
        assert ways is not None
        await until(lambda: ways.call_us)
        (peer,) = endpoint.peers()
        for number in range(6):
            await trio.sleep(100)
            size = 10 if number % 2 else 1000  # one cell, or a circuit
            said = [contact.send(b"v%d" % number + bytes(size)), peer.send(b"e%d" % number + bytes(size))]
            with trio.fail_after(PATIENCE_SECONDS):
                for receipt in said:
                    assert (await receipt.final()).status == "delivered"
        assert len(heard) == 13
        assert set(heard.values()) == {1}
        assert endpoint.peers() == [peer]
        nursery.cancel_scope.cancel()


async def test_two_hosts_with_one_identity(autojump_clock: MockClock) -> None:
    """To each other they are an unknown tag. Whoever answers, each whisper is answered once."""
    async with small(7, **QUIET) as net, hosted(net) as (_, endpoint), trio.open_nursery() as nursery:

        async def run(body: bytes) -> bool:
            async with net.join("visitor") as visitor, visitor.contact(endpoint.address, name="n") as contact:
                return await asks(contact, body)

        first = Program(endpoint)
        nursery.start_soon(first.run)
        assert not await run(b"one")
        assert await run(b"two")
        async with hosted(net, "second") as (_, other):  # its descriptor is the newer one
            second = Program(other)
            nursery.start_soon(second.run)
            assert not await run(b"three")
            assert await run(b"four")
        await trio.sleep(900)
        assert not await run(b"five")
        assert await run(b"six")
        assert first.handled == Counter((b"one", b"two", b"five", b"six"))
        assert second.handled == Counter((b"three", b"four"))
        nursery.cancel_scope.cancel()


def pairs(seen: Seen) -> list[tuple[bytes, bytes]]:
    """Tag and salt of each RESUME: from both comes its key."""
    return [(message.tag, message.salt) for message in seen.resumed]


async def test_a_contact_folder_on_two_nodes(autojump_clock: MockClock) -> None:
    """The copy is some exchanges behind: it is refused, and introduces itself anew. No key comes twice."""
    async with world(name="n") as w:
        seen = noting(w.net)
        folder = w.net.folder / "visitor" / "contacts"
        kept = copy_of(folder)
        for number in range(3):
            assert await asks(w.contact, b"first %d" % number)
            await trio.sleep(IDLE_SECONDS)
        there = w.net.folder / "copy" / "contacts"
        put_back(there, {there / path.relative_to(folder): data for path, data in kept.items()})
        async with w.net.join("copy") as node, node.contact(w.endpoint.address, name="n") as copy:
            assert not await asks(copy, b"copy")
            await trio.sleep(IDLE_SECONDS)
            assert await asks(copy, b"copy again")
            assert await asks(w.contact, b"second")
        assert len(set(pairs(seen))) == len(pairs(seen)) > len({tag for tag, _ in pairs(seen)})
        assert set(w.program.handled.values()) == {1}


async def test_a_visitor_restored_from_an_old_copy(autojump_clock: MockClock) -> None:
    """Its tags were used: two silences, and it introduces itself anew."""
    async with (
        small(7, **QUIET) as net,
        hosted(net) as (_, endpoint),
        net.join("visitor") as visitor,
        trio.open_nursery() as nursery,
    ):
        program, seen = Program(endpoint), noting(net)
        nursery.start_soon(program.run)
        folder = net.folder / "visitor" / "contacts"
        async with visitor.contact(endpoint.address, name="n") as contact:
            await asks(contact, b"hello")
        old = copy_of(folder)
        async with visitor.contact(endpoint.address, name="n") as contact:
            for number in range(3):
                assert await asks(contact, b"later %d" % number)
                await trio.sleep(IDLE_SECONDS)
        put_back(folder, old)
        async with visitor.contact(endpoint.address, name="n") as contact:
            began = trio.current_time()
            assert not await asks(contact, b"restored")
            assert trio.current_time() - began < 60
            await trio.sleep(IDLE_SECONDS)
            assert await asks(contact, b"and again")
        assert len(set(pairs(seen))) == len(pairs(seen)) > len({tag for tag, _ in pairs(seen)})
        assert len({bytes(body) for body in seen.met}) == len(seen.met)
        assert set(program.handled.values()) == {1}
        nursery.cancel_scope.cancel()


async def test_an_endpoint_restored_from_an_old_copy_and_both_restarted(autojump_clock: MockClock) -> None:
    async with small(7, **QUIET) as net, net.join("visitor") as visitor, net.join("host") as host:
        seen, folder = noting(net), net.folder / "host" / "endpoints"

        async def once(*bodies: bytes) -> list[bool]:
            async with host.host(net.folder / "identity", introducers=2) as endpoint:
                with trio.fail_after(PATIENCE_SECONDS):
                    await endpoint.reachable()
                program = Program(endpoint)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(program.run)
                    resumed = []
                    async with visitor.contact(endpoint.address, name="n") as contact:
                        for body in bodies:
                            resumed.append(await asks(contact, body))
                            await trio.sleep(IDLE_SECONDS)
                    nursery.cancel_scope.cancel()
                assert set(program.handled.values()) == {1}
                return resumed

        assert await once(b"first", b"second") == [False, True]
        assert await once(b"both were restarted") == [True]
        old = copy_of(folder)
        assert await once(*(b"later %d" % number for number in range(3))) == [True] * 3
        put_back(folder, old)
        # It jumps over the tags that it has forgotten.
        assert await once(b"restored") == [True]
        assert len(set(pairs(seen))) == len(pairs(seen))
        assert len({bytes(body) for body in seen.met}) == len(seen.met)


async def test_a_contact_used_once_in_each_run_keeps_its_session(autojump_clock: MockClock) -> None:
    """What was answered in one run does not count as unanswered in the next: else the 17th would introduce
    itself anew."""
    async with small(7, **QUIET) as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Program(endpoint).run)
            resumed = []
            for number in range(20):
                async with visitor.contact(endpoint.address, name="n") as contact:
                    resumed.append(await asks(contact, b"run %d" % number))
                await trio.sleep(20)
            assert resumed == [False] + 19 * [True]
            nursery.cancel_scope.cancel()


# Clocks.

DAY = 86_400


@pytest.mark.parametrize("shift", [DAY, -DAY])
@pytest.mark.parametrize("whose", ["endpoint", "visitor"])
async def test_a_clock_that_steps_by_a_day_ends_no_session(
    whose: str, shift: int, autojump_clock: MockClock
) -> None:
    async with small(7, **QUIET) as net:
        clocks = {"endpoint": WrongClock(net), "visitor": WrongClock(net)}
        async with (
            joined(net, "host", clocks["endpoint"]) as host,
            host.host(net.folder / "identity", introducers=2) as endpoint,
            joined(net, "visitor", clocks["visitor"]) as visitor,
            visitor.contact(endpoint.address, name="n") as contact,
            trio.open_nursery() as nursery,
        ):
            with trio.fail_after(PATIENCE_SECONDS):
                await endpoint.reachable()
            program = Program(endpoint)
            nursery.start_soon(program.run)
            await asks(contact, b"before")
            for step in (shift, 0):
                clocks[whose].shift = step
                await trio.sleep(100)
                assert await asks(contact, b"after %d" % step)
                parts(endpoint).peers.keeper.tidy()
                await trio.sleep(100)
            assert len(endpoint.peers()) == 1
            assert set(program.handled.values()) == {1}
            nursery.cancel_scope.cancel()


async def test_a_data_folder_of_the_first_format_goes_on(autojump_clock: MockClock) -> None:
    """A whisper that it holds is shown, one that it knows is not delivered again, and sessions begin."""
    async with small(7, **QUIET) as net, net.join("visitor") as visitor, net.join("host") as host:
        async with host.host(net.folder / "identity", introducers=2) as endpoint:
            address = endpoint.address
        (file,) = (net.folder / "host" / "endpoints").rglob(DATABASE_FILE)
        for path in file.parent.glob(DATABASE_FILE + "*"):
            path.unlink()
        expires = net.clock.wall() + 3600
        known = new_whisper(b"known", expires=expires, privacy_class=1, random_bytes=testing.seeded(9))
        first = Database(file, MIGRATIONS[:1], run_inline)
        await first.transaction(
            lambda connection: connection.execute(
                "INSERT INTO inbox (id, body, received_at, expires, class) VALUES (?, ?, ?, ?, ?)",
                (b"i" * 16, b"held", 1.0, expires, 1),
            )
        )
        await first.transaction(
            lambda connection: connection.executemany(
                "INSERT INTO seen VALUES (?, ?)", [(b"i" * 16, expires), (known.whisper_id, expires)]
            )
        )
        first.close()
        async with (
            hosted(net) as (_, endpoint),
            visitor.contact(address, name="n") as contact,
            trio.open_nursery() as nursery,
        ):
            program = Program(endpoint)
            nursery.start_soon(program.run)
            await asks(contact, b"hello")
            receipt = sending_of(contact).submit(known, trio.current_time() + 600)
            assert (await receipt.final()).status == "delivered"
            await trio.sleep(IDLE_SECONDS)
            assert await asks(contact, b"again")
            assert program.handled == Counter((b"held", b"hello", b"again"))
            nursery.cancel_scope.cancel()
