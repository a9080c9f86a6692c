"""Where a consensus comes from and which is believed: HTTP once, then circuits, no older one (SPEC 8)."""

from __future__ import annotations

import errno
import os
import threading
from collections import Counter
from collections.abc import Awaitable, Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.patience import until_directory_answers
from onionshh.client.context import Context
from onionshh.config import Authority, NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import default_params
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.paths.path import PathImpossible
from onionshh.core.trust import open_consensus_untrusted
from onionshh.crypto.identity import SigningKey
from onionshh.directory.consensus import build
from onionshh.directory.entry import Listed
from onionshh.directory.signing import sign_consensus
from onionshh.errors import ClockWrong, NetworkUnreachable, NoDirectory
from onionshh.ids import RelayId
from onionshh.net import consensus_keeper
from onionshh.net.authority_client import DirectorySource, DirectoryUnreachable
from onionshh.net.circuits import CircuitFailed
from onionshh.net.clock_witnesses import ListOutOfTime
from onionshh.net.clocks import Clock
from onionshh.net.consensus_files import CONSENSUS_FILE, PREVIOUS_FILE
from onionshh.net.consensus_keeper import ConsensusKeeper, NotThisNetwork
from onionshh.net.guard_file import NoGuardAnswers
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import DataDirectory, Folder
from onionshh.reasons import Reason
from onionshh.wire.consensus import Consensus
from tests.client.world import hosted, small, until
from tests.directory import old
from tests.directory.world import descriptor
from tests.inside import inside
from tests.net.test_clocks import Jumping
from tests.seeded import seeded

WALL = 1_790_000_000 // 3600 * 3600
INTERVAL = 600
VALID = 3600
KEYS = [SigningKey(bytes([number]) * 32) for number in (1, 2, 3)]
STRANGER = SigningKey(bytes([9]) * 32)


def network(authorities: int = 1, threshold: int = 1) -> NetworkFile:
    rows = tuple(Authority(f"http://{n}.invalid", key.public) for n, key in enumerate(KEYS[:authorities]))
    return NetworkFile("test", threshold, rows)


def document(after: int = 0, *, keys: list[SigningKey] | None = None, relays: int = 5) -> bytes:
    """A signed consensus whose valid-after lies so many seconds after WALL."""
    params = default_params(one_machine=True).with_overrides(
        {"interval_seconds": INTERVAL, "valid_seconds": VALID}
    )
    consensus = build(
        [Listed(descriptor(number), WALL) for number in range(1, relays + 1)],
        network="test",
        params=params,
        shared_random=(),
        valid_after=WALL + after,
    )
    return sign_consensus(consensus.encode_body(), KEYS[:1] if keys is None else keys)


OLD = old.consensus(key=KEYS[0])
"""A consensus of version 1, signed and of the same date."""


class Source:
    """A `DirectorySource` that serves what a test puts there: bytes, an error, or what a function says."""

    def __init__(self, served: bytes | None = None) -> None:
        self.served: dict[str, bytes | str | Callable[[], bytes]] = {}
        if served is not None:
            self.served["http://0.invalid"] = served
        self.asked: Counter[str] = Counter()
        self.when: list[float] = []
        self.dates: dict[str, int] = {}

    async def consensus(self, authority: Authority) -> bytes:
        await trio.lowlevel.checkpoint()
        self.asked[authority.url] += 1
        self.when.append(trio.current_time())
        answer = self.served.get(authority.url, "connection refused")
        if isinstance(answer, str):
            raise DirectoryUnreachable(answer)
        return answer if isinstance(answer, bytes) else answer()

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        raise AssertionError("a client publishes nothing")

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        raise AssertionError("a client asks for no status")

    def date(self, authority: Authority) -> int | None:
        return self.dates.get(authority.url)


def keeper(
    folder: Path | Folder,
    source: Source,
    *,
    file: NetworkFile | None = None,
    over_circuit: Callable[[int], Awaitable[bytes]] | None = None,
    wall: int = WALL + 10,
    clock: Clock | None = None,
    seed: int = 1,
) -> ConsensusKeeper:
    return ConsensusKeeper(
        network=file or network(),
        source=source,
        clock=clock or Clock(wall),
        chance=Chance(seeded(seed)),
        folder=DataDirectory(folder) if isinstance(folder, Path) else folder,
        over_circuit=over_circuit,
    )


