"""Values of options as a person types them."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click
import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.options import (
    DURATION,
    PATH,
    check_bind,
    check_reach,
    host_port,
    is_wildcard,
    via_of,
    via_option,
)
from onionshh.config import Authority, NetworkFile
from onionshh.net.via import Via


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


# Times


@pytest.mark.parametrize(
    "typed, seconds",
    [
        ("90s", 90),
        ("30m", 1800),
        ("3h", 10_800),
        ("3d", 259_200),
        ("7d", 604_800),
        ("90", 90),
        ("1.5h", 5400),
        (".5", 0.5),
        (" 5m ", 300),
        ("0", 0),
        (600.0, 600),
    ],
)
def test_times_as_people_write_them(typed: str | float, seconds: float) -> None:
    assert DURATION.convert(typed, None, None) == seconds


@pytest.mark.parametrize(
    "typed", ["", "h", "-1", "1 h", "1w", "1H", "3h30m", "nan", "inf", "1e9", "٣s", "1_0", "9" * 400, "1s\ns"]
)
def test_what_is_not_a_time(typed: str) -> None:
    with pytest.raises(click.BadParameter, match="write 90s, 30m, 3h or 3d"):
        DURATION.convert(typed, None, None)


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


def test_a_proxy_is_checked_and_its_password_never_repeated() -> None:
    @click.command()
    @via_option
    def command(via: str | None) -> None:
        given.append(via_of(via))

    given: list[Via | None] = []
    for arguments, environment, via in (
        ([], {}, None),
        (["--via", "tor"], {"ONIONSHH_VIA": "socks5://h:1"}, Via("127.0.0.1", 9050, tor=True)),
        ([], {"ONIONSHH_VIA": "socks5://me:pw@h:1"}, Via("h", 1, user=b"me", password=b"pw")),
    ):
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            command.main(arguments, standalone_mode=False)
        assert given.pop() == via
    with pytest.raises(Usage) as raised:
        command.main(["--via", "http://me:s3cret@h:1"], standalone_mode=False)
    assert "--via: that is not a proxy" in str(raised.value)
    assert "s3cret" not in str(raised.value)


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
