"""Where a relay listens and what it advertises, as typed."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.relay_addresses import opened, wanted
from onionshh.net.onion import OnionKey, OverTorListener
from onionshh.net.store import DataDirectory
from onionshh.net.tor import Control
from onionshh.wire.descriptor import Address
from tests.seeded import seeded

FOUR, SIX = "192.0.2.7:9001", "[2001:db8::7]:9001"


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as trial:
            trial.bind(("::1", 0))
    except OSError:
        return False
    return True


@pytest.mark.parametrize(
    ("listen", "advertise", "onion", "said"),
    [
        ((), (), None, "Where are links taken"),
        ((), (FOUR,), "127.0.0.1:9051", "--advertise needs --listen"),
        (("127.0.0.1:0", "127.0.0.2:0"), (), None, "--listen can be given twice: once for IPv4"),
        (("[::1]:0", "[::2]:0"), (), None, "--listen can be given twice"),
        (("127.0.0.1:0",), (FOUR, "192.0.2.8:1"), None, "--advertise can be given twice"),
        (("0.0.0.0:0",), (), None, "add --advertise"),
        (("127.0.0.1:0", "[::]:0"), (), None, "--listen [::]:0 is not an address that others can reach"),
        (("127.0.0.1:0",), ("example.org:1",), None, "--advertise needs an IP address"),
        (("127.0.0.1:0",), ("192.0.2.7:0",), None, "--advertise needs an IP address"),
        ((), (), "9051", "--onion needs HOST:PORT"),
        ((), (), "[::1]:9051", "--onion needs tor's control port"),
        ((), (), "tor.example:9051", "--onion needs tor's control port"),
        ((), (), "127.0.0.1:0", "--onion needs tor's control port"),
    ],
)
def test_mistakes(listen: tuple[str, ...], advertise: tuple[str, ...], onion: str | None, said: str) -> None:
    with pytest.raises(Usage) as raised:
        wanted(listen, advertise, onion)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("text", "control"),
    [
        ("127.0.0.1:9051", Control("127.0.0.1", 9051, password="s3cret")),
        ("localhost:9151", Control("127.0.0.1", 9151, password="s3cret")),
        ("/run/tor/control", Control(path=Path("/run/tor/control"), password="s3cret")),
    ],
)
def test_where_tors_control_port_is(monkeypatch: pytest.MonkeyPatch, text: str, control: Control) -> None:
    monkeypatch.setenv("ONIONSHH_TOR_PASSWORD", "s3cret")
    assert wanted((), (), text).control == control


def test_a_relay_is_reached_where_it_listens(tmp_path: Path) -> None:
    with ExitStack() as held:
        places = opened(wanted(("127.0.0.1:0",), (), None), DataDirectory(tmp_path), held)
        (listener,) = places.listeners
        assert places.addresses == (Address.of(*listener.address),)
        assert places.service is None
    assert list(tmp_path.iterdir()) == []


def test_a_relay_is_reached_where_it_says(tmp_path: Path) -> None:
    with ExitStack() as held:
        options = wanted(("127.0.0.1:0",), (SIX, FOUR), None)
        places = opened(options, DataDirectory(tmp_path), held)
        assert [str(address) for address in places.addresses] == [FOUR, SIX]
        assert len(places.listeners) == 1


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_both_families_on_one_port(tmp_path: Path) -> None:
    with ExitStack() as held:
        first = opened(wanted(("127.0.0.1:0",), (), None), DataDirectory(tmp_path), held)
        port = first.addresses[0].port
    with ExitStack() as held:
        listen = (f"0.0.0.0:{port}", f"[::]:{port}")
        places = opened(wanted(listen, (FOUR, SIX), None), DataDirectory(tmp_path), held)
        assert [listener.address for listener in places.listeners] == [("0.0.0.0", port), ("::", port)]


def test_an_onion_service_alone_and_beside_an_address(tmp_path: Path) -> None:
    folder = DataDirectory(tmp_path)
    key = OnionKey.load_or_create(folder, seeded(1))
    with ExitStack() as held:
        alone = opened(wanted((), (), "127.0.0.1:9051"), folder, held)
        assert alone.addresses == (key.address,)
        assert [type(listener) for listener in alone.listeners] == [OverTorListener]
        assert alone.service is not None
        both = opened(wanted(("127.0.0.1:0",), (FOUR,), "127.0.0.1:9051"), folder, held)
        assert both.addresses == (Address.of("192.0.2.7", 9001), key.address)
        assert len(both.listeners) == 2


def test_without_stem_there_is_no_onion_service(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "onionshh.net.tor")
    monkeypatch.setitem(sys.modules, "stem", None)
    with pytest.raises(Usage, match=r"--onion needs stem: install onionshh\[tor\]"):
        wanted((), (), "127.0.0.1:9051")
