"""The consensus in hand and the one before it, on disk."""

from __future__ import annotations

import pytest

from onionshh.net.consensus_files import CONSENSUS_FILE, PREVIOUS_FILE, ConsensusFiles
from onionshh.net.memory_folder import InMemory
from tests.directory import old
from tests.net.test_consensus_keeper import INTERVAL, KEYS, STRANGER, WALL, document, network


def files(folder: InMemory) -> ConsensusFiles:
    return ConsensusFiles(folder, network())


def test_what_was_kept_last_is_read_with_the_one_before() -> None:
    folder = InMemory()
    assert files(folder).read() is None
    files(folder).keep(document(), b"")
    kept = files(folder).read()
    assert kept is not None
    assert (kept.document, kept.consensus.valid_after, kept.previous) == (document(), WALL, None)
    files(folder).keep(document(INTERVAL), document())
    kept = files(folder).read()
    assert kept is not None
    assert kept.previous is not None
    assert (kept.consensus.valid_after, kept.previous.valid_after) == (WALL + INTERVAL, WALL)


@pytest.mark.parametrize("spoilt", [b"", b"damaged", document()[:-1], document(keys=[STRANGER])])
def test_what_is_damaged_or_of_another_network_counts_as_absent(spoilt: bytes) -> None:
    folder = InMemory()
    files(folder).keep(document(INTERVAL), document())
    folder.write(PREVIOUS_FILE, spoilt)
    kept = files(folder).read()
    assert kept is not None
    assert kept.previous is None
    folder.write(CONSENSUS_FILE, spoilt)
    assert files(folder).read() is None


def test_one_of_the_version_before_is_passed_over_quietly(caplog: pytest.LogCaptureFixture) -> None:
    """It is signed, of this network and still valid, and counts as absent all the same."""
    folder = InMemory()
    files(folder).keep(document(INTERVAL), old.consensus(key=KEYS[0]))
    kept = files(folder).read()
    assert kept is not None
    assert (kept.consensus.valid_after, kept.previous) == (WALL + INTERVAL, None)
    folder.write(CONSENSUS_FILE, old.consensus(key=KEYS[0]))
    assert files(folder).read() is None
    assert not caplog.records
