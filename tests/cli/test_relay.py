"""`onionshh relay`: what it tells the network of itself, and what it refuses to start with."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from trio.testing import MockClock

from onionshh.cli import main, relay
from onionshh.cli.failures import Usage
from onionshh.cli.relay import take_up
from onionshh.cli.relay_addresses import Places
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import RelayKeys
from onionshh.relay.publish import About
from tests.cli.conftest import network_file
from tests.client.world import small

Started = Callable[..., tuple[About, int]]
ID = "ab" * 32


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Started:
    """Everything that the command does until it would run: what the relay says of itself, and its rate."""
    file = network_file(tmp_path / "net.toml", 7000)
    make_relay = relay.make_relay
    made: list[tuple[About, int]] = []

    async def nothing() -> int:
        return 0

    def make(*given: Any, rate: int, **named: Any) -> object:
        made.append((given[3], rate))
        return make_relay(*given, rate=rate, **named)

    monkeypatch.setattr(relay, "make_relay", make)
    monkeypatch.setattr(relay, "run", lambda work, on, report: on.run_program(nothing))

    def start(*options: str) -> tuple[About, int]:
        common = ("relay", "--network", str(file), "--data", str(tmp_path / "data"))
        assert main([*common, *options]) == 0
        return made.pop()

    return start


def test_it_is_where_it_listens_unless_it_says_otherwise(started: Started) -> None:
    about, rate = started("--listen", "127.0.0.1:0")
    assert (about.host, rate) == ("127.0.0.1", 0)
    assert about.port > 0
    about, _ = started("--listen", "0.0.0.0:0", "--advertise", "192.0.2.7:9001")
    assert (about.host, about.port) == ("192.0.2.7", 9001)
    about, _ = started("--listen", "127.0.0.1:0", "--advertise", "[2001:DB8:0::1]:9001")
    assert about.host == "2001:db8::1"


def test_a_rate_is_kept_and_told(started: Started) -> None:
    about, rate = started("--listen", "127.0.0.1:0", "--rate", "50000", "--nickname", "mine")
    assert (about.nickname, about.bandwidth, rate) == ("mine", 50_000, 50_000)


def test_its_own_id_in_the_list_of_its_family_says_nothing(started: Started, tmp_path: Path) -> None:
    """So that one list does for all relays of a family."""
    ours = RelayKeys(DataDirectory(tmp_path / "data"), os.urandom).relay_id
    about, _ = started("--listen", "127.0.0.1:0", "--family", ours.hex(), "--family", ID, "--family", ID)
    assert about.family == (bytes.fromhex(ID),)


@pytest.mark.parametrize(
    "options, said",
    [
        (("--listen", "0.0.0.0:0"), "is not an address that others can reach: add --advertise"),
        (("--listen", "127.0.0.1:0", "--advertise", "relay.example:9001"), "--advertise needs an IP address"),
        (("--listen", "127.0.0.1:0", "--advertise", "0.0.0.0:9001"), "--advertise needs an IP address"),
        (("--listen", "127.0.0.1:0", "--advertise", "192.0.2.7:0"), "--advertise needs an IP address"),
        (("--listen", "127.0.0.1:0", "--nickname", "no blanks"), "--nickname needs 1 to 19 letters"),
        (("--listen", "127.0.0.1:0", "--nickname", "x" * 20), "--nickname needs 1 to 19 letters"),
        (
            ("--listen", "127.0.0.1:0", "--family", "abc"),
            "--family needs a relay's id, 64 hex",
        ),
        (("--listen", "127.0.0.1:0", "--family", "ab"), "--family needs a relay's id, 64 hex"),
        (("--listen", "127.0.0.1:0", "--rate", "-1"), "--rate"),
    ],
)
def test_what_it_does_not_start_with(
    options: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = network_file(tmp_path / "net.toml", 7000)
    assert main(["relay", "--network", str(file), "--data", str(tmp_path / "data"), *options]) == 2
    assert said in capsys.readouterr().err


def test_a_family_has_an_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = network_file(tmp_path / "net.toml", 7000)
    members = [word for number in range(1000) for word in ("--family", f"{number:064x}")]
    common = ("relay", "--network", str(file), "--data", str(tmp_path / "data"), "--listen", "127.0.0.1:0")
    assert main([*common, *members]) == 2
    assert "--family can be given at most" in capsys.readouterr().err


async def test_a_relay_says_something_else_of_itself_and_its_links_stay(autojump_clock: MockClock) -> None:
    async with small(3) as net:
        relay = net.relays[0].relay
        links = relay.links.statistics()
        now = {"nickname": "other", "advertise": (), "family": (ID,), "rate": 50_000}
        bound = (relay.publisher.about.host, relay.publisher.about.port)
        places = Places((), relay.publisher.about.addresses, (bound,), (), None)
        assert take_up(relay, now, places) == ()
        await trio.sleep(130)
        consensus = net.authority.consensus
        assert consensus is not None
        (row,) = [row for row in consensus.relays if row.identity == relay.keys.relay_id]
        assert (row.nickname, row.family) == ("other", (bytes.fromhex(ID),))
        assert relay.publisher.about.bandwidth == 50_000
        assert relay.links.statistics().relays == links.relays
        for wrong in ({"nickname": "not good"}, {"family": ("x",)}, {"advertise": ("nowhere:1",)}):
            with pytest.raises(Usage):
                take_up(relay, {**now, **wrong}, places)
        assert relay.publisher.about.nickname == "other"
