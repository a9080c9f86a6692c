"""Values of options as a person types them."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from onionshh.cli.failures import Usage, explain, one_line, worst
from onionshh.cli.folders import network_folder
from onionshh.cli.options import check_bind, host_port, is_wildcard
from onionshh.cli.talk import printable
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


def test_a_terminal_is_given_nothing_to_obey() -> None:
    assert printable("é\x1b[2J\n".encode()) == "é\\x1b[2J\n"
    assert printable(b"\xff") == "�"
    assert one_line("a\x1b[2J\r\nb") == "a [2J b"


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


def test_signals_are_given_back() -> None:
    from onionshh.cli import main

    before = signal.getsignal(signal.SIGTERM)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
