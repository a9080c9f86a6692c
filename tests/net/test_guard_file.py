from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from onionshh.core.base.chance import Chance
from onionshh.errors import BadData
from onionshh.net.guard_file import GUARDS_FILE, LAYER_TWO_FILE, OVER_TOR_FILES, GuardFile
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import DataDirectory
from tests.core.networks import DAY, START, changed, plain, view
from tests.seeded import seeded

NOW = START + DAY // 2


def guard_file(path: Path, seed: int) -> GuardFile:
    return GuardFile(DataDirectory(path), Chance(seeded(seed)))


def test_guards_are_drawn_once_and_come_back(tmp_path: Path) -> None:
    first = guard_file(tmp_path, 1)
    first.update(view(plain(40)))
    first.second_hops(view(plain(40)))
    again = guard_file(tmp_path, 2)
    again.update(view(plain(40)))
    assert again.guards.sample == first.guards.sample
    assert again.layer_two.sample == first.layer_two.sample
    assert len(first.guards.sample) == 6
    for name in (GUARDS_FILE, LAYER_TWO_FILE):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600


def test_two_processes_of_one_folder_have_one_sample(tmp_path: Path) -> None:
    one, other = guard_file(tmp_path, 1), guard_file(tmp_path, 2)
    one.update(view(plain(40)))
    other.update(view(plain(40)))
    assert one.guards.sample == other.guards.sample
    # Later one of them replaces a guard that is gone; the other follows at its next update.
    gone = one.guards.sample[0]
    rest = [row for row in plain(40) if row.identity != gone]
    one.update(view(rest))
    one.update(view(rest, at=NOW + 8 * DAY))
    other.update(view(rest, at=NOW + 8 * DAY))
    assert gone not in one.guards.sample
    assert one.guards.sample == other.guards.sample


def test_a_node_has_second_hops_once_it_needs_them_and_follows_each_consensus_with_them(
    tmp_path: Path,
) -> None:
    node = guard_file(tmp_path, 1)
    node.update(view(plain(40)))
    before = node.layer_two.sample
    assert not (tmp_path / LAYER_TWO_FILE).exists()  # no pinned circuit was built yet
    hops = node.second_hops(view(plain(40)))
    drawn = node.layer_two.sample
    assert (len(before), len(drawn)) == (0, 4)
    assert set(hops) == set(drawn)
    assert set(node.second_hops(view(plain(40)))) == set(drawn)
    assert node.layer_two.sample == drawn
    node.update(view(plain(40), at=NOW + 13 * DAY))
    assert not set(node.layer_two.sample) & set(drawn)
    again = guard_file(tmp_path, 2)
    again.update(view(plain(40), at=NOW + 13 * DAY))
    assert again.layer_two.sample == node.layer_two.sample


def test_what_did_not_change_is_not_written(tmp_path: Path) -> None:
    one = guard_file(tmp_path, 1)
    one.update(view(plain(40)))
    (tmp_path / GUARDS_FILE).chmod(0o640)  # a new file would be 0600
    one.update(view(plain(40)))
    assert stat.S_IMODE((tmp_path / GUARDS_FILE).stat().st_mode) == 0o640


def test_what_we_know_of_a_guard_outlives_an_update(tmp_path: Path) -> None:
    one = guard_file(tmp_path, 1)
    one.update(view(plain(40)))
    down = one.guards.sample[0]
    for _ in range(2):
        one.guards.link_failed(down, 10.0)
    one.update(view(plain(40)))
    assert down not in one.guards.usable(view(plain(40)))


@pytest.mark.parametrize("name", [GUARDS_FILE, LAYER_TWO_FILE])
@pytest.mark.parametrize("damage", [b"", b"junk", None])
def test_a_damaged_file_draws_no_new_guards(tmp_path: Path, name: str, damage: bytes | None) -> None:
    one = guard_file(tmp_path, 1)
    one.update(view(plain(40)))
    one.second_hops(view(plain(40)))
    path = tmp_path / name
    data = path.read_bytes()[:-1] if damage is None else damage
    path.write_bytes(data)
    fresh = guard_file(tmp_path, 2)
    with pytest.raises(BadData, match=f"{name} is damaged"):
        fresh.update(view(plain(40)))
    assert path.read_bytes() == data


def test_second_hops_of_another_process_that_are_damaged_are_not_drawn_again(tmp_path: Path) -> None:
    one = guard_file(tmp_path, 1)
    one.update(view(plain(40)))
    (tmp_path / LAYER_TWO_FILE).write_bytes(b"junk")  # since the start
    for _ in range(2):
        with pytest.raises(BadData, match="damaged"):
            one.second_hops(view(plain(40)))
        one.update(view(plain(40)))
    assert (tmp_path / LAYER_TWO_FILE).read_bytes() == b"junk"


