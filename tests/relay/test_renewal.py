"""A signing key that is replaced while the relay runs, in files and in a whole network."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.node import Node
from onionshh.core.base.classes import TALK
from onionshh.core.certificate import CLOCK_SECONDS, MOST_SECONDS
from onionshh.core.circuit.purpose import PathKind, Purpose
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData
from onionshh.net.circuits import Circuit
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import KEYS_FILE, RelayKeys
from onionshh.relay.master import new_signer
from onionshh.relay.renewal import Renewal
from onionshh.relay.serve import KEY_CHECK_SECONDS
from onionshh.relay.signing_file import SIGNING_FILE, write_signing
from onionshh.wire import messages as m
from tests.inside import inside
from tests.seeded import seeded

MASTER = SigningKey(b"m" * 32)
DAY = 86_400
NOW = 1_790_000_000
END = NOW + 30 * DAY


class Cared:
    """A relay's folder with a signing key until END, and what its operator is told."""

    def __init__(self, path: Path, caplog: pytest.LogCaptureFixture, *, end: int = END) -> None:
        self.folder = DataDirectory(path)
        self.said: list[str] = []
        self._log = caplog
        self._made = 0
        self.put(end)
        self.keys = RelayKeys(self.folder, seeded(1))
        self._renewal = Renewal(self.keys, self.folder, self.said.append)

    def put(self, end: int, master: SigningKey = MASTER) -> bytes:
        self._made += 1
        signer = new_signer(master, end, seeded(100 + self._made))
        write_signing(self.folder / SIGNING_FILE, signer)
        return signer.signing

    def look(self, now: int = NOW, *, earliest: int | None = None) -> bool:
        return self._renewal.look(now if earliest is None else earliest, now)

    def warned(self) -> list[str]:
        """The lines since the last call."""
        lines = [record.getMessage() for record in self._log.records if record.levelno >= logging.WARNING]
        self._log.clear()
        return lines

    def left(self, now: int) -> int | None:
        return self._renewal.seconds_left(now)


