"""The driver of a relay's switch over real links: what roles keep on disk, whom it dials, what it ends.

Commits take time here, as a slow disk does: seconds of virtual time, or until the test lets them go on.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from onionshh.core.circuit.purpose import Purpose
from onionshh.core.link.port import REFUSALS_HELD_LEAST
from onionshh.geometry import CELL
from onionshh.net.circuits import CircuitFailed
from onionshh.net.store import run_in_thread
from onionshh.reasons import Reason
from onionshh.relay import driver
from onionshh.relay.driver import SwitchDriver
from onionshh.relay.remembering import BATCH_MOST
from simulations.world import ANSWER, ASK
from tests.net.world import World, dial_as_peer
from tests.relay.library import LEND, Library
from tests.relay.notes import READ, Notes, NotesFile
from tests.seeded import seeded

T = TypeVar("T")


class Disk:
    """Runs what blocks once `ready` is set, and counts how often it was asked."""

    def __init__(self) -> None:
        self.ready = trio.Event()
        self.asked = 0

    async def __call__(self, function: Callable[[], T], /) -> T:
        self.asked += 1
        await self.ready.wait()
        return function()


async def test_a_note_is_answered_when_it_is_on_disk_and_the_relay_forwards_meanwhile(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    disk = Disk()
    world = World(run_blocking=disk)
    store = NotesFile(tmp_path / "notes.db")
    keeper, last = world.relay(Notes(store)), world.relay()
    async with world.running(), world.client() as client:
        circuit, through = await client.build(keeper), await client.build(keeper, last)
        circuit.accept(ANSWER)
        through.accept(ANSWER)
        circuit.send(ASK, b"to be kept")
        await wait_all_tasks_blocked()
        assert disk.asked == 1
        before = keeper.switch.cells_forwarded
        for number in range(20):
            through.send(ASK, bytes(2000))
            assert (await through.receive()).body == bytes(2000), number
        assert keeper.switch.cells_forwarded >= before + 200
        with trio.move_on_after(61.7):
            await circuit.receive()
            raise AssertionError("answered before it was on disk")
        assert store.on_disk == []
        disk.ready.set()
        start = trio.current_time()
        assert (await circuit.receive()).body == b"to be kept"
        assert trio.current_time() == start  # it leaves at once, not with somebody's next frame
        assert store.on_disk == [b"to be kept"]


async def test_what_comes_while_the_disk_is_busy_is_committed_together(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    disk = Disk()
    world = World(run_blocking=disk)
    store = NotesFile(tmp_path / "notes.db")
    keeper = world.relay(Notes(store))
    async with world.running(), world.client() as client:
        circuit = await client.build(keeper)
        circuit.accept(ANSWER)
        notes = [b"%d" % number for number in range(BATCH_MOST + 11)]
        circuit.send(ASK, notes[0])
        await wait_all_tasks_blocked()
        for note in notes[1:]:
            circuit.send(ASK, note)
        await wait_all_tasks_blocked()
        disk.ready.set()
        assert [(await circuit.receive()).body for _ in notes] == notes
        assert [len(commit) for commit in store.commits] == [1, BATCH_MOST, 10]
        assert store.on_disk == notes


async def test_a_disk_that_refuses_is_said_once_and_whoever_waited_is_told_nothing_else(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    store = NotesFile(tmp_path / "notes.db")
    keeper = world.relay(Notes(store))
    async with world.running(), world.client() as client:
        store.full = True
        for _ in range(3):
            circuit = await client.build(keeper)
            with pytest.raises(CircuitFailed, match="destroyed"):
                await circuit.ask(ASK, b"lost", ANSWER, 7.0)
        assert keeper.drops.counts[Reason.NOT_KEPT] == 3
        assert len(caplog.records) == 1
        assert "No space left on device" in caplog.text
        store.full = False
        circuit = await client.build(keeper)
        assert await circuit.ask(ASK, b"kept", ANSWER, 7.0) == b"kept"
        assert len(caplog.records) == 2
        assert "can be written again" in caplog.text


async def test_what_a_role_asks_for_at_a_tick_is_committed_though_nothing_is_read(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    world = World()
    store = NotesFile(tmp_path / "notes.db")
    keeper = world.relay(Notes(store))
    async with world.running():
        async with world.client() as client:
            circuit = await client.build(keeper)
            store.full = True
            with pytest.raises(CircuitFailed):
                await circuit.ask(ASK, b"later", ANSWER, 7.0)
        await wait_all_tasks_blocked()
        assert keeper.links.open_links == 0
        store.full = False
        await trio.sleep(10)
        assert store.on_disk == [b"later"]


async def test_one_row_that_cannot_be_kept_loses_no_other_and_is_no_fault_of_the_disk(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    disk = Disk()
    world = World(run_blocking=disk)
    store = NotesFile(tmp_path / "notes.db")
    store.refuses = b"b"
    keeper = world.relay(Notes(store))
    async with world.running(), world.client() as client:
        circuits = [await client.build(keeper) for _ in range(4)]
        for circuit, note in zip(circuits, (b"first", b"a", b"b", b"c"), strict=True):
            circuit.accept(ANSWER)
            circuit.send(ASK, note)
            await wait_all_tasks_blocked()
        disk.ready.set()
        for at, note in ((0, b"first"), (1, b"a"), (3, b"c")):
            assert (await circuits[at].receive()).body == note
        with pytest.raises(CircuitFailed, match="destroyed"):
            await circuits[2].receive()
        assert store.on_disk[:3] == [b"first", b"a", b"c"]
        assert keeper.drops.counts[Reason.NOT_KEPT] == 1
        assert not caplog.records


async def test_a_relay_that_ends_while_the_disk_is_busy_answers_nothing(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    disk = Disk()
    world = World(run_blocking=disk)
    role = Notes(NotesFile(tmp_path / "notes.db"))
    keeper = world.relay(role)
    async with world.running(), world.client() as client:
        circuit = await client.build(keeper)
        circuit.accept(ANSWER)
        circuit.send(ASK, b"too late")
        await wait_all_tasks_blocked()
        world.kill(keeper)
        disk.ready.set()
        with pytest.raises(CircuitFailed):
            await circuit.receive()
        assert role.kept == []
        assert role.pending == 1


async def test_a_circuit_that_closes_while_the_disk_is_busy(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    disk = Disk()
    world = World(run_blocking=disk)
    store = NotesFile(tmp_path / "notes.db")
    keeper = world.relay(Notes(store))
    async with world.running(), world.client() as client:
        circuit = await client.build(keeper)
        circuit.send(ASK, b"of one who left")
        await wait_all_tasks_blocked()
        circuit.close()
        await wait_all_tasks_blocked()
        assert not keeper.switch.circuits
        disk.ready.set()
        await wait_all_tasks_blocked()
        assert store.on_disk == [b"of one who left"]
        assert keeper.drops.counts[Reason.RENDEZVOUS_UNKNOWN_COOKIE] == 1
        assert keeper.memory.used_bytes == 0


async def test_a_role_that_fails_once_its_rows_are_on_disk_does_not_end_the_relay(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Notes):
        def remembered(self, *given: object) -> tuple[()]:
            raise ZeroDivisionError

    world = World()
    keeper = world.relay(Faulty(NotesFile(tmp_path / "notes.db")))
    async with world.running(), world.client() as client:
        circuit = await client.build(keeper)
        circuit.send(ASK, b"x")
        await wait_all_tasks_blocked()
        assert "a fault of this program" in caplog.text
        assert await client.build(keeper)


async def test_a_reader_gets_more_than_a_window_over_real_links(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    world = World()
    role = Notes(NotesFile(tmp_path / "notes.db"))
    role.kept = [bytes((number,)) * 17_000 for number in range(30)]
    keeper = world.relay(role)
    async with world.running(), world.client() as client:
        circuit = await client.build(keeper)
        circuit.accept(ANSWER)
        circuit.send(READ, b"")
        with trio.fail_after(60):
            for note in role.kept:
                assert (await circuit.receive()).body == note


async def test_commits_happen_in_a_thread(tmp_path: Path) -> None:
    """In real time, as in production."""
    world = World(run_blocking=run_in_thread)
    store = NotesFile(tmp_path / "notes.db")
    keeper = world.relay(Notes(store))
    async with world.running(), world.client() as client:
        circuit = await client.build(keeper)
        assert await circuit.ask(ASK, b"note", ANSWER, 30.0) == b"note"
    assert len(store.threads) == 1
    assert threading.get_ident() not in store.threads


async def test_what_a_role_looks_for_is_read_in_a_thread_while_the_relay_forwards(
    autojump_clock: MockClock,
) -> None:
    disk = Disk()
    world = World(run_blocking=disk)
    library = Library()
    keeper, last = world.relay(library), world.relay()
    async with world.running(), world.client() as client:
        circuit, through = await client.build(keeper), await client.build(keeper, last)
        circuit.accept(ANSWER)
        through.accept(ANSWER)
        circuit.send(LEND, bytes((4, 2)))
        await wait_all_tasks_blocked()
        through.send(ASK, b"meanwhile")
        assert (await through.receive()).body == b"meanwhile"
        circuit.send(LEND, bytes((5,)))
        circuit.send(LEND, bytes((6,)))
        await wait_all_tasks_blocked()
        start = trio.current_time()
        disk.ready.set()
        assert [(await circuit.receive()).body for _ in range(3)] == [b"book 4, book 2", b"book 5", b"book 6"]
        assert trio.current_time() == start
        assert library.store.reads == [[4, 2], [5, 6]]


async def test_a_disk_that_cannot_be_read_is_said_once(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    world = World()
    library = Library()
    keeper = world.relay(library)
    async with world.running(), world.client() as client:
        library.store.fails = True
        for _ in range(2):
            circuit = await client.build(keeper)
            with pytest.raises(CircuitFailed):
                await circuit.ask(LEND, b"1", ANSWER, 7.0)
        assert [record.message for record in caplog.records] == [
            "what this relay's roles keep cannot be read: Input/output error"
        ]
        library.store.fails = False
        circuit = await client.build(keeper)
        assert await circuit.ask(LEND, bytes((1,)), ANSWER, 7.0) == b"book 1"
        assert "can be read again" in caplog.text


async def test_a_role_that_fails_with_what_it_looked_for_does_not_end_the_relay(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Faulty(Library):
        def looked(self, *given: object) -> tuple[()]:
            raise ZeroDivisionError

    world = World()
    keeper = world.relay(Faulty())
    async with world.running(), world.client() as client:
        circuit = await client.build(keeper)
        circuit.send(LEND, bytes((1,)))
        await wait_all_tasks_blocked()
        assert "a fault of this program" in caplog.text
        assert await client.build(keeper)


async def test_a_role_with_something_due_is_told_the_time_more_often(autojump_clock: MockClock) -> None:
    world = World()
    library = Library()
    world.relay(library)
    async with world.running():
        await trio.sleep(10.05)
        assert len(library.ticks) == 10
        library.is_due_soon = True
        await trio.sleep(5)
        library.is_due_soon = False
        gaps = [
            later - earlier for earlier, later in zip(library.ticks[10:], library.ticks[11:], strict=False)
        ]
        assert len(gaps) >= 20
        assert max(gaps[1:]) < 0.21
        before = len(library.ticks)
        await trio.sleep(10)
        assert len(library.ticks) <= before + 11
    assert library.closed == 1


async def test_a_silent_relay_takes_not_every_place_of_those_who_wait_for_links(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "LINKS_WANTED_MOST", 20)
    monkeypatch.setattr(driver, "LINK_WANTED_MOST", 10)
    world = World()
    first, other, silent = (world.relay() for _ in range(3))
    async with world.running(), world.client() as stranger, world.client() as honest:
        world.silence(silent)
        port = await stranger.links.to(first.row)

        async def extend() -> None:
            circuit = stranger.circuits.start(port, Purpose.TEST, 1)
            await circuit.add(first.row)
            with pytest.raises(CircuitFailed):
                await circuit.add(silent.row)

        async with trio.open_nursery() as nursery:
            for _ in range(30):
                nursery.start_soon(extend)
            await trio.sleep(1)
            await honest.build(first, other)
        await trio.sleep(30)
        assert first.links.statistics().dialling == 0


async def test_a_fault_after_reading_ends_no_link(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    breaks = False
    after_read = SwitchDriver.after_read

    def then_break(driver: SwitchDriver) -> bool:
        more = after_read(driver)
        if breaks:
            raise ZeroDivisionError
        return more

    monkeypatch.setattr(SwitchDriver, "after_read", then_break)
    world = World()
    relay = world.relay()
    async with world.running(), world.client() as client:
        circuit = await client.build(relay)
        circuit.accept(ANSWER)
        breaks = True
        circuit.send(ASK, b"unharmed")
        assert (await circuit.receive()).body == b"unharmed"
        assert relay.drops.counts[Reason.INTERNAL_FAULT] >= 1
        assert relay.links.open_links == 1


async def test_past_the_quota_a_link_ends_for_what_it_does_not_read(autojump_clock: MockClock) -> None:
    world = World()
    relay = world.relay()
    async with world.running(), world.client() as client:
        circuit = await client.build(relay)
        peer = await dial_as_peer(world.network.dialer("6.6.6.6"), relay)
        await wait_all_tasks_blocked()
        (port,) = [one for one in relay.links.ports() if not one.legs]
        relay.memory.most_bytes = 5 * CELL
        for number in range(REFUSALS_HELD_LEAST + 1):
            port.refuse(number, seeded(number))
        relay.driver.after_read()
        assert relay.links.open_links == 1
        assert relay.drops.counts[Reason.MEMORY] == 1
        assert relay.memory.used_bytes == 0
        assert circuit.failed is None
        peer.stream.close()
