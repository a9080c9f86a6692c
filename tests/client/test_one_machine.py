"""Where the network of this machine is found: one that runs, and none that leads off it."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.client.one_machine import (
    FILE,
    FOLDER,
    VARIABLE,
    find_network,
    is_of_this_machine,
    running_network,
    user_folder,
)
from onionshh.config import Authority, NetworkFile, format_network_file
from onionshh.errors import BadNetworkFile
from onionshh.net.store import DataDirectory


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of ours, empty."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv(VARIABLE, raising=False)
    return tmp_path / "onionshh"


def network(*urls: str) -> NetworkFile:
    return NetworkFile("test", 1, tuple(Authority(url, bytes([at]) * 32) for at, url in enumerate(urls)))


def written(base: Path, text: str) -> Path:
    (base / FOLDER).mkdir(parents=True, mode=0o700)
    (base / FOLDER / FILE).write_text(text)
    return base / FOLDER / FILE


def test_the_folder_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    assert user_folder() == tmp_path / "state" / "onionshh"
    for ignored in ("", "relative/path"):  # the specification: a relative path is to be ignored
        monkeypatch.setenv("XDG_STATE_HOME", ignored)
        assert user_folder() == tmp_path / ".local" / "state" / "onionshh"
    monkeypatch.setenv("HOME", "")
    assert user_folder() is None
    assert running_network() is None


def test_what_runs_is_found_and_what_was_left_is_not(base: Path) -> None:
    file = written(base, format_network_file(network("http://127.0.0.1:9001")))
    assert running_network() is None
    with DataDirectory(base / FOLDER).lock():
        assert running_network() == file
        assert find_network() == file
    assert running_network() is None
    with pytest.raises(BadNetworkFile, match=VARIABLE):
        find_network()


@pytest.mark.parametrize(
    "text", ["", "not a network file", format_network_file(network("http://192.0.2.1:9001"))]
)
def test_what_is_damaged_or_leads_off_the_machine_is_passed_over(base: Path, text: str) -> None:
    written(base, text)
    with DataDirectory(base / FOLDER).lock():
        assert running_network() is None


def test_a_file_that_is_named_comes_first_and_is_not_looked_into(
    base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(base, format_network_file(network("http://127.0.0.1:9001")))
    monkeypatch.setenv(VARIABLE, "elsewhere.toml")
    with DataDirectory(base / FOLDER).lock():
        assert find_network() == Path("elsewhere.toml")


@pytest.mark.parametrize(
    "urls, is_ours",
    [
        (("http://127.0.0.1:9001",), True),
        (("http://127.0.0.1:9001", "http://[::1]:9002"), True),
        (("http://127.0.0.1:9001", "http://192.0.2.1:9001"), False),
        (("http://localhost:9001",), False),  # a name may lead anywhere
        (("http://127.0.0.1.example.org",), False),
    ],
)
def test_every_directory_must_be_at_a_loopback_address(urls: tuple[str, ...], is_ours: bool) -> None:
    assert is_of_this_machine(network(*urls)) == is_ours
