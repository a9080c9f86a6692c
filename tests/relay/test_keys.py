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


def test_keys_are_made_once_and_come_back(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "relay")
    first = RelayKeys(folder, seeded(1), START)
    again = RelayKeys(folder, seeded(2), START + 5)
    assert again.relay_id == first.relay_id == first.identity.public
    assert again.onion_key == first.onion_key
    assert again.onion_keys() == first.onion_keys()
    assert len(first.onion_keys()) == 1


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path / "relay")
    RelayKeys(folder, seeded(1), START)
    assert stat.S_IMODE((folder / KEYS_FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
    assert [path.name for path in folder.path.iterdir()] == [KEYS_FILE]


def test_an_onion_key_serves_its_time_and_then_once_more_in_grace(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path)
    keys = RelayKeys(folder, seeded(1), START)
    first = keys.onion_key
    assert not keys.rotate(START + DAY - 1, DAY)
    assert keys.rotate(START + DAY, DAY)
    second = keys.onion_key
    assert second != first
    assert keys.onion_keys() == (second, first)
    assert RelayKeys(folder, seeded(9), START).onion_keys() == (second, first)
    assert not keys.rotate(START + 2 * DAY - 1, DAY)
    assert keys.rotate(START + 2 * DAY, DAY)
    assert keys.onion_keys() == (keys.onion_key, second)
    assert keys.relay_id == RelayKeys(folder, seeded(9), START).relay_id


def test_a_clock_that_ran_ahead_keeps_no_key_for_ever(tmp_path: Path) -> None:
    keys = RelayKeys(DataDirectory(tmp_path), seeded(1), START + 900 * DAY)
    assert keys.rotate(START, DAY)
    assert not keys.rotate(START + 1, DAY)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "junk", "version"])
def test_a_damaged_file_is_refused_with_its_name(tmp_path: Path, damage: str) -> None:
    folder = DataDirectory(tmp_path)
    RelayKeys(folder, seeded(1), START)
    path = folder / KEYS_FILE
    data = path.read_bytes()
    path.write_bytes(
        {
            "cut": data[:-1],
            "flip": bytes((data[0] ^ 0x10,)) + data[1:],
            "empty": b"",
            "junk": data + b"\0",
            "version": data[:1] + b"\x02" + data[2:],
        }[damage]
    )
    before = path.read_bytes()
    with pytest.raises(BadData, match=KEYS_FILE):
        RelayKeys(folder, seeded(2), START)
    assert path.read_bytes() == before  # never made anew over what may be restored


def test_no_secret_shows(tmp_path: Path) -> None:
    keys = RelayKeys(DataDirectory(tmp_path), seeded(1), START)
    shown = repr(keys) + repr(keys.onion_keys()) + repr(keys.identity) + repr(keys._onion)
    assert keys.identity.seed.hex() not in shown
    assert repr(keys.onion_key.private) not in shown
    assert repr(keys.identity.seed) not in shown


def test_without_a_disk_the_old_key_serves_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = DataDirectory(tmp_path)
    keys = RelayKeys(folder, seeded(1), START)
    first = keys.onion_key

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(onionshh.relay.keys, "atomic_write", full)
        with pytest.raises(OSError, match="No space"):
            keys.rotate(START + DAY, DAY)
    assert keys.onion_keys() == (first,) == RelayKeys(folder, seeded(9), START).onion_keys()
    assert keys.rotate(START + DAY, DAY)
