"""Where a visitor's files lie, and what is for a moment only."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.folders import network_folder, state_folder, temporary_folder
from onionshh.config import Authority, NetworkFile
from onionshh.errors import Error


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
