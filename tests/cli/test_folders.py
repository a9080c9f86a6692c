"""Where a visitor's files lie, and what is for a moment only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.folders import check_whose, network_folder, state_folder, temporary_folder
from onionshh.config import Authority, NetworkFile
from onionshh.errors import Error
from tests.cli.conftest import Mistake, network_file


def test_each_network_has_its_own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    one, other = Authority("http://a", bytes(32)), Authority("http://a", bytes([1] * 32))
    first = network_folder(NetworkFile("my net/..", 1, (one, other)))
    assert first.parent == tmp_path / "onionshh"
    assert first.name.startswith("my-net----")
    assert first == network_folder(NetworkFile("my net/..", 1, (other, one)))
    assert first != network_folder(NetworkFile("my net/..", 1, (one,)))
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert network_folder(NetworkFile("n", 1, (one,))).is_relative_to(Path.home())


@pytest.mark.parametrize("home", [None, "", "relative"])
def test_where_nobody_has_a_home(home: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """A container with a user of its own: no HOME, and no line in the system's list of users."""
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)
    if home is None:
        monkeypatch.delenv("HOME", raising=False)
        monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    else:
        monkeypatch.setenv("HOME", home)
    with pytest.raises(Usage, match="--data, or an absolute path in XDG_STATE_HOME"):
        state_folder()


def test_where_no_temporary_folder_can_be(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)
    monkeypatch.setattr(tempfile, "_candidate_tempdir_list", lambda: [str(tmp_path / "none")])
    with pytest.raises(Error, match="set TMPDIR"), temporary_folder("x"):
        pass


def test_a_temporary_folder_goes_with_the_block_whatever_lies_in_it() -> None:
    with temporary_folder("onionshh-test-") as folder:
        assert folder.name.startswith("onionshh-test-")
        assert folder.stat().st_mode & 0o777 == 0o700
        (folder / "deep").mkdir()
        (folder / "deep" / "file").write_bytes(b"x")
    assert not folder.exists()


@pytest.mark.parametrize(
    ("file", "other"), [("relay-keys", "relay"), ("authority", "directory"), ("identity", "host")]
)
def test_no_program_begins_in_the_folder_of_another_kind(tmp_path: Path, file: str, other: str) -> None:
    """Else nobody could back it up any more."""
    (tmp_path / file).touch()
    for kind in ("relay", "directory", "host"):
        if kind == other:
            check_whose(tmp_path, kind)
            continue
        with pytest.raises(Usage, match=f"is the folder of a {other}; give this {kind} one of its own"):
            check_whose(tmp_path, kind)


def test_each_command_looks_whose_folder_it_is(tmp_path: Path, mistake: Mistake) -> None:
    (tmp_path / "relay-keys").touch()
    network = str(network_file(tmp_path / "net.toml", 9))
    assert "is the folder of a relay" in mistake(2, "host", "--network", network, "--data", str(tmp_path))
    (tmp_path / "relay-keys").rename(tmp_path / "identity")
    at = ("--listen", "127.0.0.1:0", "--data", str(tmp_path), "--network", network)
    assert "is the folder of a host" in mistake(2, "relay", *at)
    assert "is the folder of a host" in mistake(2, "directory", *at)