@pytest.fixture
def cared(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> Cared:
    return Cared(tmp_path, caplog)


def test_a_relay_starts_with_a_signing_key_alone(cared: Cared) -> None:
    assert cared.keys.relay_id == MASTER.public
    assert not cared.look()
    assert (cared.said, cared.warned(), cared.left(NOW)) == ([], [], 30 * DAY)
    again = RelayKeys(cared.folder, seeded(2))
    assert again.relay_id == MASTER.public
    assert again.onion_keys() == cared.keys.onion_keys()
    assert again.signer.signing == cared.keys.signer.signing


def test_a_later_key_is_taken_and_said_once(cared: Cared) -> None:
    signing = cared.put(END + DAY)
    assert cared.look()
    assert cared.keys.signer.signing == signing
    assert len(cared.said) == 1
    assert "in use" in cared.said[0]
    assert not cared.look()
    assert (len(cared.said), cared.warned(), cared.left(NOW)) == (1, [], 31 * DAY)


def test_a_key_that_cannot_be_is_refused_with_one_line(cared: Cared) -> None:
    held = cared.keys.signer.signing
    for end, master, why in (
        (END + DAY, SigningKey(b"n" * 32), "another relay"),
        (END, MASTER, "the one in use lasts until"),
        (END - DAY, MASTER, "the one in use lasts until"),
        (NOW + MOST_SECONDS + 1, MASTER, "was a clock wrong"),
    ):
        cared.put(end, master)
        for _ in range(3):
            assert not cared.look()
        (line,) = cared.warned()
        assert why in line
        assert cared.keys.signer.signing == held
    (cared.folder / SIGNING_FILE).write_bytes(b"junk")
    assert not cared.look()
    (cared.folder / SIGNING_FILE).unlink()
    assert not cared.look()
    assert not cared.look()
    damaged, gone = cared.warned()
    assert "damaged" in damaged
    assert "cannot start without it" in gone
    assert cared.said == []
    cared.put(END + DAY)
    assert cared.look()


def test_one_that_is_over_is_not_taken_and_a_clock_alone_does_not_end_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cared = Cared(tmp_path, caplog, end=NOW - 2 * DAY)
    cared.put(NOW - DAY)
    assert not cared.look()
    assert any("it ended on" in line for line in cared.warned())
    assert not cared.look(earliest=NOW - DAY + CLOCK_SECONDS)
    assert cared.look(earliest=NOW - DAY + CLOCK_SECONDS - 1), "no consensus says that it is over"


def test_warnings_come_once_each_and_begin_anew_with_the_next_key(cared: Cared) -> None:
    for now, lines in (
        (END - 8 * DAY, 0),
        (END - 7 * DAY, 1),
        (END - 6 * DAY, 0),
        (END - DAY, 1),
        (END - 9 * DAY, 0),  # a clock that was set back
        (END - 60, 0),
        (END, 1),
        (END + DAY, 0),
    ):
        cared.look(now, earliest=END - 9 * DAY)
        said = cared.warned()
        assert len(said) == lines, (now, said)
        assert all("onionshh master sign" in line and "2026-" in line for line in said)
        assert all(line.startswith("not listed") == (now >= END) for line in said)
    assert cared.left(END + 5) == -5
    cared.put(END + 9 * DAY)
    assert cared.look(END, earliest=END)
    assert cared.warned() == []
    cared.look(END + 3 * DAY)
    assert len(cared.warned()) == 1


def test_a_relay_that_starts_late_is_warned_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cared = Cared(tmp_path, caplog, end=NOW + 3600)
    cared.look()
    cared.look()
    assert len(cared.warned()) == 1


def test_a_relay_with_its_identity_needs_none(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = DataDirectory(tmp_path)
    keys = RelayKeys(folder, seeded(1))
    said: list[str] = []
    renewal = Renewal(keys, folder, said.append)
    assert not renewal.look(NOW, NOW)
    assert renewal.seconds_left(NOW) is None
    assert caplog.messages == []
    write_signing(folder / SIGNING_FILE, new_signer(keys.signer.key, END, seeded(2)))
    for _ in range(2):
        assert not renewal.look(NOW, NOW)
    assert len(caplog.messages) == 1
    assert "master take" in caplog.messages[0]
    assert keys.signer.certificate is None


def test_it_does_not_start_without_its_key_or_with_that_of_another(cared: Cared) -> None:
    cared.put(END, SigningKey(b"n" * 32))
    with pytest.raises(BadData, match="another relay"):
        RelayKeys(cared.folder, seeded(1))
    (cared.folder / SIGNING_FILE).unlink()
    before = (cared.folder / KEYS_FILE).read_bytes()
    with pytest.raises(BadData, match="onionshh master sign"):
        RelayKeys(cared.folder, seeded(1))
    assert (cared.folder / KEYS_FILE).read_bytes() == before


# In a network.

QUICK = {"interval_seconds": 60, "valid_seconds": 180, "onion_key_seconds": 3600}
RELAYS = 3


async def with_signing_key(net: testing.Network, end: int) -> testing.RunningRelay:
    """One more relay, whose identity is elsewhere."""
    folder = DataDirectory(net.folder / f"relay{RELAYS + 1}")
    write_signing(folder / SIGNING_FILE, new_signer(MASTER, end, seeded(7)))
    return await net.add_relay()


async def circuit_with(node: Node, relay: testing.RunningRelay, place: int) -> Circuit:
    """A circuit of three relays that has this one at this place."""
    builder = inside(node).builder
    with trio.fail_after(600):
        while True:
            last = relay.relay.keys.relay_id if place == 2 else None
            circuit = await builder.build(Purpose.READY, PathKind(3, TALK.number), last=last)
            if circuit.path[place].identity == relay.relay.keys.relay_id:
                return circuit
            circuit.close()


async def alive(circuit: Circuit) -> bool:
    """Whether its last relay answers."""
    answer = await circuit.ask(m.FETCH_CONSENSUS, m.encode_fetch_consensus(0), m.CONSENSUS, 60)
    return len(answer) > 0


async def test_a_relay_with_a_signing_key_takes_part_like_any_other(autojump_clock: MockClock) -> None:
    async with testing.network(RELAYS, params=QUICK, wall_start=NOW, seed=1) as net:
        mine = await with_signing_key(net, NOW + 30 * DAY)
        await net.settled()
        assert mine.relay.keys.relay_id == MASTER.public
        assert "listed" in mine.said
        async with net.join("visitor") as node:
            for place in (1, 2):
                circuit = await circuit_with(node, mine, place)
                assert await alive(circuit)
                circuit.close()
            # It dialled others and proved itself with its signing key: their links know who it is.
            with trio.fail_after(600):
                while not any(MASTER.public in each.relay.links.peers() for each in net.relays[:RELAYS]):
                    (await circuit_with(node, mine, 1)).close()
        for each in net.relays:
            assert not {"certificate", "certificate-over", "signature"} & set(each.relay.drops.by_name())
        left = mine.relay.statistics().signing_key_seconds_left
        assert left is not None
        assert 29 * DAY < left < 30 * DAY


async def test_a_key_is_renewed_while_circuits_live(autojump_clock: MockClock) -> None:
    async with testing.network(RELAYS, params=QUICK, wall_start=NOW, seed=1) as net:
        mine = await with_signing_key(net, NOW + DAY)
        await net.settled()
        async with net.join("visitor") as node:
            circuit = await circuit_with(node, mine, 1)
            published = mine.relay.publisher.published
            later = new_signer(MASTER, NOW + 31 * DAY, seeded(8))
            write_signing(net.folder / f"relay{RELAYS + 1}" / SIGNING_FILE, later)
            with trio.fail_after(KEY_CHECK_SECONDS + 60):
                while mine.relay.publisher.published == published:
                    await trio.sleep(1)
            assert mine.relay.keys.signer.signing == later.signing
            entry = net.authority.registry.entry(MASTER.public)
            assert entry is not None
            assert entry.newest.signing == later.signing
            assert circuit.failed is None
            assert await alive(circuit)
            circuit.close()
            await trio.sleep(300)
            assert not mine.relay.why_not_well()
            (await circuit_with(node, mine, 1)).close()


async def test_a_relay_whose_key_ends_leaves_the_list_and_comes_back_with_the_next(
    autojump_clock: MockClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with testing.network(RELAYS, params=QUICK, wall_start=NOW, seed=1) as net:
        mine = await with_signing_key(net, NOW + 1800)
        await net.settled()
        with trio.fail_after(3600):
            while not mine.relay.why_not_well():
                await trio.sleep(5)
        assert 1800 <= net.clock.wall() - NOW <= 1800 + 4 * QUICK["interval_seconds"]
        assert mine.relay.why_not_well() == "This relay's signing key is over, so no directory lists it."
        assert "signing key ended on" in net.authority.status(MASTER.public).why
        with trio.fail_after(KEY_CHECK_SECONDS + 60):
            while not any("not listed: this relay's signing key ended" in line for line in caplog.messages):
                await trio.sleep(5)
        later = new_signer(MASTER, net.clock.wall() + 30 * DAY, seeded(8))
        write_signing(net.folder / f"relay{RELAYS + 1}" / SIGNING_FILE, later)
        with trio.fail_after(1800):
            while mine.relay.why_not_well():
                await trio.sleep(5)
        assert net.authority.status(MASTER.public).word == "listed"


async def test_a_stolen_disk_is_worth_nothing_once_a_later_key_is_known(autojump_clock: MockClock) -> None:
    """The thief has everything of the folder, runs it elsewhere, and the directory takes nothing from it."""
    async with testing.network(RELAYS, params=QUICK, wall_start=NOW, seed=1) as net:
        mine = await with_signing_key(net, NOW + DAY)
        await net.settled()
        folder = net.folder / f"relay{RELAYS + 1}"
        stolen = DataDirectory(net.folder / f"relay{RELAYS + 2}")
        for name in (KEYS_FILE, SIGNING_FILE):
            (stolen / name).write_bytes((folder / name).read_bytes())
            (stolen / name).chmod(0o600)
        write_signing(folder / SIGNING_FILE, new_signer(MASTER, NOW + 31 * DAY, seeded(8)))
        with trio.fail_after(KEY_CHECK_SECONDS + 600):
            while "a new signing key is in use" not in " ".join(mine.said):
                await trio.sleep(1)
        await trio.sleep(120)
        thief = await net.add_relay()
        await trio.sleep(600)
        assert any("ends later" in line for line in thief.said)
        entry = net.authority.registry.entry(MASTER.public)
        assert entry is not None
        assert entry.newest.host == mine.host
        assert not mine.relay.why_not_well()
