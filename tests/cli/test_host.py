"""The command `host`: what it refuses, and what it takes up while it runs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli import host, main
from onionshh.cli.app import run_command
from onionshh.cli.config import reloading
from tests.cli.conftest import Screen, network_file
from tests.client.world import QUIET, small, until

Captured = pytest.CaptureFixture[str]


async def test_a_reload_begins_and_ends_answers_and_files(
    tmp_path: Path,
    screen: Screen,
    autojump_clock: MockClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Captured,
) -> None:
    """From nothing to an echo and files, and back to nothing, while the endpoint stays reachable."""
    file = tmp_path / "made.toml"
    works: list[Callable[[], Awaitable[int]]] = []
    reloads: list[Callable[[], None]] = []
    async with small(**QUIET) as net, net.join("visitor") as visitor, trio.open_nursery() as nursery:
        nothing = f'[host]\nnetwork = "{net.folder / "network.toml"}"\ndata = "me"\nintroducers = 2\n'
        file.write_text(nothing)
        monkeypatch.setattr(host, "run", lambda work, **_: works.append(work))
        monkeypatch.setattr(host, "join", lambda *_, **__: net.join("host"))
        monkeypatch.setattr(reloading, "reload_by", reloads.append)
        run_command(["host", "--config", str(file)])
        nursery.start_soon(works[0])
        await until(lambda: " reachable through " in screen.text)
        address = screen.lines[0].split()[-1]
        async with visitor.contact(address) as contact:
            assert (await contact.whisper(b"first")).status == "delivered"
            await until(lambda: "  | first" in screen.lines)
            file.write_text(nothing + 'echo = true\nreceive = "files"\n')
            reloads[0]()
            assert await contact.ask(b"second") == b"second"
            await contact.transfer(b"a file").final()
            await until(lambda: "transfer of 6 bytes" in screen.text)
            file.write_text(nothing + "no-receipts = true\n")
            reloads[0]()
            assert (await contact.whisper(b"third")).status == "delivered"
            await until(lambda: "  | third" in screen.lines)
        nursery.cancel_scope.cancel()
    assert [path.read_bytes() for path in (tmp_path / "files").iterdir()] == [b"a file"]
    said = capsys.readouterr().err
    assert said.count("changed: echo, receive.") == 2
    assert "no-receipts needs a restart" in said
    assert [line for line in screen.lines if line.startswith("  | ")] == ["  | first", "  | third"]


@pytest.mark.parametrize(
    "options, said",
    [
        (("--echo", "--exec", "cat"), "--echo and --exec exclude each other"),
        (("--exec", "no-such-program-anywhere"), "there is no no-such-program-anywhere"),
        (("--exec", "'"), "cannot be read"),
        (("--bind", "192.0.2.1"), "--bind needs an IP address of this machine"),
    ],
)
def test_what_cannot_be_is_said_before_a_folder_is_made(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = network_file(tmp_path / "net.toml", 7000)
    data = tmp_path / "me"
    assert main(["host", "--network", str(file), "--data", str(data), *options]) == 2
    assert said in capsys.readouterr().err
    assert not data.exists()
