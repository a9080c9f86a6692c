"""What a relay says when it leaves, and for how long it may."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.cli import draining, main
from onionshh.cli.draining import drain_on_sigterm
from tests.cli.conftest import network_file
from tests.relay.test_serve import WALL, Operator


async def test_one_line_when_it_begins_and_one_when_it_ends(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[float] = []
    async with testing.network(3, wall_start=WALL, seed=1) as net, trio.open_nursery() as nursery:
        relay = Operator(net).relay
        await nursery.start(lambda task_status: relay.run(task_status=task_status))

        def drained_by(drain: Callable[[], Awaitable[None]], seconds: float) -> None:
            asked.append(seconds)
            nursery.start_soon(drain)

        monkeypatch.setattr(draining, "drained_by", drained_by)
        drain_on_sigterm(relay, 0)
        assert asked == []
        drain_on_sigterm(relay, 45)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    first, second = (line.partition(" ")[2] for line in capsys.readouterr().out.splitlines())
    assert first == "leaving: no new circuits; 0 circuits may go on for 45 s"
    assert second == "left after 0.0 s, with 0 circuits still open"
    assert asked == [45]


@pytest.mark.parametrize("seconds", ["-1", "3601", "soon", "nan"])
def test_how_long_is_checked(seconds: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = network_file(tmp_path / "net.toml", 7000)
    common = ("relay", "--network", str(file), "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    assert main([*common, "--drain-seconds", seconds]) == 2
    assert "--drain-seconds" in capsys.readouterr().err
