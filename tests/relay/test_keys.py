from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

import onionshh.relay.keys
from onionshh.errors import BadData
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import KEYS_FILE, RelayKeys
from tests.seeded import seeded

DAY = 86_400
START = 1_700_000_000


def turn(keys: RelayKeys, earliest: int) -> bool:
    """Monotonic seconds and consensuses agree."""
    return turned(keys, earliest, earliest - START)


def turned(keys: RelayKeys, earliest: int, now: float) -> bool:
    keys.let_go(now)
    return keys.rotate(earliest, DAY)


def test_keys_are_made_once_and_come_back(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "relay")
    first = RelayKeys(folder, seeded(1))
    again = RelayKeys(folder, seeded(2))
    assert again.relay_id == first.relay_id == first.signer.key.public
    assert again.onion_key == first.onion_key
    assert again.onion_keys() == first.onion_keys()
    assert len(first.onion_keys()) == 1


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "relay")
    RelayKeys(folder, seeded(1))
    assert stat.S_IMODE((folder / KEYS_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert [path.name for path in folder.path.iterdir()] == [KEYS_FILE]


def test_an_onion_key_serves_its_time_and_then_once_more_in_grace(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path)
    keys = RelayKeys(folder, seeded(1))
    first = keys.onion_key
    assert not turn(keys, START)
    assert not turn(keys, START + DAY - 1)
    assert turn(keys, START + DAY)
    second = keys.onion_key
    assert second != first
    assert keys.onion_keys() == (second, first)
    assert RelayKeys(folder, seeded(9)).onion_keys() == (second, first)
    assert not turn(keys, START + 2 * DAY - 1)
    assert turn(keys, START + 2 * DAY)
    assert keys.onion_keys() == (keys.onion_key, second)
    assert keys.relay_id == RelayKeys(folder, seeded(9)).relay_id


def test_clocks_that_run_ahead_keep_no_key_for_ever_and_drop_none(tmp_path: Path) -> None:
    """All of them for a moment, the directory's too: consensuses are dated a year ahead, then not."""
    keys = RelayKeys(DataDirectory(tmp_path), seeded(1))
    turn(keys, START)
    assert turn(keys, START + DAY)
    both = keys.onion_keys()
    keys.named(both[1].public, 3 * DAY / 2)
    assert not turned(keys, START + 365 * DAY, DAY), "a consensus of before the jump names it"
    assert not turn(keys, START + DAY + 1)
    assert keys.onion_keys() == both
    assert not turn(keys, START + 2 * DAY - 1)
    assert turned(keys, START + 365 * DAY, 2 * DAY)
    after = keys.onion_keys()
    assert not turn(keys, START + 2 * DAY), "dated a year ahead, it gets its date anew"
    assert not turn(keys, START + 3 * DAY - 1)
    assert keys.onion_keys() == after
    assert turn(keys, START + 3 * DAY)


def test_a_key_made_before_it_is_known_what_time_it_is_gets_its_date_with_the_first_consensus(
    tmp_path: Path,
) -> None:
    keys = RelayKeys(DataDirectory(tmp_path), seeded(1))
    first = keys.onion_key
    for _ in range(3):
        assert not turned(keys, 0, 9 * DAY)
    assert not turn(keys, START)
    again = RelayKeys(DataDirectory(tmp_path), seeded(1))
    assert not turned(again, 0, 9 * DAY)
    assert not turn(again, START + DAY - 1)
    assert turn(again, START + DAY)
    assert again.onion_keys() == (again.onion_key, first)


def test_a_key_stays_while_a_consensus_that_was_seen_names_it(tmp_path: Path) -> None:
    """A directory that was away lists us for a while as it knew us."""
    keys = RelayKeys(DataDirectory(tmp_path), seeded(1))
    turn(keys, START)
    first = keys.onion_key
    assert turn(keys, START + DAY)
    keys.named(bytes(32), 9 * DAY)  # somebody else's
    keys.named(first.public, 2 * DAY + 100)
    for late in (0, 99):
        assert not turn(keys, START + 2 * DAY + late)
        assert first in keys.onion_keys()
    assert turn(keys, START + 2 * DAY + 100)
    assert first not in keys.onion_keys()


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "junk", "version"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, damage: str) -> None:
    folder = DataDirectory(tmp_path)
    RelayKeys(folder, seeded(1))
    path = folder / KEYS_FILE
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "flip": bytes((data[0] ^ 0x10,)) + data[1:],
            "empty": b"",
            "junk": data + b"\0",
            "version": data[:1] + b"\x03" + data[2:],
        }[damage]
    )
    before = path.read_bytes()
    with pytest.raises(BadData, match=KEYS_FILE):
        RelayKeys(folder, seeded(2))
    assert path.read_bytes() == before  # never made anew over what may be restored


def test_no_secret_shows(tmp_path: Path) -> None:
    keys = RelayKeys(DataDirectory(tmp_path), seeded(1))
    shown = repr(keys) + repr(keys.onion_keys()) + repr(keys.signer) + repr(vars(keys))
    assert keys.signer.key.seed.hex() not in shown
    assert repr(keys.onion_key.private) not in shown
    assert repr(keys.signer.key.seed) not in shown


def test_without_a_disk_the_old_key_serves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataDirectory(tmp_path)
    keys = RelayKeys(folder, seeded(1))
    first = keys.onion_key
    turn(keys, START)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(onionshh.relay.keys, "atomic_write", full)
        with pytest.raises(OSError, match="No space"):
            turn(keys, START + DAY)
    assert keys.onion_keys() == (first,) == RelayKeys(folder, seeded(9)).onion_keys()
    assert turn(keys, START + DAY)
