"""`onionshh network`: one for each user, where it was before."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.cli import main
from onionshh.cli.network import port_before
from onionshh.client.one_machine import FOLDER
from onionshh.net.store import DataDirectory
from tests.cli.conftest import network_file


def test_the_directory_comes_back_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "net.toml"
    assert port_before(file) == 0
    network_file(file, 7123)
    assert port_before(file) == 7123
    file.write_text(file.read_text().replace(":7123", ""))
    assert port_before(file) == 0
    file.write_bytes(b"no network file")
    assert port_before(file) == 0


def test_only_one_runs_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    with DataDirectory(tmp_path / "onionshh" / FOLDER).lock():
        assert main(["network"]) == 1
    assert "is in use already" in capsys.readouterr().err


@pytest.mark.parametrize("relays", ["3", "65", "many"])
def test_a_network_has_some_relays_and_not_hundreds(relays: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["network", "--relays", relays]) == 2
    assert "--relays" in capsys.readouterr().err