def test_second_hops_that_cannot_be_written_are_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each start would draw others. Once there is room, those in hand are kept."""
    one, opened = guard_file(tmp_path, 1), os.open
    one.update(view(plain(40)))

    def full(path: Any, *options: Any, **more: Any) -> int:
        if str(path).endswith(".new"):
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return opened(path, *options, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        for _ in range(2):
            with pytest.raises(OSError, match="No space"):
                one.second_hops(view(plain(40)))
    hops = one.second_hops(view(plain(40)))
    again = guard_file(tmp_path, 2)
    assert set(again.second_hops(view(plain(40)))) == set(hops)


def test_a_folder_in_memory_keeps_second_hops_too() -> None:
    folder = InMemory()
    one = GuardFile(folder, Chance(seeded(1)))
    one.update(view(plain(40)))
    hops = one.second_hops(view(plain(40)))
    again = GuardFile(folder, Chance(seeded(2)))
    again.update(view(plain(40)))
    assert set(again.second_hops(view(plain(40)))) == set(hops)


@pytest.mark.parametrize("name", [GUARDS_FILE, LAYER_TWO_FILE])
def test_a_file_that_is_damaged_while_its_guards_are_in_hand_is_written_anew(
    tmp_path: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    node = guard_file(tmp_path, 1)
    node.update(view(plain(40)))
    node.second_hops(view(plain(40)))
    path = tmp_path / name
    good = path.read_bytes()
    path.write_bytes(b"junk")
    node.update(view(plain(40)))
    assert path.read_bytes() == good
    assert f"{name} is damaged; it is written anew" in caplog.text
    caplog.clear()
    node.update(view(plain(40)))
    assert caplog.text == ""


def test_first_and_second_hops_come_in_random_order_and_do_not_meet(tmp_path: Path) -> None:
    one = guard_file(tmp_path, 1)
    known = view(plain(40))
    one.update(known)
    one.second_hops(known)
    firsts = [tuple(one.first_hops(known)) for _ in range(40)]
    assert {frozenset(first) for first in firsts} == {frozenset(one.guards.sample[:2])}
    assert len(set(firsts)) == 2
    seconds = [one.second_hops(known) for _ in range(40)]
    assert len({tuple(second) for second in seconds}) > 5
    assert all(len(second) == 4 and not set(second) & set(firsts[0]) for second in seconds)


@pytest.mark.parametrize("refused", ["lock", "write"])
def test_a_process_that_has_its_guards_goes_on_without_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, refused: str
) -> None:
    """And one that has none yet does not begin: drawn and forgotten, each start would draw others."""
    one, opened = guard_file(tmp_path, 1), os.open

    def full(path: Any, *options: Any, **more: Any) -> int:
        if str(path).endswith("guards.lock" if refused == "lock" else ".new"):
            raise OSError(errno.EROFS, "Read-only file system", str(path))
        return opened(path, *options, **more)

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OSError, match="Read-only"):
            one.update(view(plain(40)))
    one = guard_file(tmp_path, 1)
    one.update(view(plain(40)))
    gone = one.guards.sample[0]
    rest, later = [row for row in plain(40) if row.identity != gone], NOW + 8 * DAY
    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        one.update(view(rest))
        one.update(view(rest, at=later))
    assert gone not in one.guards.sample
    one.update(view(rest, at=later))
    assert ["again" in line for line in caplog.messages] == [False, True]
    again = guard_file(tmp_path, 2)
    again.update(view(rest, at=later))
    assert again.guards.sample == one.guards.sample


async def test_a_guard_at_another_address_is_due_at_once(tmp_path: Path, autojump_clock: MockClock) -> None:
    one = guard_file(tmp_path, 1)
    one.update(view(plain(40)))
    stayed, moved = one.guards.sample[:2]
    await trio.sleep(5000)
    for identity in (stayed, moved):
        for _ in range(2):
            one.guards.link_failed(identity, trio.current_time())
    one.update(view(plain(40)))
    assert one.guards.next_retry(trio.current_time()) == []
    one.update(view(plain(40, lambda r: changed(r, port=r.port + 1) if r.identity == moved else r)))
    assert one.guards.next_retry(trio.current_time()) == [moved]


def test_a_node_with_tor_has_guards_of_its_own(tmp_path: Path) -> None:
    plain_node = guard_file(tmp_path, 1)
    over_tor = GuardFile(DataDirectory(tmp_path), Chance(seeded(2)), over_tor=True)
    for node in (plain_node, over_tor):
        node.update(view(plain(40)))
        node.second_hops(view(plain(40)))
    assert plain_node.guards.sample != over_tor.guards.sample
    assert {path.name for path in tmp_path.iterdir()} >= {GUARDS_FILE, LAYER_TWO_FILE, *OVER_TOR_FILES}
    again = GuardFile(DataDirectory(tmp_path), Chance(seeded(3)), over_tor=True)
    again.update(view(plain(40)))
    assert again.guards.sample == over_tor.guards.sample
