"""`--metrics`: where it listens, what it refuses, whom it warns, and what it costs those who do not ask."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli import main
from onionshh.cli.failures import Usage
from onionshh.cli.metrics.option import check_metrics, is_loopback, metrics_listener, serve_metrics, where
from onionshh.errors import Error
from tests.cli.conftest import network_file


@pytest.mark.parametrize(
    "given, meant",
    [
        ("9100", ("127.0.0.1", 9100)),
        (":9100", ("127.0.0.1", 9100)),
        ("0", ("127.0.0.1", 0)),
        ("127.0.0.1:9100", ("127.0.0.1", 9100)),
        ("[::1]:9100", ("::1", 9100)),
        ("localhost:9100", ("localhost", 9100)),
        ("0.0.0.0:9100", ("0.0.0.0", 9100)),
    ],
)
def test_a_port_alone_is_on_this_machine(given: str, meant: tuple[str, int]) -> None:
    assert where(given) == meant
    check_metrics(given)


@pytest.mark.parametrize("given", ["", ":", "x", "::1:9100", "127.0.0.1", "65536", ":-1", "127.0.0.1:x", "٣"])
def test_anything_else_is_refused_with_a_sentence(given: str) -> None:
    with pytest.raises(Usage, match="--metrics needs HOST:PORT"):
        check_metrics(given)
    check_metrics(None)


def test_what_is_loopback() -> None:
    assert all(map(is_loopback, ("127.0.0.1", "127.9.9.9", "::1", "localhost")))
    assert not any(map(is_loopback, ("0.0.0.0", "::", "192.0.2.7", "example.org", "")))


def test_without_the_option_nothing_listens(capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_listener(None, "relay") as listener:
        assert listener is None
    assert capsys.readouterr().err == ""


async def test_without_a_listener_it_only_waits(autojump_clock: MockClock) -> None:
    with trio.move_on_after(3600) as scope:
        await serve_metrics(None, "relay", lambda: ())
    assert scope.cancelled_caught


def test_on_loopback_it_says_where_and_warns_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_listener("0", "relay"):
        pass
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("onionshh: numbers for Prometheus are at http://127.0.0.1:")
    assert line.endswith("/metrics")


@pytest.mark.parametrize("kind", ["relay", "directory", "host"])
def test_elsewhere_it_warns_in_one_sentence(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    with metrics_listener("0.0.0.0:0", kind):
        pass
    warning, _ = capsys.readouterr().err.splitlines()
    assert warning.startswith("onionshh: --metrics at 0.0.0.0 can be read by others, and ")
    assert warning.endswith("keep it on this machine.")


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on."""
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def test_a_port_in_use_is_one_sentence(taken: int) -> None:
    said = f"Cannot listen on 127.0.0.1:{taken}: .* or give another --metrics address."
    with pytest.raises(Error, match=said), metrics_listener(str(taken), "relay"):
        pass


@pytest.mark.parametrize("command", ["relay", "directory", "host"])
def test_each_command_has_it(
    command: str, taken: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.toml"
    if command != "directory":
        network_file(file, 7000)
    listen = () if command == "host" else ("--listen", "127.0.0.1:0")
    common = (command, "--network", str(file), "--data", str(tmp_path / "data"), *listen)
    assert main([*common, "--metrics", "nowhere"]) == 2
    assert "--metrics needs HOST:PORT" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()
    assert main([*common, "--metrics", f":{taken}"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.endswith("give another --metrics address.")


def test_without_the_option_nothing_of_it_is_loaded() -> None:
    script = (
        "import sys, onionshh.cli.relay, onionshh.cli.host;"
        "print(sorted({name.partition('.')[0] for name in sys.modules}"
        " & {'prometheus_client', 'starlette', 'wsgiref'}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
