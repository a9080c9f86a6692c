"""What `directory` says while it runs."""

from __future__ import annotations

import errno
import os
import re
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


async def test_who_comes_and_goes_is_said_and_how_many_are_listed(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with small(4) as net, trio.open_nursery() as nursery:
        nursery.start_soon(watch, net.authority)
        await trio.sleep(300)
        relay = await net.add_relay()
        await net.settled()
        await trio.sleep(300)
        await relay.stop()
        await trio.sleep(300)
        await net.add_relay(again=relay)
        await net.settled()
        await trio.sleep(300)
        nursery.cancel_scope.cancel()
    said = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    named = re.sub(r"\([0-9a-f]{8}\)", "(ID)", "\n".join(said)).splitlines()
    assert named == [
        "4 relays listed",
        "relay5 (ID) came: it is new, and answered its check",
        "5 relays listed",
        "relay5 (ID) left: it did not answer its last 2 checks: nothing listens at its address",
        "4 relays listed",
        "relay5 (ID) came back: it answers again",
        "5 relays listed",
    ]


async def test_a_network_of_too_few_relays_is_told_so(
    autojump_clock: MockClock, capsys: pytest.CaptureFixture[str]
) -> None:
    async with small(3) as net, trio.open_nursery() as nursery:
        nursery.start_soon(watch, net.authority)
        await trio.sleep(300)
        await net.add_relay()
        await net.settled()
        await trio.sleep(300)
        nursery.cancel_scope.cancel()
    said = [line.partition(" ")[2] for line in capsys.readouterr().out.splitlines()]
    assert said[0] == (
        "3 relays listed, not enough for whispers: a path takes 4 relays, and the network has 3"
    )
    assert said[2:] == ["4 relays listed"]


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


async def test_other_parameters_are_signed_from_the_next_consensus_on(autojump_clock: MockClock) -> None:
    """And relays and links stay."""
    async with small(2) as net:
        authority = net.authority
        authority.change(authority.params.with_overrides({"interval_seconds": 120, "cookies": 77}))
        with pytest.raises(ValueError, match="relays_per_ip from or to 0 needs a restart"):
            authority.change(authority.params.with_overrides({"relays_per_ip": 3}))
        await trio.sleep(61)
        first = authority.consensus
        assert first is not None
        assert (dict(first.params)["cookies"], dict(first.params)["interval_seconds"]) == (77, 120)
        assert first.fresh_until % 120 == 0
        await trio.sleep(240)
        later = authority.consensus
        assert later is not None
        assert later.valid_after % 120 == 0
        assert later.valid_after - first.valid_after in (180, 240)
        assert len(later.relays) == 2
        assert net.relays[0].relay.params().cookies == 77
