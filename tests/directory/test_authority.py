"""An authority at work, in virtual time: relays come, go and are told why; a crash changes nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.params import Params
from onionshh.core.trust import open_consensus_untrusted
from onionshh.directory import authority as module
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.checks import PROBES_AT_ONCE
from onionshh.directory.consensus import RANDOM_KEPT_MOST
from onionshh.directory.history import Total, total
from onionshh.directory.places import NOT_OVER_TOR
from onionshh.directory.registry import Verdict
from onionshh.directory.store import AuthorityStore
from onionshh.errors import BadData, ProtocolError
from onionshh.net.clocks import Clock
from onionshh.net.store import run_inline
from onionshh.wire import consensus as wire
from onionshh.wire.consensus import Consensus
from onionshh.wire.descriptor import Address
from tests.directory.world import NETWORK, WALL, Prober, descriptor, one_machine, signed, store_in
from tests.net.test_clocks import Jumping
from tests.seeded import seeded


@asynccontextmanager
async def running(
    path: Path,
    prober: Prober,
    *,
    params: Params | None = None,
    wall: int = WALL,
    seed: int = 1,
    clock: Clock | None = None,
    store: Callable[[Path], AuthorityStore] = store_in,
) -> AsyncIterator[DirectoryAuthority]:
    """An authority that has published its first consensus; ended hard when the block ends."""
    authority = DirectoryAuthority(
        store(path),
        params=params or one_machine(),
        clock=clock or Clock(wall),
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


def submit(authority: DirectoryAuthority, *numbers: int, published: int = WALL) -> None:
    for number in numbers:
        answer = authority.submit_untrusted(local(number, published), "127.0.0.1")
        assert answer.verdict is Verdict.ACCEPTED


def current(authority: DirectoryAuthority) -> Consensus:
    """What a client would accept right now."""
    consensus = open_consensus_untrusted(authority.document, network=NETWORK, wall=authority.clock.wall())
    assert consensus == authority.consensus
    return consensus


def names(authority: DirectoryAuthority) -> list[str]:
    return sorted(row.nickname for row in current(authority).relays)


def values(consensus: Consensus) -> dict[int, bytes]:
    return {row.period: row.value for row in consensus.shared_random}


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


async def test_a_relay_of_both_families_is_in_the_next_list_with_both(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """It publishes over one of them. The other is asked after the round, before the list is made."""
    four, six = descriptor(1).addresses[0], Address.of("2600::1", 9001)
    prober = Prober()
    async with running(tmp_path, prober, params=Params()) as authority:
        answer = authority.submit_untrusted(signed(1, addresses=(four, six)), four.host)
        assert answer.verdict is Verdict.ACCEPTED
        await trio.sleep(60)
        assert prober.asked == {str(four): 1}
        await trio.sleep(3600)
        assert [row.addresses for row in current(authority).relays] == [(four, six)]
        assert prober.asked == {str(four): 1, str(six): 1}


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


async def test_the_last_day_survives_a_restart_and_shows_the_time_in_between(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with running(tmp_path, Prober()) as authority:
        submit(authority, 1, 2)
        await trio.sleep(601)
        before = authority.history
        assert total(before) == Total(121, 0, 0)
        assert (before[-1].relays, before[-1].bandwidth) == (2, 4_000_000)
    async with running(tmp_path, Prober(), wall=WALL + 654, seed=2) as authority:
        assert len(authority.history) == len(before)
        assert total(authority.history) == Total(122, 1, 9)
        await trio.sleep(30)
        assert total(authority.history).late == 1


async def test_a_disk_that_refuses_shows_as_consensuses_that_did_not_come(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    plain = store_in(tmp_path)
    disk = FullDisk(plain.folder, plain.key, plain.network)
    async with running(tmp_path, Prober(), store=lambda path: disk) as authority:
        await trio.sleep(12)
        disk.full = True
        await trio.sleep(20)
        disk.full = False
        await trio.sleep(10)
        assert total(authority.history).missed == 4


async def test_a_relay_for_which_the_list_has_no_room_is_told_so(
    autojump_clock: MockClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wire, "CONSENSUS_RELAYS_MOST", 2)
    monkeypatch.setattr(module, "CONSENSUS_RELAYS_MOST", 2)
    async with running(tmp_path, Prober()) as authority:
        submit(authority, 1, 2)
        await trio.sleep(6)
        submit(authority, 3)
        await trio.sleep(6)
        assert names(authority) == ["relay1", "relay2"]
        assert "the list is full" in authority.status(descriptor(3).identity).why
        assert [entry.newest.nickname for entry in authority.unlisted()] == ["relay3"]


async def test_a_refusal_is_remembered_until_a_descriptor_is_taken(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    identity = descriptor(1).identity
    async with running(tmp_path, Prober()) as authority:
        authority.submit_untrusted(local(1, WALL + 3600), "127.0.0.1")
        told = authority.told(identity)
        assert (told["status"], told["known"]) == ("unknown", False)
        assert "ahead of the directory's" in str(told["refused"])
        submit(authority, 1)
        assert authority.told(identity)["refused"] is None
        authority.submit_untrusted(local(1, WALL - 1), "127.0.0.1")
        assert "is known, this one says" in str(authority.told(identity)["refused"])
        await trio.sleep(6)
        assert authority.told(identity)["refused"] is None, "it is listed: that says enough"


async def test_a_clock_set_back_a_little_never_makes_an_older_consensus(
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


DAY = 86_400


@pytest.mark.parametrize("ahead", [700, DAY, 30_000 * DAY])
@pytest.mark.parametrize("crash", ["", "state", "consensus"])
async def test_a_clock_that_ran_ahead_is_not_gone_on_from(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture, ahead: int, crash: str
) -> None:
    """Seven seconds; it is stopped, or falls over between its two files, and starts with the right time."""
    async with running(tmp_path, Prober()) as authority:
        submit(authority, 1, 2)
        await trio.sleep(6)
        before = current(authority)
    async with running(tmp_path, Prober(), wall=WALL + 10 + ahead, seed=2) as authority:
        answer = authority.submit_untrusted(local(3, WALL + 10 + ahead), "127.0.0.1")
        assert answer.verdict is Verdict.ACCEPTED
        await trio.sleep(7)
        assert names(authority) == ["relay1", "relay2", "relay3"]
    if crash:
        (tmp_path / crash).unlink()
    caplog.clear()
    async with running(tmp_path, Prober(), wall=WALL + 20, seed=3) as authority:
        after = current(authority)
        assert after.valid_after == WALL + 20
        assert after.valid_after > before.valid_after
        lines = [record.message for record in caplog.records]
        assert len([line for line in lines if "was dated" in line]) == 1
        assert all(row.first_seen <= after.valid_after for row in after.relays)
        if crash != "state":
            ages = {row.nickname: row.first_seen for row in after.relays}
            assert ages == {"relay1": WALL, "relay2": WALL, "relay3": WALL + 20}
            assert values(before).items() <= values(after).items()
            assert all(row.published <= after.valid_after for row in after.shared_random)
        # What the relay said in the future does not make its next word a stale one.
        submit(authority, 3, published=WALL + 20)
        await trio.sleep(6)
        assert current(authority).valid_after == WALL + 25
        assert authority.told(descriptor(3).identity)["published"] == WALL + 20
        await trio.sleep(700)
        assert len([r for r in caplog.records if "was dated" in r.message]) == 1
        if ahead > 720 and crash != "state":
            assert len([r for r in caplog.records if "were brought back" in r.message]) == 1
        assert authority.registry.first_of_the_future(authority.clock.wall()) == 0
        submit(authority, 1, 2, 3, published=WALL + 720)
        assert authority.status(descriptor(3).identity).word == "listed"


@pytest.mark.parametrize("jump", [-7200, 7200, -DAY, DAY, 365 * DAY, -WALL])
async def test_a_clock_that_jumps_for_eight_seconds_is_not_followed(
    autojump_clock: MockClock, tmp_path: Path, jump: int
) -> None:
    clock = Jumping(WALL)
    async with running(tmp_path, Prober(), clock=clock) as authority:
        submit(authority, 1, 2)
        await trio.sleep(6)
        before = current(authority)
        for _ in range(10):
            clock.ahead = jump
            submit(authority, 3, published=WALL + int(trio.current_time()))  # by a right clock
            for _ in range(8):
                await trio.sleep(1)
                assert authority.consensus is not None
                assert abs(authority.consensus.valid_after - trio.current_time() - WALL) <= 6
            clock.ahead = 0
            await trio.sleep(60)
        after = current(authority)
        assert names(authority) == ["relay1", "relay2", "relay3"]
        assert after.shared_random == before.shared_random
        assert {row.first_seen for row in after.relays if row.nickname != "relay3"} == {WALL}


@pytest.mark.parametrize("start", [0, WALL - 40 * 60, WALL - 3 * DAY, WALL + 3 * DAY])
async def test_a_machine_that_keeps_no_time_while_it_is_off_loses_nothing(
    autojump_clock: MockClock, tmp_path: Path, start: int
) -> None:
    """It starts with some time, and a few minutes later somebody tells it the right one."""
    params = one_machine(seen_gap_seconds=600)
    async with running(tmp_path, Prober(), params=params) as authority:
        submit(authority, 1, 2)
        await trio.sleep(6)
        before = current(authority)
    began, clock = trio.current_time(), Jumping(WALL + 100)
    clock.ahead = start - WALL - 100
    prober = Prober()
    async with running(tmp_path, prober, params=params, clock=clock, seed=2) as authority:
        prober.dead[address(2)] = "away"
        await trio.sleep(100)
        prober.dead.clear()
        await trio.sleep(100)
        clock.ahead = 0
        await trio.sleep(25)
        after = current(authority)
        assert abs(after.valid_after - WALL - 100 - (trio.current_time() - began)) <= 5
        assert {row.nickname: row.first_seen for row in after.relays}["relay1"] == WALL
        assert names(authority) == ["relay1", "relay2"]
        assert values(before).items() <= values(after).items()
        submit(authority, 1, published=WALL + 300)
    async with running(tmp_path, Prober(), params=params, wall=WALL + 1000, seed=3) as authority:
        await trio.sleep(700)
        assert values(before).items() <= values(current(authority)).items()
        assert {row.first_seen for row in current(authority).relays if row.nickname == "relay1"} == {WALL}


async def test_random_values_stay_whatever_clocks_do(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Days ahead and days back, restarts in between: no period's value is ever replaced by another."""
    seen: dict[int, bytes] = {}
    for seed, days in enumerate((0, 2, 0, -1, 1, 0, 2, -1, 0, 0.6, 0)):
        async with running(tmp_path, Prober(), wall=WALL + int(days * DAY), seed=seed) as authority:
            for row in current(authority).shared_random:
                assert seen.setdefault(row.period, row.value) == row.value
        assert len(store_in(tmp_path).load_state().shared_random) <= RANDOM_KEPT_MOST
    assert len(seen) >= 5


