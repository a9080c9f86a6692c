"""Values of options as a person types them."""

from __future__ import annotations

import signal
import stat
from pathlib import Path

import pytest
import trio

from onionshh.cli.failures import Usage, explain, one_line, worst
from onionshh.cli.folders import network_folder
from onionshh.cli.options import check_bind, host_port, is_wildcard
from onionshh.cli.program import ProgramFailed, parse_command, run_program
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


# --exec


def script(folder: Path, text: str) -> list[str]:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return [str(path)]


async def test_a_program_answers_with_what_it_writes(tmp_path: Path) -> None:
    assert await run_program(script(tmp_path, "tr a-z A-Z"), b"hello\xff") == b"HELLO\xff"


async def test_a_program_need_not_read(tmp_path: Path) -> None:
    assert await run_program(script(tmp_path, "echo hi"), bytes(65535)) == b"hi\n"


@pytest.mark.parametrize(
    "text, why, seconds",
    [
        ("exit 3", "status 3", 60.0),
        ("head -c 65536 /dev/zero", "more than 65535 bytes", 60.0),
        ("sleep 60 & sleep 60", "took more than", 0.2),
    ],
)
async def test_a_program_that_fails_says_why(tmp_path: Path, text: str, why: str, seconds: float) -> None:
    with pytest.raises(ProgramFailed, match=why):
        await run_program(script(tmp_path, text), b"", seconds=seconds)


async def test_the_largest_reply(tmp_path: Path) -> None:
    assert len(await run_program(script(tmp_path, "head -c 65535 /dev/zero"), b"")) == 65535


async def test_a_program_ends_with_us(tmp_path: Path) -> None:
    """Its whole session: nothing it started is left."""
    command = script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; sleep 60")
    child = tmp_path / "child"
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run_program, command, b"")
        with trio.fail_after(60):
            while not (child.exists() and child.read_text().endswith("\n")):
                await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    pid = int(child.read_text())
    with trio.fail_after(5):
        while _alive(pid):
            await trio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_command_may_have_arguments() -> None:
    assert parse_command("sh -c 'a b'")[1:] == ["-c", "a b"]


@pytest.mark.parametrize("text", ["", "no-such-program-here", "'", "/etc/passwd"])
def test_a_command_that_cannot_run(text: str) -> None:
    with pytest.raises(Usage, match="--exec"):
        parse_command(text)


def test_signals_are_given_back() -> None:
    from onionshh.cli import main

    before = signal.getsignal(signal.SIGTERM)
    assert main(["--version"]) == 0
    assert signal.getsignal(signal.SIGTERM) is before