async def never(valid_after: int) -> bytes:
    raise AssertionError("not over a circuit")


def valid_after(one: ConsensusKeeper) -> int:
    return one.require().consensus.valid_after - WALL


async def test_a_first_start_asks_once_and_the_next_not_at_all(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    source = Source(document())
    first = keeper(tmp_path, source, over_circuit=never)
    assert first.view is None
    with pytest.raises(NoDirectory):
        first.require()
    assert (await first.first()) is first.require()
    assert (await first.first()).consensus.valid_after == WALL
    assert source.asked.total() == 1
    assert (tmp_path / CONSENSUS_FILE).read_bytes() == document() == first.document

    nobody = Source()
    again = keeper(tmp_path, nobody, over_circuit=never, wall=WALL + VALID - 1)
    assert (await again.first()).consensus.valid_after == WALL
    assert nobody.asked.total() == 0


async def test_what_has_expired_on_disk_is_fetched_anew(tmp_path: Path, autojump_clock: MockClock) -> None:
    await keeper(tmp_path, Source(document())).first()
    source = Source(document(VALID))
    late = keeper(tmp_path, source, over_circuit=never, wall=WALL + VALID)
    await late.first()
    assert (valid_after(late), source.asked.total()) == (VALID, 1)
    with pytest.raises(NoDirectory, match=r"No directory answers .*connection refused.*; check that it runs"):
        await keeper(tmp_path, Source(), wall=WALL + 3 * VALID).first()


async def test_one_that_is_too_small_to_ask_over_is_asked_for_again(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """A node that came to a network that was just starting must not stay with what it saw then."""
    await keeper(tmp_path, Source(document(relays=2))).first()
    source = Source(document(20, relays=6))
    later = keeper(tmp_path, source, over_circuit=never, wall=WALL + 30)
    assert len((await later.first()).relays) == 6
    alone = keeper(tmp_path, Source(), wall=WALL + 40)
    assert len((await alone.first()).relays) == 6


@pytest.mark.parametrize(
    "name, data",
    [(file, data) for file in (CONSENSUS_FILE, PREVIOUS_FILE) for data in (b"damaged", OLD)],
    ids=("damaged", "old", "previous damaged", "previous old"),
)
async def test_a_damaged_file_or_one_of_the_version_before_does_no_harm(
    name: str, data: bytes, tmp_path: Path, autojump_clock: MockClock
) -> None:
    await keeper(tmp_path, Source(document())).first()
    (tmp_path / name).write_bytes(data)
    source = Source(document(20))
    again = keeper(tmp_path, source, over_circuit=never, wall=WALL + 30)
    await again.first()
    assert valid_after(again) == (20 if name == CONSENSUS_FILE else 0)


async def test_the_one_before_is_kept_across_a_restart(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Others may still build through relays that we no longer list, and we through theirs."""
    served = [document(relays=6), document(INTERVAL, relays=5)]
    first = keeper(tmp_path, Source(served[0]), over_circuit=lambda held: give(served[1]))
    await first.first()
    gone = max(row.identity for row in first.require().relays if row.nickname == "relay6")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(first.keep)
        await until(lambda: valid_after(first) == INTERVAL, 2 * INTERVAL)
        nursery.cancel_scope.cancel()
    for one in (first, keeper(tmp_path, Source(), wall=WALL + INTERVAL)):
        view = await one.first()
        assert view.relay(gone) is None
        assert view.any_relay(gone) is not None
    assert (tmp_path / PREVIOUS_FILE).read_bytes() == served[0]


async def give(data: bytes) -> bytes:
    await trio.lowlevel.checkpoint()
    return data


async def test_an_older_one_is_refused(tmp_path: Path, autojump_clock: MockClock) -> None:
    """A relay, or whoever holds the directory's line, cannot put us back to relays that are gone."""
    source = Source(document(INTERVAL))
    asked = []

    async def over_circuit(held: int) -> bytes:
        asked.append(held - WALL)
        return document(INTERVAL - 1)

    one = keeper(tmp_path, source, over_circuit=over_circuit, wall=WALL + INTERVAL)
    await one.first()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        await until(lambda: len(asked) >= 3, 3 * INTERVAL)
        nursery.cancel_scope.cancel()
    assert set(asked) == {INTERVAL}  # it tells what it has, so that the same is not sent again
    assert valid_after(one) == INTERVAL
    assert (tmp_path / CONSENSUS_FILE).read_bytes() == document(INTERVAL)
    assert source.asked.total() == 1


async def test_a_client_asks_over_circuits_at_random_moments_and_a_relay_the_directory_early(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    def newest() -> bytes:
        now = int(trio.current_time() - started)
        return document(now // INTERVAL * INTERVAL)

    for who, (low, high) in {"client": (0.2, 0.9), "relay": (0.02, 0.1)}.items():
        started = trio.current_time()
        source = Source(document())
        moments: list[float] = []
        source.served["http://0.invalid"] = newest

        async def over_circuit(held: int, moments: list[float] = moments) -> bytes:
            moments.append(trio.current_time())
            return newest()

        folder = tmp_path / who
        folder.mkdir()
        one = keeper(folder, source, over_circuit=over_circuit if who == "client" else None, wall=WALL)
        await one.first()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.keep)
            await trio.sleep(20.5 * INTERVAL)
            nursery.cancel_scope.cancel()
        if who == "client":
            assert source.asked.total() == 1  # the directory never sees that it is still there
        else:
            assert not moments
            moments = source.when[1:]
        assert 19 <= len(moments) <= 20
        places = [(moment - started) / INTERVAL % 1 for moment in moments]
        assert all(low <= place <= high for place in places)
        assert max(places) - min(places) > (high - low) / 2
        assert valid_after(one) >= 19 * INTERVAL


@pytest.mark.parametrize(
    "fault", [CircuitFailed(Reason.ANSWER_TIMEOUT), NetworkUnreachable("offline"), b"", b"junk", "early"]
)
async def test_what_goes_wrong_over_circuits_is_tried_again_and_not_asked_of_the_directory(
    fault: Exception | bytes | str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    tries: list[float] = []

    async def over_circuit(held: int) -> bytes:
        tries.append(trio.current_time())
        await trio.lowlevel.checkpoint()
        if len(tries) < 5:
            if isinstance(fault, Exception):
                raise fault
            return document(VALID) if isinstance(fault, str) else fault
        return document(INTERVAL)

    source = Source(document())
    one = keeper(tmp_path, source, over_circuit=over_circuit)
    await one.first()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        await until(lambda: valid_after(one) == INTERVAL, 3 * INTERVAL)
        nursery.cancel_scope.cancel()
    assert source.asked.total() == 1
    waits = [b - a for a, b in pairwise(tries)]
    assert waits[-1] > waits[0]  # ever more patient


async def test_an_expired_one_or_one_with_no_path_in_it_means_asking_the_directory(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def impossible(held: int) -> bytes:
        raise PathImpossible(3, 2)

    async def broken(held: int) -> bytes:
        raise CircuitFailed(Reason.LINK_CLOSED)

    for name, over_circuit, after in (("a", impossible, INTERVAL), ("b", broken, VALID)):
        (tmp_path / name).mkdir()
        source = Source(document())
        one = keeper(tmp_path / name, source, over_circuit=over_circuit, wall=WALL)
        await one.first()
        source.served["http://0.invalid"] = document(after)
        started = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(one.keep)
            changed = one.changed()
            with trio.fail_after(2 * VALID):
                await changed
            nursery.cancel_scope.cancel()
        assert valid_after(one) == after
        assert trio.current_time() - started >= after - 600  # a consensus may be ten minutes early


async def test_a_consensus_that_expires_is_none(tmp_path: Path, autojump_clock: MockClock) -> None:
    one = keeper(tmp_path, Source(document()), wall=WALL)
    await one.first()
    await trio.sleep(VALID - 1)
    assert one.current is one.view is one.require()
    await trio.sleep(1)
    assert [one.current, one.view is None] == [None, False]
    with pytest.raises(NoDirectory, match="expired"):
        one.require()


async def test_one_authority_that_is_down_or_lies_is_passed_over(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    file = network(3, threshold=2)
    good = document(keys=KEYS[:2])
    bad: list[bytes | str] = ["connection refused", b"junk", document(keys=[STRANGER]), document(-VALID)]
    for number, answer in enumerate(bad):
        for seed in range(6):  # whichever is asked first
            source = Source()
            source.served = {"http://0.invalid": answer, "http://1.invalid": answer, "http://2.invalid": good}
            folder = tmp_path / f"{number} {seed}"
            folder.mkdir()
            one = keeper(folder, source, file=file, seed=seed)
            await one.first()
            assert valid_after(one) == 0
    orders = set()
    for seed in range(20):
        source = Source()
        with pytest.raises(NoDirectory):
            await keeper(tmp_path, source, file=file, seed=seed).first()
        assert len(source.asked) == 3
        orders.add(tuple(source.asked))
    assert len(orders) > 3  # no authority is everybody's first


@pytest.mark.parametrize(
    "threshold, signers, good",
    [
        (1, [0], False),  # never fewer than more than half
        (1, [0, 1], True),
        (2, [0, 0], False),  # one authority twice is one
        (3, [0, 1], False),
        (3, [0, 1, 2], True),
        (2, [0, 9], False),  # somebody else's does not count
        (2, [0, 1, 9], True),  # nor does it harm
        (1, [], False),
    ],
)
async def test_so_many_distinct_authorities_must_have_signed(
    threshold: int, signers: list[int], good: bool, tmp_path: Path, autojump_clock: MockClock
) -> None:
    keys = [STRANGER if number == 9 else KEYS[number] for number in signers]
    source = Source()
    source.served = {f"http://{number}.invalid": document(keys=keys) for number in range(3)}
    one = keeper(tmp_path, source, file=network(3, threshold))
    if good:
        assert len((await one.first()).relays) == 5
    else:
        with pytest.raises(NoDirectory, match=r"not of this network .*; check its address"):
            await one.first()
        assert not (tmp_path / CONSENSUS_FILE).exists()


@pytest.mark.parametrize("wall, offset", [(WALL - 5000, -5000), (WALL + VALID + 777, VALID + 777)])
async def test_a_good_consensus_of_another_time_means_our_clock(
    wall: int, offset: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    with pytest.raises(ClockWrong) as caught:
        await keeper(tmp_path, Source(document()), wall=wall).first()
    assert caught.value.offset_seconds == offset
    assert ("ahead of" if offset > 0 else "behind") in str(caught.value)
    with pytest.raises(NoDirectory):  # one nobody vouches for says nothing about our clock
        await keeper(tmp_path, Source(document(keys=[STRANGER])), wall=wall).first()


# Whose clock is the odd one. Our clock shows WALL + 10; `list_` is the list's date, `date` what the directory
# says of the time, both seconds after WALL.


@pytest.mark.parametrize(
    "list_, date, error, said",
    [
        # The directory's clock is ours: its list is at fault, and only its operator can act.
        (7200, 12, ListOutOfTime, r"dated 20.*, about 119 minutes ahead, though its clock agrees .*see to"),
        (-9000, -500, ListOutOfTime, r"is of 20.*, about 2 hours ago, and has expired, though its clock"),
        # Clock and list agree with each other and not with us: one of the two is wrong.
        (7200, 7230, ClockWrong, r"about 2 hours behind that of the directory http://0.* is 20.*, there 20"),
        (-9000, -8700, ClockWrong, r"about 2 hours ahead of that of the directory .*whichever is wrong"),
        (-9000, -6000, ClockWrong, r"about 100 minutes ahead of that of the directory .*whichever is wrong"),
        # It says nothing of its clock.
        (7200, None, ClockWrong, r"behind the directory's list: here it is 20.*, the list of .* is of 20"),
        # Three times.
        (-9000, 90_000, ClockWrong, r"agrees with neither: here it is 20.*, there 20.*, the list is of 20"),
    ],
)  # fmt: skip
async def test_whose_clock_is_wrong_is_not_taken_for_granted(
    list_: int,
    date: int | None,
    error: type[Exception],
    said: str,
    tmp_path: Path,
    autojump_clock: MockClock,
) -> None:
    source = Source(document(list_))
    if date is not None:
        source.dates["http://0.invalid"] = WALL + date
    with pytest.raises(error, match=said) as caught:
        await keeper(tmp_path, source).first()
    assert str(caught.value).count(" UTC") >= 2
    if isinstance(caught.value, ClockWrong):
        assert caught.value.offset_seconds == 10 - list_  # what was signed, not what anybody can say


@pytest.mark.parametrize(
    "dates, error, said",
    [
        ((7200, 7210, 7220), ClockWrong, "behind those of 3 directories: .*; set it right"),
        ((7200, 10, 7200), ClockWrong, "behind those of 2 directories"),
        ((10, 20, 7200), ListOutOfTime, "its clock agrees with this machine's"),
        ((7200, -9000, 100_000), ClockWrong, "whichever is wrong"),
    ],
)
async def test_several_directories_are_several_witnesses(
    dates: tuple[int, ...], error: type[Exception], said: str, tmp_path: Path, autojump_clock: MockClock
) -> None:
    for seed in range(4):
        source = Source()
        for number, date in enumerate(dates):
            url = f"http://{number}.invalid"
            source.served[url] = document(7200 if date >= 0 else -9000, keys=KEYS[:2])
            source.dates[url] = WALL + date
        with pytest.raises(error, match=said):
            await keeper(tmp_path, source, file=network(3, 2), seed=seed).first()


# Clocks that jump.


def newest(started: float, ahead: int = 0) -> bytes:
    """What a directory serves that makes one each interval."""
    return document(int(trio.current_time() - started + ahead) // INTERVAL * INTERVAL)


@pytest.mark.parametrize("who", ["client", "relay"])
@pytest.mark.parametrize("jump", [-7200, 7200, -86_400, 400 * 86_400, -WALL])
async def test_a_clock_that_jumps_for_eight_seconds_changes_nothing(
    who: str, jump: int, tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Not even when a consensus comes in these eight seconds."""
    started, clock = trio.current_time(), Jumping(WALL)
    source = Source()
    source.served["http://0.invalid"] = lambda: newest(started)

    async def over_circuit(held: int) -> bytes:
        await trio.lowlevel.checkpoint()
        return newest(started)

    one = keeper(tmp_path, source, over_circuit=over_circuit if who == "client" else None, clock=clock)
    await one.first()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        for _ in range(60):
            clock.ahead = jump
            for _ in range(8):
                assert one.current is not None
                await trio.sleep(1)
            clock.ahead = 0
            await trio.sleep(53)
            late = trio.current_time() - started - valid_after(one)
            assert late <= (2.2 if who == "client" else 1.2) * INTERVAL
        nursery.cancel_scope.cancel()


async def test_a_clock_that_is_a_little_behind_puts_off_no_fetch(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    started, source = trio.current_time(), Source(document())
    one = keeper(tmp_path, source, wall=WALL - 590)
    await one.first()
    source.served["http://0.invalid"] = lambda: newest(started)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        await until(lambda: valid_after(one) == INTERVAL, 1.1 * INTERVAL + 5)
        nursery.cancel_scope.cancel()


async def test_a_clock_that_stays_wrong_ends_nothing_that_runs(
    tmp_path: Path, autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A relay takes one consensus after the other: they are what it knows of the time."""
    started, clock = trio.current_time(), Jumping(WALL)
    source = Source()
    source.served["http://0.invalid"] = lambda: newest(started)
    one = keeper(tmp_path, source, clock=clock)
    await one.first()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        await trio.sleep(INTERVAL)
        clock.ahead = 30 * 86_400
        await trio.sleep(20 * INTERVAL)
        assert valid_after(one) >= 19 * INTERVAL
        asked = source.asked.total()
        await trio.sleep(10 * INTERVAL)
        assert source.asked.total() - asked <= 60  # though by our clock each is overdue
        clock.ahead = 0
        await trio.sleep(3 * INTERVAL)
        clock.ahead = -7200
        await trio.sleep(2 * INTERVAL)
        assert [record.message.count("behind") for record in caplog.records] == [1]
        assert one.current is not None
        clock.ahead = 0
        await trio.sleep(INTERVAL)
        assert "agree again" in caplog.records[-1].message
        nursery.cancel_scope.cancel()


async def test_a_consensus_from_the_future_binds_nobody(tmp_path: Path, autojump_clock: MockClock) -> None:
    """Directory and node were a day ahead, or a year. Both are right again, before a start and meanwhile."""
    for days in (1, 365):
        for restart in (True, False):
            folder = tmp_path / f"{days} {restart}"
            folder.mkdir()
            started, clock = trio.current_time(), Jumping(WALL)
            clock.ahead = days * 86_400
            source = Source(document(days * 86_400))
            one = keeper(folder, source, clock=clock, over_circuit=None)
            await one.first()
            assert clock.earliest() == WALL + days * 86_400
            clock.ahead = 0
            source.served["http://0.invalid"] = lambda started=started: newest(started)  # type: ignore[misc]
            if restart:
                one = keeper(folder, source, clock=(clock := Jumping(WALL)))
                await one.first()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(one.keep)
                await trio.sleep(70)
                assert valid_after(one) == 0
                assert clock.earliest() <= clock.wall()
                await trio.sleep(2 * INTERVAL)
                assert valid_after(one) == 2 * INTERVAL
                nursery.cancel_scope.cancel()


async def test_mirrors_are_not_told_of_a_consensus_from_the_future(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Else they would say that they have none as new."""
    clock, asked = Jumping(WALL), []
    clock.ahead = 86_400

    async def over_circuit(held: int) -> bytes:
        await trio.lowlevel.checkpoint()
        asked.append(held)
        return document(0) if held < WALL else b""

    one = keeper(tmp_path, Source(document(86_400)), clock=clock, over_circuit=over_circuit)
    await one.first()
    clock.ahead = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        await trio.sleep(70)
        nursery.cancel_scope.cancel()
    assert asked[0] == 0
    assert valid_after(one) == 0


async def test_a_clock_that_is_set_back_for_a_moment_lets_no_older_one_in(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Whoever holds the line and the time we are told."""
    clock = Jumping(WALL + 7200)
    source = Source(document(7200))
    one = keeper(tmp_path, source, clock=clock)
    await one.first()
    source.served["http://0.invalid"] = document(0)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        await trio.sleep(INTERVAL)
        for _ in range(20):
            clock.ahead = -7200
            await trio.sleep(8)
            clock.ahead = 0
            await trio.sleep(131)
        nursery.cancel_scope.cancel()
    assert source.asked.total() > 3
    assert valid_after(one) == 7200


async def test_who_runs_for_long_waits_until_its_clock_is_set_and_says_so_once(
    tmp_path: Path, autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    for ahead in (-WALL, -86_400, 86_400):
        clock = Jumping(WALL)
        clock.ahead = ahead
        source = Source(document())
        folder = tmp_path / str(ahead)
        folder.mkdir()
        one = keeper(folder, source, clock=clock)

        async def ntp(clock: Jumping = clock) -> None:
            await trio.sleep(300)
            clock.ahead = 0

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ntp)
            with trio.fail_after(300 + 40):
                await until_directory_answers(one.first)
        said = capsys.readouterr().err.splitlines()
        assert len(said) == 1
        assert "Trying again until the times agree." in said[0]
        assert valid_after(one) == 0


async def test_a_large_consensus_is_checked_in_a_thread_and_a_small_one_where_it_comes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[bool] = []
    check = open_consensus_untrusted

    def checked(*given: Any, **named: Any) -> Consensus:
        threads.append(threading.get_ident() != main)
        return check(*given, **named)

    main = threading.get_ident()
    monkeypatch.setattr(consensus_keeper, "open_consensus_untrusted", checked)
    for limit in (1 << 20, 100):
        monkeypatch.setattr(consensus_keeper, "INLINE_BYTES", limit)
        folder = tmp_path / str(limit)
        folder.mkdir()
        view = await keeper(folder, Source(document())).first()
        assert view.consensus.relays
    assert threads == [False, True]


# In a whole network.


class Counting:
    """Passes on, and counts who asked what."""

    def __init__(self, inner: DirectorySource, asked: Counter[str]) -> None:
        self._inner = inner
        self._asked = asked

    async def consensus(self, authority: Authority) -> bytes:
        self._asked["consensus"] += 1
        return await self._inner.consensus(authority)

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        self._asked["publish"] += 1
        return await self._inner.publish(authority, descriptor)

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        self._asked["status"] += 1
        return await self._inner.status(authority, relay)

    def date(self, authority: Authority) -> int | None:
        return self._inner.date(authority)


async def test_a_client_of_a_network_talks_http_at_its_first_start_alone(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with small(5, interval_seconds=5) as net:
        asked: dict[str, Counter[str]] = {}
        real = net.source

        def source(host: str) -> DirectorySource:
            return Counting(real(host), asked.setdefault(host, Counter()))

        monkeypatch.setattr(net, "source", source)
        relay = await net.add_relay()
        await net.settled()
        for start in (1, 2):
            async with net.join("node") as node:
                first = inside(node).view.consensus.valid_after
                await trio.sleep(60)
                assert inside(node).view.consensus.valid_after >= first + 45
            assert asked["node"] == {"consensus": 1}, start
        assert asked[relay.host]["consensus"] >= 15
        assert asked[relay.host]["publish"] >= 1


async def test_a_network_outlives_its_directory(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No new consensus until the last one has expired: nobody falls over, and all comes back."""
    async with small(5, interval_seconds=10, valid_seconds=90) as net, net.join("visitor") as visitor:
        async with hosted(net) as (node, endpoint), visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"before")).status == "delivered"

            async def nothing() -> bool:
                await trio.lowlevel.checkpoint()
                return False

            monkeypatch.setattr(net.authority, "publish", nothing)
            await trio.sleep(60)
            assert (await contact.whisper(b"it holds for a while")).status == "delivered"
            await until(lambda: _expired(inside(visitor)) and _expired(inside(node)), 300)
            # What stands goes on; what would need a new path waits, and says why.
            assert net.memory is not None
            net.memory.cut("visitor")
            await trio.sleep(60)
            net.memory.heal("visitor")
            receipt = await contact.whisper(b"too early", ttl_seconds=60)
            assert receipt.status == "expired"
            assert "consensus has expired" in receipt.why
            await until(lambda: not endpoint.reachability.reachable, 700)
            waiting = contact.send(b"in between", ttl_seconds=3600)

            monkeypatch.undo()
            assert (await waiting.final()).status == "delivered"
            with trio.fail_after(300):
                await endpoint.reachable()
            assert (await contact.whisper(b"after")).status == "delivered"


def _expired(context: Context) -> bool:
    return context.keeper.current is None


async def test_without_guards_the_directory_is_asked_once_a_minute(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    async def over_circuit(held: int) -> bytes:
        await trio.sleep(1)
        raise NoGuardAnswers("no guard answers")

    source = Source(document())
    one = keeper(tmp_path, source, over_circuit=over_circuit)
    await one.first()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        await trio.sleep(2 * INTERVAL)
        asked = source.asked.total()
        await trio.sleep(600)
        nursery.cancel_scope.cancel()
    assert 4 <= source.asked.total() - asked <= 10


async def test_a_full_disk_is_said_once_without_riddles_and_so_is_its_end(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Full(InMemory):
        full = True

        def write(self, name: str, data: bytes) -> None:
            if self.full:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), name)
            super().write(name, data)

    source, folder = Source(document()), Full()
    one = keeper(folder, source)
    await one.first()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(one.keep)
        for number in range(1, 4):
            source.served["http://0.invalid"] = document(number * INTERVAL)
            folder.full = number < 3
            await trio.sleep(2 * INTERVAL)
        nursery.cancel_scope.cancel()
    assert folder.read(CONSENSUS_FILE) == document(3 * INTERVAL)
    assert [one for one in caplog.messages if "disk" in one] == [
        "a new consensus is used and could not be kept on disk: No space left on device; make room there",
        "consensuses are kept on disk again",
    ]


async def test_a_directory_of_another_network_is_not_waited_for(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    one = keeper(tmp_path, Source(document(keys=[STRANGER])))
    with pytest.raises(NotThisNetwork):
        await until_directory_answers(one.first)
    assert Purpose.CONSENSUS.kind(0).relays == 3  # through a guard, whatever else is asked without


async def test_one_authority_that_serves_junk_while_others_are_away_has_not_the_last_word(
    tmp_path: Path, autojump_clock: MockClock
) -> None:
    """Else it could end whoever starts meanwhile and would have waited for the others."""
    source = Source()
    source.served = {"http://0.invalid": b"junk"}
    one = keeper(tmp_path, source, file=network(3, 2))
    with pytest.raises(NoDirectory, match="No directory answers") as caught:
        await one.first()
    assert not isinstance(caught.value, NotThisNetwork)
