"""What `directory` says while it runs."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli.directory import check_params, watch
from onionshh.cli.failures import Usage
from tests.client.world import small


async def test_a_list_that_is_made_no_more_is_said_once_and_so_is_its_end(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The disk refuses for an hour of a network with a consensus every minute."""
    replace = os.replace

    def refuse(source: Path, target: Path) -> None:
        if target.is_relative_to(net.folder / "authority"):
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(source, target)

    async with small(3) as net, trio.open_nursery() as nursery:
        nursery.start_soon(watch, net.authority)
        await trio.sleep(600)
        assert capsys.readouterr().err == ""
        with monkeypatch.context() as patched:
            patched.setattr(os, "replace", refuse)
            await trio.sleep(3600)
            assert capsys.readouterr().err == (
                "onionshh: no new consensus is made; the last one serves while it is valid.\n"
            )
        await trio.sleep(600)
        assert capsys.readouterr().err == "onionshh: a new consensus is out again.\n"
        nursery.cancel_scope.cancel()


async def test_how_many_are_listed_is_said_when_it_changes(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with small(2) as net, trio.open_nursery() as nursery:
        nursery.start_soon(watch, net.authority)
        await trio.sleep(300)
        added = await net.add_relay()
        await net.settled()
        await trio.sleep(300)
        nursery.cancel_scope.cancel()
    said = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said == ["2 relays listed", "3 relays listed", f"relay relay3 ({added.id}) came"]


@pytest.mark.parametrize(
    "host, overrides, said",
    [
        ("127.0.0.1", {"no_such": 1}, "There is no parameter 'no_such'"),
        ("192.0.2.1", {"interval_seconds": 0}, "interval_seconds must be between"),
        ("127.0.0.1", {"window": 100}, "ack_every must divide window"),
    ],
)
def test_parameters_that_cannot_be_are_refused_before_anything_is_written(
    host: str, overrides: dict[str, int], said: str
) -> None:
    with pytest.raises(Usage, match=said):
        check_params(host, overrides)
    check_params(host, {"interval_seconds": 60})