# What relays say of the time.


async def test_the_directory_is_told_that_its_clock_is_the_odd_one(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Jumping(WALL)
    async with running(tmp_path, Prober(), clock=clock) as authority:
        submit(authority, 1, 2, 3, 4)
        await trio.sleep(6)
        assert authority.clock_doubt == ""
        clock.ahead = 7200
        await trio.sleep(30)
        assert "about 2 hours ahead of that of 4 of the 4 relays heard lately" in authority.clock_doubt
        assert authority.statistics().clock_doubted
        assert "relays say" not in authority.why_not_well()  # strangers do not make it unwell
        clock.ahead = -DAY
        await trio.sleep(30)
        answer = authority.submit_untrusted(local(5, WALL + 66), "127.0.0.1")
        assert answer.verdict is Verdict.FORBIDDEN
        assert "behind that of 5 of the 5 relays" in answer.why
        assert answer.why.count(" UTC") == 4  # theirs and ours, twice
        clock.ahead = 0
        await trio.sleep(30)
        assert authority.clock_doubt == ""
        assert not authority.statistics().clock_doubted
    lines = [r.message for r in caplog.records if "relays" in r.message and "clock" in r.message]
    assert len(lines) == 2
    assert "agree with this directory's clock again" in lines[1]


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
        super().__init__(store.folder, store.key, store.network)
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
        assert tuple(reversed(disk.load_state().shared_random)) == current(authority).shared_random


async def test_a_full_disk_stops_new_consensuses_and_says_so(
    autojump_clock: MockClock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    plain = store_in(tmp_path)
    disk = FullDisk(plain.folder, plain.key, plain.network)
    async with running(tmp_path, Prober(), store=lambda path: disk) as authority:
        before = authority.document
        disk.full = True
        assert (authority.why_not_well(), authority.statistics().healthy) == ("", True)
        await trio.sleep(11)
        assert authority.document == before
        assert "No space left" in caplog.text
        assert authority.why_not_well() == "No new consensus could be made in time."
        assert not authority.statistics().healthy
        disk.full = False
        await trio.sleep(5)
        assert current(authority).valid_after == WALL + 15
        assert authority.why_not_well() == ""
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


@pytest.mark.parametrize("over_tor", [False, True])
async def test_a_relay_that_only_tor_reaches_is_listed_by_a_directory_over_tor(
    autojump_clock: MockClock, tmp_path: Path, over_tor: bool
) -> None:
    service = Address.of("a2" * 28 + ".onion", 9001)
    async with running(tmp_path, Prober(reaches_onions=over_tor, slower_seconds=50.0)) as authority:
        answer = authority.submit_untrusted(signed(1, addresses=(service,)), "127.0.0.1")
        assert answer.why == ("" if over_tor else NOT_OVER_TOR)
        await trio.sleep(20)
        assert authority.consensus is not None
        assert [row.addresses for row in authority.consensus.relays] == ([(service,)] if over_tor else [])


async def test_checks_keep_to_parameters_that_were_changed(autojump_clock: MockClock, tmp_path: Path) -> None:
    prober = Prober()
    async with running(tmp_path, prober) as authority:
        authority.submit_untrusted(signed(1), "127.0.0.1")
        await trio.sleep(20)
        assert prober.params == authority.params
        slower = authority.params.with_overrides({"handshake_seconds": 9})
        authority.change(slower)
        await trio.sleep(2 * slower.interval_seconds)
        assert prober.params == slower


async def test_a_listed_relay_is_told_where_it_did_not_answer(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    addresses = (Address.of("127.0.0.1", 9001), Address.of("::1", 9001))
    async with running(tmp_path, Prober(dead={"[::1]:9001": "no route"})) as authority:
        authority.submit_untrusted(signed(1, addresses=addresses), "127.0.0.1")
        await trio.sleep(20)
        assert authority.consensus is not None
        assert [row.addresses for row in authority.consensus.relays] == [addresses[:1]]
        assert authority.status(descriptor(1).identity) == ("listed", "no route")
        assert authority.told(descriptor(1).identity)["places"] == [
            {"address": "127.0.0.1:9001", "answered": True, "why": ""},
            {"address": "[::1]:9001", "answered": False, "why": "no route"},
        ]
    async with running(tmp_path, Prober()) as again:
        known, _ = again.known_of(descriptor(1).identity)
        assert known is not None
        assert known.missed == {addresses[1]: "no route"}
