"""Files of keys that others could read, of each program: told, closed, and taken all the same."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from onionshh.client.identities import Identity
from onionshh.directory.store import create_or_open
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import KEYS_FILE, RelayKeys
from tests.seeded import seeded


def endpoint(folder: Path) -> bytes:
    return Identity.load_or_create(folder / "identity", seeded(1)).A


def relay(folder: Path) -> bytes:
    return RelayKeys(DataDirectory(folder), seeded(1)).relay_id


def directory(folder: Path) -> bytes:
    network = folder / "network.toml"
    with create_or_open(folder, network, url="http://127.0.0.1:7000", random_bytes=seeded(1)) as store:
        return store.key.public


@pytest.mark.parametrize(
    "name, start", [("identity", endpoint), (KEYS_FILE, relay), ("authority", directory)]
)
def test_they_are_told_and_closed(
    name: str, start: Callable[[Path], bytes], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made = start(tmp_path)
    assert caplog.messages == []
    (tmp_path / name).chmod(0o644)
    assert start(tmp_path) == made
    assert f"{tmp_path / name} could be read by other users of this machine (mode 0644)" in caplog.text
    assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o600
    assert start(tmp_path) == made
    assert len(caplog.messages) == 1
