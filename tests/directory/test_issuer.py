"""Consensuses one after the other: their dates, what is on disk first, and a disk that refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.core.trust import EARLY_SECONDS, open_consensus_untrusted
from onionshh.directory.issuer import Issuer
from onionshh.directory.registry import Registry
from onionshh.directory.store import AuthorityStore
from onionshh.net.store import run_inline
from tests.directory.world import NETWORK, WALL, descriptor, one_machine, store_in
from tests.seeded import seeded


def issuer(store: AuthorityStore, seed: int = 1) -> tuple[Issuer, Registry]:
    registry = Registry(one_machine())
    made = Issuer(store, registry, params=one_machine(), random_bytes=seeded(seed), run_blocking=run_inline)
    return made, registry


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
