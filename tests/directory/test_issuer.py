"""Consensuses one after the other: their dates, what is on disk first, and a disk that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.core.trust import EARLY_SECONDS, open_consensus_untrusted
from onionshh.crypto.primitives import sha3_256
from onionshh.directory.issuer import Issuer
from onionshh.directory.registry import Registry, Verdict
from onionshh.directory.store import AuthorityStore
from onionshh.net.store import run_inline
from onionshh.wire import consensus as wire
from onionshh.wire.consensus import SharedRandom
from tests.directory import old
from tests.directory.world import NETWORK, WALL, descriptor, one_machine, store_in
from tests.seeded import seeded


def issuer(store: AuthorityStore, seed: int = 1) -> tuple[Issuer, Registry]:
    registry = Registry(one_machine())
    made = Issuer(store, registry, random_bytes=seeded(seed), run_blocking=run_inline)
    return made, registry


def previous(made: Issuer) -> bytes:
    assert made.consensus is not None
    return made.consensus.previous


def dated(made: Issuer) -> int:
    assert made.consensus is not None
    return made.consensus.valid_after


async def test_what_is_shown_is_signed_and_survives_a_restart(tmp_path: Path) -> None:
    made, registry = issuer(store_in(tmp_path))
    assert (made.document, made.consensus, made.listed) == (b"", None, frozenset())
    relay = descriptor(1, host="127.0.0.1")
    registry.submit(relay, "127.0.0.1", WALL)
    (fresh,) = registry.take_fresh()
    registry.checked(fresh, None, WALL)
    assert await made.issue(WALL)
    assert made.listed == {relay.identity}
    assert open_consensus_untrusted(made.document, network=NETWORK, wall=WALL) == made.consensus
    again, known = issuer(store_in(tmp_path), seed=2)
    assert known.listed() == registry.listed()
    assert await again.issue(WALL)
    assert dated(again) == WALL + 1
    assert again.consensus is not None
    assert made.consensus is not None
    assert again.consensus.shared_random == made.consensus.shared_random


async def test_each_consensus_names_the_one_before(tmp_path: Path) -> None:
    """By the hash of its body; also after a restart, and none after a consensus that is lost or of version
    1."""
    made, _ = issuer(store_in(tmp_path))
    await made.issue(WALL)
    assert previous(made) == b""
    for wall in (WALL + 5, WALL + 10):
        body, _ = wire.split_untrusted(made.document)
        await made.issue(wall)
        assert previous(made) == sha3_256(body)
    body, _ = wire.split_untrusted(made.document)
    again, _ = issuer(store_in(tmp_path), seed=2)
    await again.issue(WALL + 15)
    assert previous(again) == sha3_256(body)
    for lost in (b"junk", old.consensus()):
        (tmp_path / "consensus").write_bytes(lost)
        after, _ = issuer(store_in(tmp_path), seed=3)
        await after.issue(WALL + 20)
        assert previous(after) == b""


async def test_one_that_the_disk_did_not_take_is_named_by_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    made, _ = issuer(store)
    await made.issue(WALL)
    body, _ = wire.split_untrusted(made.document)

    def refuse(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store, "save_consensus", refuse)
        assert not await made.issue(WALL + 5)
    await made.issue(WALL + 10)
    assert previous(made) == sha3_256(body)


async def test_a_folder_of_version_1_goes_on(tmp_path: Path) -> None:
    """Dates rise, random values stay, relays keep their age; the next word of a relay takes the old one's
    place."""
    old.folder(tmp_path)
    made, registry = issuer(store_in(tmp_path))
    assert await made.issue(WALL)
    assert dated(made) == WALL + 1
    assert made.consensus is not None
    assert made.consensus.shared_random == tuple(sorted(old.RANDOM))
    ages = {row.nickname: (row.first_seen, row.address, row.software) for row in made.consensus.relays}
    assert ages == {
        "relay1": (WALL - 9 * 86_400, "8.0.1.1:9001", ""),
        "relay2": (WALL - 86_400, "[2001:db8::2]:9001", ""),
    }
    said = descriptor(1, host="8.0.1.1", published=WALL + 60, software="onionshh 0.2.0")
    assert registry.submit(said, "8.0.1.1", WALL + 60).verdict is Verdict.ACCEPTED
    registry.checked(said, None, WALL + 61)
    assert await made.issue(WALL + 65)
    (row,) = (row for row in made.consensus.relays if row.nickname == "relay1")
    assert (row.first_seen, row.software) == (WALL - 9 * 86_400, "onionshh 0.2.0")


async def test_all_rows_of_a_week_are_on_disk_and_none_is_made_anew(tmp_path: Path) -> None:
    """A restart before each day's consensus; whatever is published was on disk as it is."""
    values: dict[int, SharedRandom] = {}
    for day in range(20):
        store = store_in(tmp_path)
        made, _ = issuer(store, seed=day)
        assert await made.issue(WALL + day * 86_400)
        assert made.consensus is not None
        rows = made.consensus.shared_random
        assert set(rows) <= set(store.load_state().shared_random)
        for row in rows:
            assert values.setdefault(row.period, row) == row
        assert len(rows) == min(day + 2, 8)
    assert len(values) == 21


@pytest.mark.parametrize("back", [1, 100, EARLY_SECONDS - 1])
async def test_valid_after_rises_though_the_clock_goes_back(tmp_path: Path, back: int) -> None:
    made, _ = issuer(store_in(tmp_path))
    dates = []
    for wall in (WALL, WALL, WALL - back, WALL + 5):
        assert await made.issue(wall)
        dates.append(dated(made))
    assert dates == [WALL, WALL + 1, WALL + 2, WALL + 5]


async def test_a_consensus_from_the_future_is_not_gone_on_from(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    made, _ = issuer(store_in(tmp_path))
    await made.issue(WALL + 86_400)
    await made.issue(WALL)
    assert dated(made) == WALL
    assert "the last consensus was dated" in caplog.text


async def test_nothing_is_shown_that_the_disk_did_not_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = store_in(tmp_path)
    made, _ = issuer(store)
    await made.issue(WALL)
    before = made.document

    def refuse(data: bytes) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(store, "save_state", refuse)
        for wall in (WALL + 5, WALL + 10):
            assert not await made.issue(wall)
    assert (made.document, dated(made)) == (before, WALL)
    assert caplog.text.count("the disk refuses") == 1
    assert await made.issue(WALL + 15)
    assert dated(made) == WALL + 15
