"""An authority and relays in this process, on loopback."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import trio
from trio.testing import MockClock

from onionshh.cli.one_machine import INTERVAL_SECONDS, LOOPBACK, listed, start_authority, start_relays
from onionshh.config import NetworkFile
from onionshh.net.network_file import read_network_file
from tests.client.world import small


def port_of(network: NetworkFile) -> int:
    url = urlsplit(network.authorities[0].url)
    assert url.hostname == LOOPBACK
    assert url.port is not None
    return url.port


async def test_who_is_listed_in_the_order_of_their_numbers(autojump_clock: MockClock) -> None:
    async with small(11) as net:
        names = await listed(net.authority, 11)
        assert names == [f"relay{number}" for number in range(1, 12)]
        with trio.move_on_after(300) as waiting:
            await listed(net.authority, 12)
        assert waiting.cancelled_caught
        await net.add_relay()
        with trio.fail_after(300):
            assert len(await listed(net.authority, 12)) == 12


async def test_an_authority_takes_another_port_when_its_own_is_taken(tmp_path: Path) -> None:
    """And the file that it writes leads to it."""
    files = [tmp_path / "one.toml", tmp_path / "two.toml"]
    with ExitStack() as held:
        async with trio.open_nursery() as nursery:
            first = await start_authority(held, nursery, tmp_path / "one", files[0], name="one")
            port = port_of(read_network_file(files[0]))
            await start_authority(held, nursery, tmp_path / "two", files[1], name="two", port=port)
            assert port_of(read_network_file(files[1])) not in (0, port)
            assert first.params.interval_seconds == INTERVAL_SECONDS
            nursery.cancel_scope.cancel()


async def test_relays_run_and_are_known_and_their_ports_are_given_back(tmp_path: Path) -> None:
    file = tmp_path / "net.toml"
    with ExitStack() as held:
        async with trio.open_nursery() as nursery:
            authority = await start_authority(held, nursery, tmp_path, file, name="here")
            await start_relays(held, nursery, tmp_path, read_network_file(file), 2)
            for number in (1, 2):
                assert (tmp_path / f"relay{number}" / "relay-keys").stat().st_mode & 0o777 == 0o600
            with trio.fail_after(60):
                while authority.known < 2:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
