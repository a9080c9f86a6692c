"""A relay makes itself known, and puts right what the network holds of it when that is not what it said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from trio.testing import MockClock

from onionshh import __version__
from onionshh.config import Authority as Named
from onionshh.core.base.chance import Chance
from onionshh.directory.authority import DirectoryAuthority
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectoryUnreachable
from onionshh.net.clocks import Clock
from onionshh.net.consensus_keeper import ConsensusKeeper
from onionshh.net.store import DataDirectory, run_inline
from onionshh.relay.keys import RelayKeys
from onionshh.relay.publish import CORRECT_SECONDS, SOFTWARE, About, Publisher
from onionshh.testing import LocalSource
from onionshh.wire.descriptor import CAPABILITY_RING, IPV4, SOFTWARE_MOST, Address
from tests.directory.world import NETWORK, WALL, Prober, one_machine, store_in
from tests.net.test_clocks import Jumping
from tests.seeded import seeded

INTERVAL = 20


class Line:
    """The way to the authority, which may be down or say what a test puts in its mouth."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.down = ""
        self.says: dict[str, object] = {}

    async def consensus(self, authority: Named) -> bytes:
        await self._up()
        return await self._inner().consensus(authority)

    async def publish(self, authority: Named, descriptor: bytes) -> str | None:
        await self._up()
        return await self._inner().publish(authority, descriptor)

    async def status(self, authority: Named, relay: RelayId) -> dict[str, object]:
        await self._up()
        return {**await self._inner().status(authority, relay), **self.says}

    def date(self, authority: Named) -> int | None:
        return self._inner().date(authority)

    def _inner(self) -> LocalSource:
        return LocalSource(self._world.authority, "127.0.0.1")

    async def _up(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.down:
            raise DirectoryUnreachable(f"{self.down} {trio.current_time():.0f}")


class World:
    """An authority, and programs with one relay's keys."""

    def __init__(self, path: Path, clock: Clock, interval: int, nursery: trio.Nursery) -> None:
        self.authority: DirectoryAuthority
        self.prober = Prober()
        self.line = Line(self)
        self.said: list[str] = []
        self.keys: dict[str, RelayKeys] = {}
        self._path = path
        self._clock = clock
        self._interval = interval
        self._nursery = nursery
        self._scope = trio.CancelScope()

    async def start(self, folder: str = "authority") -> None:
        """The authority starts on this folder, in place of the one that ran. A new folder: it forgets all."""
        self._scope.cancel()
        self.authority = authority = DirectoryAuthority(
            store_in(self._path / folder),
            params=one_machine(interval_seconds=self._interval),
            clock=self._clock,
            probe=self.prober,
            random_bytes=seeded(2),
            run_blocking=run_inline,
        )
        self._scope = scope = trio.CancelScope()

        async def run(*, task_status: trio.TaskStatus[None]) -> None:
            with scope:
                await authority.run(task_status=task_status)

        await self._nursery.start(run)

    def relay(
        self, port: int = 9001, *, folder: str = "relay", clock: Clock | None = None, keys: str = "relay"
    ) -> tuple[ConsensusKeeper, Publisher]:
        """A program that runs with the keys of `keys` and says that it is at that port."""
        clock = clock or self._clock
        data = DataDirectory(self._path / folder)
        say = self.said.append if folder == "relay" else lambda line: None
        keeper = ConsensusKeeper(
            network=NETWORK,
            source=self.line,
            clock=clock,
            chance=Chance(seeded(port)),
            folder=data,
            over_circuit=None,
        )
        self.keys[keys] = RelayKeys(DataDirectory(self._path / keys), seeded(len(keys) + port))
        publisher = Publisher(
            about=About("relay", "127.0.0.1", port),
            keys=self.keys[keys],
            network=NETWORK,
            source=self.line,
            keeper=keeper,
            clock=clock,
            chance=Chance(seeded(port)),
            say=say,
        )
        return keeper, publisher

    @asynccontextmanager
    async def running(self, port: int = 9001, *, folder: str = "relay") -> AsyncIterator[Publisher]:
        """Such a program, which answers at its port until the block ends."""
        keeper, publisher = self.relay(port, folder=folder)
        address = f"127.0.0.1:{port}"
        self.prober.dead.pop(address, None)
        await keeper.first()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep)
            nursery.start_soon(publisher.run)
            yield publisher
            nursery.cancel_scope.cancel()
        self.prober.dead[address] = "connection refused"

    @property
    def listed_at(self) -> list[str]:
        assert self.authority.consensus is not None
        return [row.address for row in self.authority.consensus.relays]

    async def until(self, holds: Callable[[], bool], seconds: float) -> None:
        with trio.fail_after(seconds):
            while not holds():
                await trio.sleep(1)


