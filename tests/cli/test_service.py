"""What systemd is told: the datagrams as they come, and that nothing of it can fail a program."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli import service
from onionshh.cli.service import STATUS_BYTES, watchdog_seconds


@pytest.fixture(params=["path", "abstract"])
def manager(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The socket of a service manager, which reads later."""
    name = str(tmp_path / "notify") if request.param == "path" else f"@onionshh-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(name.replace("@", "\0"))
        listening.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield listening


def heard(manager: socket.socket) -> list[str]:
    found = []
    with suppress(BlockingIOError):
        while True:
            found.append(manager.recv(65536).decode())
    return found


def test_each_word_is_one_datagram(manager: socket.socket) -> None:
    service.ready("links are taken")
    service.status("listed")
    service.stopping("leaving")
    service.stopping()
    assert heard(manager) == [
        "READY=1\nSTATUS=links are taken",
        "STATUS=listed",
        "STOPPING=1\nSTATUS=leaving",
        "STOPPING=1",
    ]


@pytest.mark.parametrize("text", ["two\nREADY=1", "two\r\nREADY=1", "\0", "\ud800"])
def test_a_status_is_one_line_and_no_other_word(manager: socket.socket, text: str) -> None:
    service.status(text)
    (said,) = heard(manager)
    assert said.startswith("STATUS=")
    assert "\n" not in said


def test_a_status_is_bounded_and_cut_between_characters(manager: socket.socket) -> None:
    service.status("é" * STATUS_BYTES)
    (said,) = heard(manager)
    assert said == "STATUS=" + "é" * (STATUS_BYTES // 2)


@pytest.mark.parametrize(
    "name", ["", "relative", "/no/such/socket", "/" + "x" * 200, "vsock:2:1234", "@", "/"]
)
def test_a_socket_that_is_not_there_costs_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", name)
    service.ready("x")
    monkeypatch.delenv("NOTIFY_SOCKET")
    service.ready("x")


def test_a_manager_that_reads_nothing_is_not_waited_for(manager: socket.socket) -> None:
    for _ in range(10_000):
        service.status("x" * STATUS_BYTES)
    assert heard(manager)


async def test_signs_of_life_come_twice_in_the_time_that_is_allowed(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "30000000")
    with trio.move_on_after(59):
        await service.stay_alive()
    assert heard(manager) == ["WATCHDOG=1"] * 4


async def test_without_a_watchdog_there_are_none(
    manager: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WATCHDOG_USEC", raising=False)
    await service.stay_alive()
    assert heard(manager) == []


@pytest.mark.parametrize(
    "environment, seconds",
    [
        ({}, None),
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": str(os.getpid())}, 1.5),
        ({"WATCHDOG_USEC": "1500000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({"WATCHDOG_USEC": "9" * 30}, None),
    ],
)
def test_the_time_of_the_watchdog(environment: dict[str, str], seconds: float | None) -> None:
    assert watchdog_seconds(environment) == seconds
