"""A relay with a limit: it hibernates, is not listed, keeps what it holds, and wakes in the next month."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.core.base.chance import Chance
from onionshh.errors import BadData
from onionshh.net.clocks import Clock
from onionshh.net.store import DataDirectory
from onionshh.reasons import Reason
from onionshh.relay.accounting import ACCOUNTING_FILE, Accounting, Monthly
from onionshh.relay.allowance import Kept, Stage
from onionshh.relay.publish import About
from onionshh.relay.serve import Relay
from tests.seeded import seeded

JANUARY = 1_893_456_000
START = JANUARY + 9 * 86_400
"""10 January 2030, UTC."""
FEBRUARY = JANUARY + 31 * 86_400
ALL_MONTH = Kept(JANUARY, FEBRUARY, 0, JANUARY)
"""A month that needs all its days for its bytes, so that the relay wakes when the next one begins."""
HOST = "10.9.0.1"
MOST = 10_000_000
SLOW = {"interval_seconds": 3600, "valid_seconds": 3 * 3600, "onion_key_seconds": 28 * 86_400}


class Operator:
    """A relay with a limit, and what it said."""

    def __init__(self, net: testing.Network, clock: Clock | None = None, most: int = MOST) -> None:
        self.said: list[str] = []
        self.folder = net.folder / "mine"
        assert net.memory is not None
        listener = net.memory.listen(HOST)
        self.relay = Relay(
            network=net.file,
            source=net.source(HOST),
            dialer=net.dialer(HOST),
            listeners=(listener,),
            folder=DataDirectory(self.folder),
            about=About("mine", *listener.address),
            clock=clock or net.clock,
            chance=Chance(seeded(1)),
            mount=lambda mounting: (),
            say=self.said.append,
            monthly=Monthly(most),
        )

    def listed(self, net: testing.Network) -> bool:
        consensus = net.authority.consensus
        return consensus is not None and any(
            row.identity == self.relay.keys.relay_id for row in consensus.relays
        )


async def until(true: object, seconds: float = 86_400, step: float = 60) -> None:
    assert callable(true)
    with trio.fail_after(seconds):
        while not true():
            await trio.sleep(step)


class Rests:
    """Notes how it was told that the relay stands."""

    def __init__(self) -> None:
        self.stages: list[Stage] = []

    def set_stage(self, stage: Stage) -> None:
        self.stages.append(stage)


async def test_it_hibernates_and_wakes_by_itself(autojump_clock: MockClock) -> None:
    async with (
        testing.network(3, params=SLOW, wall_start=FEBRUARY - 8 * 3600, seed=1) as net,
        trio.open_nursery() as nursery,
    ):
        DataDirectory(net.folder / "mine").write(ACCOUNTING_FILE, ALL_MONTH.encode())
        mine = Operator(net)
        relay = mine.relay
        await nursery.start(lambda task_status: relay.run(task_status=task_status))
        await until(lambda: relay.statistics().listed)
        assert mine.listed(net)
        row = next(row for row in net.authority.consensus.relays if row.nickname == "mine")  # type: ignore[union-attr]
        client = net.relays[0].relay.links
        await client.to(row)
        await until(lambda: relay.accounting.stage is Stage.AWAKE and relay.links.open_links, 60, 1)

        relay.links.moved.bytes += MOST
        await until(lambda: relay.accounting.stage is Stage.ASLEEP, 120, 1)
        assert relay.links.open_links == 0
        assert relay.switch.control.creates.closed is Reason.HIBERNATING
        assert relay.why_not_well().startswith("This relay hibernates: ")
        assert any("it hibernates, and wakes at 2030-02-" in line for line in mine.said)
        assert relay.statistics().monthly.hibernating
        await until(lambda: not mine.listed(net))
        assert not relay.statistics().listed

        await until(lambda: net.clock.wall() >= FEBRUARY)
        await until(lambda: relay.accounting.stage is Stage.AWAKE)
        assert "it is awake again, with the bytes of this month" in mine.said
        assert relay.statistics().monthly.used_bytes < MOST // 10
        await until(lambda: mine.listed(net) and relay.statistics().listed)
        assert (mine.folder / ACCOUNTING_FILE).stat().st_mode & 0o777 == 0o600
        nursery.cancel_scope.cancel()


async def accounted(folder: Path, clock: Clock, total: int, most: int = MOST) -> tuple[list[str], Rests]:
    """What one run says and does when so many bytes have passed."""
    said: list[str] = []
    rests = Rests()
    accounting = Accounting(Monthly(most), DataDirectory(folder), clock, Chance(seeded(1)), said.append)
    with trio.move_on_after(90):
        await accounting.run(lambda: total, rests)
    return said, rests


async def test_restarts_forget_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    clock = Clock(START)
    clock.confirm(START)
    for share, words in ((74, ""), (2, "75 %"), (15, "90 %"), (8, "hibernates"), (0, "still hibernates")):
        said, rests = await accounted(tmp_path, clock, MOST * share // 100)
        assert words in " ".join(said)
        assert bool(said) == bool(words)
    assert rests.stages == [Stage.ASLEEP]


async def test_one_wrong_clock_gives_nothing(autojump_clock: MockClock, tmp_path: Path) -> None:
    """Neither the machine's nor the network's alone begins a month."""
    right = Clock(START)
    right.confirm(START)
    await accounted(tmp_path, right, MOST)
    for ours, theirs in ((START + 40 * 86_400, START), (START, START + 40 * 86_400)):
        clock = Clock(ours)
        clock.confirm(theirs)
        said, rests = await accounted(tmp_path, clock, 0)
        assert "still hibernates" in said[0]
        assert rests.stages == [Stage.ASLEEP]
    late = Clock(FEBRUARY + 31 * 86_400)
    late.confirm(FEBRUARY + 31 * 86_400)
    _, rests = await accounted(tmp_path, late, 0)
    assert rests.stages == [Stage.ASLEEP, Stage.AWAKE]


async def test_without_a_limit_nothing_is_counted(autojump_clock: MockClock, tmp_path: Path) -> None:
    accounting = Accounting(None, DataDirectory(tmp_path), Clock(START), Chance(seeded(1)), print)
    await accounting.run(lambda: MOST, Rests())
    assert accounting.stage is Stage.AWAKE
    assert accounting.statistics().most_bytes == 0
    assert accounting.why_not_well() == ""
    assert list(tmp_path.iterdir()) == []


async def test_work_is_done_while_awake_alone(autojump_clock: MockClock, tmp_path: Path) -> None:
    clock = Clock(FEBRUARY - 60)
    clock.confirm(FEBRUARY - 60)
    DataDirectory(tmp_path).write(ACCOUNTING_FILE, ALL_MONTH.encode())
    total, runs, ends = [0], [0], [0]

    async def work() -> None:
        runs[0] += 1
        try:
            await trio.sleep_forever()
        finally:
            ends[0] += 1

    accounting = Accounting(Monthly(MOST), DataDirectory(tmp_path), clock, Chance(seeded(1)), print)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accounting.run, lambda: total[0], Rests())
        nursery.start_soon(accounting.while_awake, work)
        await trio.sleep(10)
        assert (runs[0], ends[0]) == (1, 0)
        total[0] = MOST
        await trio.sleep(5)
        assert (runs[0], ends[0]) == (1, 1)
        await trio.sleep(60)
        assert (runs[0], ends[0]) == (2, 1)
        nursery.cancel_scope.cancel()


def test_a_damaged_file_gives_no_new_month(tmp_path: Path) -> None:
    (tmp_path / ACCOUNTING_FILE).write_bytes(b"junk")
    with pytest.raises(BadData, match="is damaged"):
        Accounting(Monthly(MOST), DataDirectory(tmp_path), Clock(), Chance(seeded(1)), print)


async def test_a_full_disk_is_said_once(
    autojump_clock: MockClock,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(folder: DataDirectory, name: str, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(DataDirectory, "write", full)
    clock = Clock(START)
    clock.confirm(START)
    with caplog.at_level(logging.ERROR):
        await accounted(tmp_path, clock, MOST // 2)
    assert [record.message.count("cannot be written") for record in caplog.records] == [1]


def test_the_folder_s_file_is_what_the_machine_keeps(tmp_path: Path) -> None:
    kept = Kept(START - 9 * 86_400, FEBRUARY, MOST, START, FEBRUARY + 5)
    DataDirectory(tmp_path).write(ACCOUNTING_FILE, kept.encode())
    accounting = Accounting(Monthly(MOST), DataDirectory(tmp_path), Clock(), Chance(seeded(1)), print)
    assert accounting.stage is Stage.ASLEEP
    assert accounting.statistics().used_bytes == MOST
