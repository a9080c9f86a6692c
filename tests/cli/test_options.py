"""Values of options as a person types them."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from pathlib import Path

import click
import pytest

from onionshh.cli import main
from onionshh.cli.failures import Usage, explain, worst
from onionshh.cli.folders import network_folder, state_folder, temporary_folder
from onionshh.cli.options import PATH, check_bind, check_reach, host_port, is_wildcard
from onionshh.config import Authority, NetworkFile
from onionshh.errors import (
    BadAddress,
    BadData,
    BadNetworkFile,
    ClockWrong,
    DataInUse,
    Error,
    NoDirectory,
    TooLarge,
)
from onionshh.net.tcp import PortInUse


@pytest.mark.parametrize(
    "text, host, port",
    [
        ("127.0.0.1:7000", "127.0.0.1", 7000),
        ("[::1]:0", "::1", 0),
        ("localhost:65535", "localhost", 65535),
    ],
)
def test_host_port(text: str, host: str, port: int) -> None:
    assert host_port(text, "--listen") == (host, port)


@pytest.mark.parametrize(
    "text", ["", "7000", ":7000", "a:", "a:b", "a:-1", "a:65536", "::1:7000", "[::1]", "[a]:1", "a:٣"]
)
def test_host_port_refused(text: str) -> None:
    with pytest.raises(Usage, match="--listen needs HOST:PORT"):
        host_port(text, "--listen")


@pytest.mark.parametrize("host, wild", [("0.0.0.0", True), ("::", True), ("127.0.0.1", False), ("a", False)])
def test_wildcards(host: str, wild: bool) -> None:
    assert is_wildcard(host) is wild


@pytest.mark.parametrize("address", ["192.0.2.1", "localhost", "", "127.0.0.1:80"])
def test_bind_must_be_ours(address: str) -> None:
    with pytest.raises(Usage, match="--bind needs an IP address of this machine"):
        check_bind(address)


def test_bind_of_this_machine() -> None:
    check_bind(None)
    check_bind("127.0.0.77")


@pytest.mark.parametrize(
    "error, status",
    [
        (Usage("x"), 2),
        (BadAddress("x"), 2),
        (BadNetworkFile("x"), 2),
        (BadData("x"), 2),
        (TooLarge("x"), 2),
        (Error("port"), 1),
        (PortInUse("x"), 1),
        (DataInUse("x"), 1),
        (NoDirectory("x"), 1),
        (ClockWrong("x", 60), 1),
        (PermissionError(13, "Permission denied", "/x"), 1),
        (ValueError("unexpected"), 1),
    ],
)
def test_exit_status(error: Exception, status: int) -> None:
    assert explain(error)[1] == status


def test_what_nobody_expected_is_called_a_bug() -> None:
    sentence, _ = explain(KeyError("a\nb"))
    assert sentence.startswith("this is a bug in onionshh: KeyError: 'a")
    assert "\n" not in sentence


def test_of_several_errors_the_unexpected_one_is_told() -> None:
    bug = RuntimeError("bug")
    group = BaseExceptionGroup("", [NoDirectory("x"), BaseExceptionGroup("", [bug])])
    assert worst(group) is bug
    known = NoDirectory("y")
    assert worst(BaseExceptionGroup("", [known, DataInUse("z")])) is known


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


# Paths


def path_of(typed: str) -> Path:
    found: Path = PATH.convert(typed, None, None)
    return found


@pytest.mark.parametrize("typed", ["", " ", "\n"])
def test_an_empty_path_is_refused(typed: str) -> None:
    with pytest.raises(click.BadParameter, match="it is empty"):
        path_of(typed)


def test_paths_as_they_are_typed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No shell sees the ~ in `--data=~/me`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/nobody")
    assert path_of("a/b") == Path("a/b")
    assert path_of(".") == path_of("./") == tmp_path
    assert path_of("~") == Path("/nobody")
    assert path_of("~/me") == Path("/nobody/me")
    assert path_of("a~b") == Path("a~b")


def test_a_home_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    with pytest.raises(click.BadParameter, match="no home folder"):
        path_of("~/me")


# --bind


@pytest.mark.parametrize(
    "bind, urls, said",
    [
        ("::1", ["http://127.0.0.1:7000"], "IPv6 address, and the network's directory http://127.0.0.1:7000"),
        ("192.0.2.1", ["https://[2001:db8::1]/x"], "IPv4 address"),
        ("127.0.0.1", ["http://192.0.2.7:80"], "reaches this machine alone"),
        ("::1", ["http://[2001:db8::1]"], "reaches this machine alone"),
    ],
)
def test_bind_leads_to_no_directory(bind: str, urls: list[str], said: str) -> None:
    with pytest.raises(Usage, match=re.escape(said)):
        check_reach(bind, of_directories(urls))


@pytest.mark.parametrize(
    "bind, urls",
    [
        (None, ["http://127.0.0.1:7000"]),
        ("127.0.0.9", ["http://127.0.0.1:7000"]),
        ("::1", ["http://127.0.0.1:7000", "http://[::1]:7000"]),
        ("::1", ["http://localhost:7000"]),
        ("192.0.2.1", ["http://127.0.0.1:7000"]),
    ],
)
def test_bind_may_lead_to_a_directory(bind: str | None, urls: list[str]) -> None:
    check_reach(bind, of_directories(urls))


def of_directories(urls: list[str]) -> NetworkFile:
    return NetworkFile("n", 1, tuple(Authority(url, bytes([n] * 32)) for n, url in enumerate(urls)))


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize(
    ("command", "status"), [("host", 0), ("relay", 0), ("directory", 0), ("network", 0), ("whisper", 1)]
)
def test_a_signal_in_the_first_moment_ends_what_runs_for_ever_as_any_later_one(
    command: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def run_command(arguments: list[str]) -> int:
        os.kill(os.getpid(), signal.SIGTERM)
        raise AssertionError("went on")

    monkeypatch.setattr("onionshh.cli.app.run_command", run_command)
    assert main([command]) == status
