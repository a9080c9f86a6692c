"""An authority at work, in virtual time: relays come, go and are told why; a crash changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.params import Params
from onionshh.core.trust import open_consensus_untrusted
from onionshh.directory.authority import PROBES_AT_ONCE, Authority
from onionshh.directory.registry import Verdict
from onionshh.directory.store import AuthorityStore
from onionshh.errors import BadData, ProtocolError
from onionshh.net.clocks import Clock
from onionshh.net.store import run_inline
from onionshh.wire.consensus import Consensus
from tests.directory.world import NETWORK, WALL, Prober, descriptor, one_machine, signed, store_in
from tests.seeded import seeded


@asynccontextmanager
async def running(
    path: Path,
    prober: Prober,
    *,
    params: Params | None = None,
    wall: int = WALL,
    seed: int = 1,
    store: Callable[[Path], AuthorityStore] = store_in,
) -> AsyncIterator[Authority]:
    """An authority that has published its first consensus; ended hard when the block ends."""
    authority = Authority(
        store(path),
        params=params or one_machine(),
        clock=Clock(wall),
        probe=prober,
        random_bytes=seeded(seed),
        run_blocking=run_inline,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(lambda task_status: authority.run(task_status=task_status))
        yield authority
        nursery.cancel_scope.cancel()


def local(number: int, published: int = WALL) -> bytes:
    return signed(number, host="127.0.0.1", port=9000 + number, published=published)


def address(number: int) -> str:
    return f"127.0.0.1:{9000 + number}"


def submit(authority: Authority, *numbers: int, published: int = WALL) -> None:
    for number in numbers:
        answer = authority.submit_untrusted(local(number, published), "127.0.0.1")
        assert answer.verdict is Verdict.ACCEPTED


def current(authority: Authority) -> Consensus:
    """What a client would accept right now."""
    consensus = open_consensus_untrusted(authority.document, network=NETWORK, wall=authority.clock.wall())
    assert consensus == authority.consensus
    return consensus


def names(authority: Authority) -> list[str]:
    return sorted(row.nickname for row in current(authority).relays)


async def test_an_empty_network_has_a_consensus_at_once_and_every_interval(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with running(tmp_path, Prober()) as authority:
        seen = [current(authority).valid_after]
        await trio.sleep(0.5)
        for _ in range(5):
            await trio.sleep(5)
            seen.append(current(authority).valid_after)
        assert names(authority) == []
    assert seen == [WALL, *(WALL + 5 * i for i in range(1, 6))]


async def test_eight_relays_are_listed_within_one_interval(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with running(tmp_path, Prober()) as authority:
        submit(authority, *range(8))
        assert authority.status(descriptor(1).identity).word == "checking"
        await trio.sleep(1)
        assert authority.status(descriptor(1).identity).word == "reached"
        await trio.sleep(5)
        assert names(authority) == [f"relay{i}" for i in range(8)]
        assert authority.status(descriptor(1).identity) == ("listed", "")


async def test_a_relay_that_is_gone_leaves_and_one_that_never_answered_never_comes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    prober = Prober(dead={address(9): "connection refused"})
    async with running(tmp_path, prober) as authority:
        submit(authority, 1, 2, 3, 9)
        await trio.sleep(6)
        assert names(authority) == ["relay1", "relay2", "relay3"]
        status = authority.status(descriptor(9).identity)
        assert status.word == "failing"
        assert "connection refused" in status.why
        prober.dead[address(2)] = "gone"
        await trio.sleep(5)
        assert authority.status(descriptor(2).identity) == ("listed", "gone")
        await trio.sleep(5)
        assert names(authority) == ["relay1", "relay3"]
        assert authority.status(descriptor(2).identity).word == "failing"
        del prober.dead[address(2)]
        await trio.sleep(10)
        assert names(authority) == ["relay1", "relay2", "relay3"]


async def test_one_check_an_interval_however_often_a_relay_writes(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    prober = Prober()
    async with running(tmp_path, prober) as authority:
        for i in range(50):
            submit(authority, 1, published=WALL + i)
            await trio.sleep(0.1)
        await trio.sleep(45)
    assert 8 <= prober.asked[address(1)] <= 11


async def test_a_relay_that_never_says_a_word_holds_up_nobody(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    prober = Prober(silent={address(9)})
    async with running(tmp_path, prober) as authority:
        submit(authority, 9, 1, 2, 3)
        await trio.sleep(6)
        assert names(authority) == ["relay1", "relay2", "relay3"]
        await trio.sleep(10)
        status = authority.status(descriptor(9).identity)
        assert status.word == "failing"
        assert "no answer within 6 seconds" in status.why
        assert current(authority).valid_after == WALL + 15


async def test_no_more_probes_at_once_than_so_many(autojump_clock: MockClock, tmp_path: Path) -> None:
    prober = Prober()
    async with running(tmp_path, prober) as authority:
        submit(authority, *range(200))
        await trio.sleep(30)
        assert len(names(authority)) == 200
    assert 1 < prober.most_at_once <= PROBES_AT_ONCE


async def test_a_fault_in_the_probe_says_nothing_about_the_relay(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    prober = Prober()
    async with running(tmp_path, prober) as authority:
        submit(authority, 1, 2)
        await trio.sleep(6)
        prober.broken.add(address(1))
        await trio.sleep(30)
        assert names(authority) == ["relay1", "relay2"]
    assert "a check failed inside the directory" in caplog.text


async def test_when_the_authority_itself_is_cut_off_the_list_stays_a_while(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    prober = Prober()
    async with running(tmp_path, prober, params=one_machine(held_rounds=4)) as authority:
        submit(authority, 1, 2, 3)
        await trio.sleep(6)
        prober.dead = {address(i): "unreachable" for i in (1, 2)}
        await trio.sleep(4 * 5)
        assert len(names(authority)) == 3
        await trio.sleep(3 * 5)
        assert names(authority) == ["relay3"]


async def test_a_crash_changes_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    prober = Prober()
    async with running(tmp_path, prober) as authority:
        submit(authority, *range(4))
        await trio.sleep(6)
        before = current(authority)
    prober.asked.clear()
    async with running(tmp_path, prober, wall=WALL + 1000, seed=2) as authority:
        after = current(authority)
        assert not prober.asked
        assert after.relays == before.relays
        assert after.shared_random == before.shared_random
        assert after.valid_after == WALL + 1000
        stale = authority.submit_untrusted(local(1, WALL - 1), "127.0.0.1")
        assert stale.verdict is Verdict.STALE


async def test_a_clock_set_back_never_makes_an_older_consensus(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with running(tmp_path, Prober()) as authority:
        await trio.sleep(11)
        last = current(authority)
    async with running(tmp_path, Prober(), wall=WALL - 300) as authority:
        assert authority.consensus is not None
        assert authority.consensus.valid_after == last.valid_after + 1
        await trio.sleep(6)
        assert authority.consensus.valid_after == last.valid_after + 2


class FullDisk(AuthorityStore):
    """A disk that fills up when told to."""

    full = False

    def save_state(self, data: bytes) -> None:
        if self.full:
            raise OSError(28, "No space left on device")
        super().save_state(data)


class SlowDisk(AuthorityStore):
    """Remembers what was written, in order."""

    def __init__(self, store: AuthorityStore) -> None:
        super().__init__(store._folder, store.key, store.network)
        self.written: list[str] = []

    def save_state(self, data: bytes) -> None:
        self.written.append("state")
        super().save_state(data)

    def save_consensus(self, document: bytes) -> None:
        self.written.append("consensus")
        super().save_consensus(document)


async def test_random_values_are_on_disk_before_anyone_can_see_them(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    disk = SlowDisk(store_in(tmp_path))
    async with running(tmp_path, Prober(), store=lambda path: disk) as authority:
        assert disk.written == ["state", "consensus"]
        assert disk.load_state().shared_random == current(authority).shared_random


async def test_a_full_disk_stops_new_consensuses_and_says_so(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = store_in(tmp_path)
    disk = FullDisk(plain._folder, plain.key, plain.network)
    async with running(tmp_path, Prober(), store=lambda path: disk) as authority:
        before = authority.document
        disk.full = True
        await trio.sleep(11)
        assert authority.document == before
        assert "No space left" in caplog.text
        disk.full = False
        await trio.sleep(5)
        assert current(authority).valid_after == WALL + 15
    disk.full = True
    with pytest.RaisesGroup(pytest.RaisesExc(BadData, match="cannot write")):
        async with running(tmp_path, Prober(), store=lambda path: disk):
            pass


async def test_thirty_hours_turn_every_period(autojump_clock: MockClock, tmp_path: Path) -> None:
    params = Params().with_overrides({"relays_per_ip": 0, "private_address_rule": 0})
    seen: dict[int, bytes] = {}
    async with running(tmp_path, Prober(), params=params) as authority:
        submit(authority, 1, 2)
        await trio.sleep(1)
        for _ in range(30):
            await trio.sleep(3600)
            consensus = current(authority)
            for row in consensus.shared_random:
                assert seen.setdefault(row.period, row.value) == row.value
            assert len(consensus.relays) == 2
            assert consensus.fresh_until == consensus.valid_after + 3600
    assert len(seen) == 3


async def test_bad_input_is_one_error(autojump_clock: MockClock, tmp_path: Path) -> None:
    good = local(1)
    async with running(tmp_path, Prober()) as authority:
        for bad in (b"", b"\xff" * 100, good[:-1], good + b"\x00", bytes(100_000)):
            with pytest.raises(ProtocolError):
                authority.submit_untrusted(bad, "127.0.0.1")
        assert authority.unlisted() == ()