@asynccontextmanager
async def world(path: Path, clock: Clock | None = None, interval: int = INTERVAL) -> AsyncIterator[World]:
    async with trio.open_nursery() as nursery:
        made = World(path, clock or Clock(WALL), interval, nursery)
        await made.start()
        yield made
        nursery.cancel_scope.cancel()


async def test_a_relay_says_once_that_it_is_listed(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.running():
        await trio.sleep(30 * INTERVAL)
        assert w.listed_at == ["127.0.0.1:9001"]
    assert w.said[-1] == "listed"
    assert len(w.said) <= 2


async def test_what_a_relay_says_of_itself(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Its one address and its software; nothing of what is not used yet."""
    async with world(tmp_path) as w, w.running():
        await w.until(lambda: w.listed_at == ["127.0.0.1:9001"], 60)
        known = w.authority.registry.entry(w.keys["relay"].relay_id)
        assert known is not None
        said = known.newest
        assert said.addresses == ((IPV4, "127.0.0.1", 9001),)
        assert said.software == SOFTWARE == f"onionshh {__version__}"
        assert (said.signing, said.paced, said.capabilities) == (b"", (0, 0), CAPABILITY_RING)
        assert w.authority.consensus is not None
        assert [row.software for row in w.authority.consensus.relays] == [SOFTWARE]


def test_the_name_of_the_software_fits() -> None:
    assert len(SOFTWARE) <= SOFTWARE_MOST
    assert SOFTWARE.isascii()


async def test_a_copy_that_ran_for_a_minute_is_put_right_at_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.running():
        await w.until(lambda: w.said[-1:] == ["listed"], 3 * INTERVAL)
        async with w.running(9002, folder="copy"):
            await trio.sleep(60)
            assert "127.0.0.1:9002" in w.listed_at or w.said[-1] != "listed"
        await w.until(lambda: w.listed_at == ["127.0.0.1:9001"] and w.said[-1] == "listed", 400)
        assert any(
            line.startswith("another program runs with this relay's keys at 127.0.0.1:9002;")
            for line in w.said
        )


async def test_a_copy_that_never_answered_is_put_right_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The address that the copy said does not answer, and the relay would be listed no longer."""
    async with world(tmp_path) as w, w.running():
        await w.until(lambda: w.said[-1:] == ["listed"], 3 * INTERVAL)
        async with w.running(9002, folder="copy"):
            w.prober.dead["127.0.0.1:9002"] = "connection refused"
            await trio.sleep(3)
        for _ in range(15 * INTERVAL):
            await trio.sleep(1)
            assert w.listed_at == ["127.0.0.1:9001"]
        assert any("another program" in line for line in w.said)
        assert w.authority.told(w.keys["relay"].relay_id)["address"] == "127.0.0.1:9001"


async def test_two_that_run_at_once_do_not_take_turns_without_end(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """Each gives way to the other for ever longer, and says so."""
    async with world(tmp_path, interval=300) as w, w.running(), w.running(9002, folder="copy"):
        turns = [""]
        for _ in range(24 * 12):
            await trio.sleep(300)
            if w.listed_at != turns[-1:]:
                turns += w.listed_at
        assert 4 <= len(turns) <= 30
        late = [line for line in w.said if "another program" in line]
        assert 3 <= len(late) <= 15
        assert "the next time not before" in late[-1]


async def test_the_key_or_the_date_tells_a_copy_at_the_same_address(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.running():
        await w.until(lambda: w.said[-1:] == ["listed"], 3 * INTERVAL)
        restored = tmp_path / "restored"
        restored.mkdir()
        (restored / "relay-keys").write_bytes((tmp_path / "relay" / "relay-keys").read_bytes())
        RelayKeys(DataDirectory(restored), seeded(8))
        keeper, copy = w.relay(9001, folder="copy", keys="restored")
        w.keys["restored"].rotate(WALL, 1)
        w.keys["restored"].rotate(WALL + 9, 1)
        await keeper.first()
        assert await copy.offer()
        await w.until(lambda: any("at this very address" in line for line in w.said), 6 * INTERVAL)


async def test_a_word_that_is_not_later_is_made_later(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The relay starts anew with its clock some minutes behind what it said before."""
    clock = Jumping(WALL)
    async with world(tmp_path) as w:
        keeper, ahead = w.relay(clock=clock)
        clock.ahead = 500
        await keeper.first()
        assert await ahead.offer()
        clock.ahead = 0
        async with w.running():
            await w.until(lambda: w.said[-1:] == ["listed"], 4 * INTERVAL)
        assert any("refuses: a descriptor published at" in line for line in w.said)
        newest = w.authority.told(w.keys["relay"].relay_id)
        assert newest["published"] == WALL + 501


async def test_nobody_can_have_us_write_a_date_of_the_future(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.running() as publisher:
        await w.until(lambda: w.said[-1:] == ["listed"], 4 * INTERVAL)
        for published in (WALL + 10**6, 2**62, -5, "now", None, True, 1.5, [3]):
            w.line.says = {"published": published, "address": "x" * 10_000, "why": 7}
            w.prober.dead["127.0.0.1:9001"] = "away"
            await trio.sleep(4 * INTERVAL)
        assert publisher.published < WALL + 10_000
        assert all(len(line) < 1000 for line in w.said)


async def test_while_the_directory_is_down_what_is_true_is_said_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as w, w.running() as publisher:
        await w.until(lambda: w.said[-1:] == ["listed"], 3 * INTERVAL)
        said = len(w.said)
        w.line.down = "connection refused"
        for _ in range(20):
            publisher.now.send()
            await trio.sleep(60)
        assert len(w.said) == said + 1
        assert "does not answer (connection refused" in w.said[said]
        assert "the consensus it has lists this relay until" in w.said[said]
        await trio.sleep(3600)
        assert w.said[said + 1 :] == [
            "not listed: the consensus it has is over, and no newer one could be had"
        ]
        w.line.down = ""
        await trio.sleep(600)
        assert sorted(w.said[said + 2 :]) == ["http://127.0.0.1:7000 answers again", "listed"]


async def test_a_directory_that_forgot_us_is_told_again(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with world(tmp_path) as w, w.running():
        await w.until(lambda: w.said[-1:] == ["listed"], 3 * INTERVAL)
        await w.start("another")
        await w.until(lambda: w.listed_at == [], 3 * INTERVAL)
        await w.until(lambda: w.listed_at == ["127.0.0.1:9001"], 3 * INTERVAL + CORRECT_SECONDS)
        assert (
            f"not listed: {NETWORK.authorities[0].url} knows nothing of this relay; this one publishes again"
            in w.said
        )


async def test_a_relay_whose_clock_differs_testifies_now_and_then(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """A directory that starts with a wrong clock hears of it, though nobody can take its consensus."""
    clock = Jumping(WALL)
    async with world(tmp_path, Clock(WALL + 86_400)) as w:
        relays = [w.relay(9000 + n, folder=f"r{n}", keys=f"r{n}", clock=clock)[1] for n in range(1, 4)]
        for _ in range(20):
            for relay in relays:
                await relay.testify()
            await trio.sleep(10)
        assert "about 24 hours ahead of that of 3 of the 3 relays" in w.authority.clock_doubt


async def test_relays_that_run_testify_too(autojump_clock: MockClock, tmp_path: Path) -> None:
    """The directory starts anew with its clock a day ahead, and remembers no word of theirs."""
    ours, theirs = Jumping(WALL), Jumping(WALL)
    async with world(tmp_path, theirs) as w, trio.open_nursery() as nursery:
        for number in range(1, 4):
            keeper, relay = w.relay(9000 + number, folder=f"r{number}", keys=f"own{number}", clock=ours)
            await keeper.first()
            nursery.start_soon(keeper.keep)
            nursery.start_soon(relay.run)
        await w.until(lambda: len(w.listed_at) == 3, 4 * INTERVAL)
        theirs.ahead = 86_400
        await w.start()
        await w.until(lambda: "ahead of that of 3 of the 3" in w.authority.clock_doubt, 200)
        theirs.ahead = 0
        await w.until(lambda: not w.authority.clock_doubt, 200)
        await trio.sleep(200)
        assert len(w.listed_at) == 3
        nursery.cancel_scope.cancel()


def test_what_a_relay_with_several_addresses_says() -> None:
    service, six = Address.of("a2" * 28 + ".onion", 9001), Address.of("2001:db8::1", 9001)
    about = About("relay", "192.0.2.1", 9001, more=(service, six))
    assert about.addresses == (Address.of("192.0.2.1", 9001), six, service)
    assert About("relay", service.host, service.port).addresses == (service,)


async def test_a_relay_says_where_the_directory_did_not_reach_it(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with world(tmp_path) as w:
        w.prober.dead["[::1]:9001"] = "no route"
        keeper, publisher = w.relay()
        publisher.about = About("relay", "127.0.0.1", 9001, more=(Address.of("::1", 9001),))
        await keeper.first()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.keep)
            nursery.start_soon(publisher.run)
            await trio.sleep(10 * INTERVAL)
            assert w.said[-1] == "listed at 127.0.0.1:9001; the directory has not reached it at [::1]:9001"
            w.prober.dead.clear()
            await trio.sleep(10 * INTERVAL)
            assert w.said[-1] == "listed"
            nursery.cancel_scope.cancel()
