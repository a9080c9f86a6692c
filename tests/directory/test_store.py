"""What an authority keeps on disk: made once, held by one process, read back whole or refused in words."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from onionshh.config import Authority, NetworkFile, format_network_file, parse_network_file
from onionshh.core.base.params import Params
from onionshh.directory import store as module
from onionshh.directory.consensus import RANDOM_KEPT_MOST
from onionshh.directory.entry import Entry
from onionshh.directory.history import POINTS_MOST, Point
from onionshh.directory.signing import sign_consensus
from onionshh.directory.store import KeptState, create_or_open
from onionshh.errors import BadData, BadNetworkFile, DataInUse
from onionshh.wire.consensus import Consensus, SharedRandom
from onionshh.wire.descriptor import Address
from onionshh.wire.packing import pack
from tests.directory import old
from tests.directory.world import AUTHORITY_KEY, NETWORK, WALL, descriptor, store_in
from tests.seeded import seeded

URL = "http://127.0.0.1:7000"


def start(path: Path, *, seed: int = 1, name: str | None = None, file: str = "network.toml") -> NetworkFile:
    """One start and stop of a directory; the network it found itself in."""
    with create_or_open(path / "data", path / file, url=URL, name=name, random_bytes=seeded(seed)) as store:
        assert store.key.public in store.network.keys
        return store.network


def test_the_first_start_makes_the_key_and_writes_the_network_file(tmp_path: Path) -> None:
    network = start(tmp_path, name="mine")
    assert network.name == "mine"
    assert network.threshold == 1
    assert [authority.url for authority in network.authorities] == [URL]
    assert parse_network_file((tmp_path / "network.toml").read_text()) == network
    assert stat.S_IMODE((tmp_path / "data" / "authority").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "network.toml").stat().st_mode) == 0o644


def test_a_later_start_finds_the_same_network(tmp_path: Path) -> None:
    first = start(tmp_path, seed=1)
    assert start(tmp_path, seed=2) == first
    (tmp_path / "network.toml").unlink()
    assert start(tmp_path, seed=3) == first


def test_networks_without_a_name_get_different_ones(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    assert start(tmp_path / "a", seed=1).name != start(tmp_path / "b", seed=2).name


def test_an_edited_url_or_more_authorities_are_the_operators_business(tmp_path: Path) -> None:
    ours = start(tmp_path)
    more = NetworkFile(
        ours.name, 2, (Authority("https://x.example", ours.authorities[0].key), Authority(URL, b"o" * 32))
    )
    (tmp_path / "network.toml").write_text(format_network_file(more))
    assert start(tmp_path) == more


def test_a_second_process_is_told_that_the_folder_is_in_use(tmp_path: Path) -> None:
    with create_or_open(tmp_path / "data", tmp_path / "n.toml", url=URL, random_bytes=seeded(1)):
        with pytest.raises(DataInUse, match="in use"):
            start(tmp_path)
    start(tmp_path, file="n.toml")


def test_another_networks_file(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_text(format_network_file(NETWORK))
    with pytest.raises(BadNetworkFile, match="another directory"):
        start(tmp_path)
    (tmp_path / "network.toml").unlink()
    start(tmp_path)
    name = start(tmp_path).name
    for other in (NETWORK, NetworkFile(name, 1, NETWORK.authorities)):
        (tmp_path / "network.toml").write_text(format_network_file(other))
        with pytest.raises(BadNetworkFile, match="differs"):
            start(tmp_path)


def test_another_name(tmp_path: Path) -> None:
    start(tmp_path, name="mine")
    assert start(tmp_path, name="mine").name == "mine"
    with pytest.raises(BadNetworkFile, match="'mine', not 'yours'"):
        start(tmp_path, name="yours")
    with pytest.raises(BadNetworkFile, match="letters"):
        start(tmp_path, name="<b>")


def test_a_network_file_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "network.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(BadNetworkFile, match="save it as UTF-8"):
        start(tmp_path)
    (tmp_path / "network.toml").unlink()
    with pytest.raises(BadData, match="Cannot write"):
        start(tmp_path, file="no/such/folder.toml")


def test_a_damaged_key_is_never_replaced(tmp_path: Path) -> None:
    start(tmp_path)
    path = tmp_path / "data" / "authority"
    good = path.read_bytes()
    for bad, says in ((good[:-1], "damaged"), (b"", "damaged"), (b"\x93\x02" + good[2:], "another version")):
        path.write_bytes(bad)
        with pytest.raises(BadData, match=says):
            start(tmp_path)
        assert path.read_bytes() == bad


FOUR, SIX = Address.of("8.0.4.1", 9001), Address.of("2600::4", 9001)
ONION = Address.of("a2" * 28 + ".onion", 9001)
STATE = KeptState(
    valid_after=WALL,
    shared_random=(SharedRandom(3, b"r" * 32, 5), SharedRandom(4, b"s" * 32, 6)),
    entries=(
        Entry(descriptor(1), WALL, descriptor(1), WALL - 9, WALL - 3, 1, "refused", WALL, 0, WALL - 9),
        Entry(descriptor(2, published=WALL + 1), WALL, None, 0, 0, 3, "no route", WALL),
        Entry(descriptor(3), WALL, descriptor(3), WALL - 9, WALL, 0, "", WALL, WALL - 8, WALL - 7),
        Entry(
            descriptor(4, addresses=(FOUR, SIX, ONION)),
            WALL,
            descriptor(4, addresses=(SIX,)),
            WALL - 9,
            WALL,
            0,
            "no route",
            WALL,
            WALL - 8,
            WALL - 7,
            {FOUR: "no route", ONION: "only tor reaches it"},
        ),
    ),
    history=(Point(WALL - 60, 3, 2**50, 2, 1, 4), Point(WALL, 2, 0, 1, 0, 0)),
)


def test_state_round_trip(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.load_state() == KeptState()
    store.save_state(STATE.encode())
    assert store.load_state() == STATE
    assert STATE.encode()[1] == module.STATE_VERSION
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o600


def test_damaged_state_is_refused_in_words(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    good = STATE.encode()
    entry = pack((module.STATE_VERSION, 0, (), [(b"no descriptor", b"", 0, 0, 0, 0, "", 0, 0, 0, ())], ()))
    large = b"\x95\xcc\x03" + good[2:]
    for bad in (
        b"",
        good[:-1],
        good + b"\x00",
        b"junk",
        entry,
        large,
        old.state()[:-1],
        old.state_2()[:-1],
        b"\x95\x01" + good[2:],
        b"\x95\x02" + good[2:],
    ):
        (tmp_path / "state").write_bytes(bad)
        with pytest.raises(BadData, match="damaged"):
            store.load_state()
    (tmp_path / "state").write_bytes(b"\x95\x04" + good[2:])
    with pytest.raises(BadData, match="another version"):
        store.load_state()


def test_a_folder_of_version_1_is_opened_and_brought_up(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o700)
    old.folder(data)
    with create_or_open(data, tmp_path / "network.toml", url=URL, random_bytes=seeded(1)) as store:
        assert (store.key.public, store.network.name) == (AUTHORITY_KEY.public, NETWORK.name)
        state = store.load_state()
        assert (state.valid_after, state.shared_random) == (WALL, old.RANDOM)
        assert [entry.newest.address for entry in state.entries] == [
            "8.0.1.1:9001",
            "[2001:db8::2]:9001",
            "8.0.3.1:9001",
        ]
        assert [entry.first_seen for entry in state.entries] == [WALL - 9 * 86_400, WALL - 86_400, 0]
        assert store.load_consensus() is None
        store.save_state(state.encode())
        assert store.load_state() == state
    assert (data / "state").read_bytes()[1] == module.STATE_VERSION


def test_a_state_of_version_1_with_an_address_that_is_none_is_damaged(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    (tmp_path / "state").write_bytes(old.state(("example.org", "::1")))
    with pytest.raises(BadData, match="damaged"):
        store.load_state()


def test_a_state_has_room_for_all_that_is_kept(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    rows = tuple(SharedRandom(period, bytes(32), 1) for period in range(RANDOM_KEPT_MOST))
    store.save_state(KeptState(WALL, rows).encode())
    assert store.load_state().shared_random == rows
    store.save_state(KeptState(WALL, (*rows, rows[0])).encode())
    with pytest.raises(BadData, match="damaged"):
        store.load_state()


def test_a_folder_of_version_2_is_brought_up(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    (tmp_path / "state").write_bytes(old.state_2())
    state = store.load_state()
    assert [entry.newest for entry in state.entries] == [descriptor(1), descriptor(2)]
    assert state.history == ()
    store.save_state(state.encode())
    assert store.load_state() == state


def test_a_state_has_room_for_a_day_and_no_more(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    points = tuple(Point(WALL + number, 1, 1, 1, 0, 0) for number in range(POINTS_MOST))
    store.save_state(KeptState(WALL, history=points).encode())
    assert store.load_state().history == points
    store.save_state(KeptState(WALL, history=(*points, points[0])).encode())
    with pytest.raises(BadData, match="damaged"):
        store.load_state()


def test_the_last_consensus(tmp_path: Path) -> None:
    store = store_in(tmp_path)
    assert store.load_consensus() is None
    consensus = Consensus("test", WALL, WALL + 1, WALL + 2, Params().to_pairs(), (), ())
    store.save_consensus(sign_consensus(consensus.encode_body(), [AUTHORITY_KEY]))
    assert store.load_consensus() == consensus
    (tmp_path / "consensus").write_bytes(b"junk")
    assert store.load_consensus() is None
