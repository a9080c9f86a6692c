"""A folder in memory does what one on disk does, as far as a node asks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from onionshh.errors import DataInUse
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import DataDirectory, Folder

BOTH: list[Callable[[Path], Folder]] = [DataDirectory, lambda path: InMemory()]


@pytest.mark.parametrize("made", BOTH)
def test_what_is_written_is_read(tmp_path: Path, made: Callable[[Path], Folder]) -> None:
    folder = made(tmp_path / "data")
    assert folder.read("guards") is None
    folder.write("guards", b"some")
    folder.write("guards", b"others")
    assert folder.read("guards") == b"others"
    assert folder.inside("deeper").read("guards") is None
    folder.inside("deeper").write("guards", b"x")
    assert folder.inside("deeper").read("guards") == b"x"
    assert "guards" in folder.named("guards")


@pytest.mark.parametrize("made", BOTH)
def test_one_at_a_time(tmp_path: Path, made: Callable[[Path], Folder]) -> None:
    folder = made(tmp_path / "data")
    with folder.lock(), folder.turn("guards.lock"):
        with folder.inside("one").lock(), pytest.raises(DataInUse):
            with folder.inside("one").lock():
                raise AssertionError("twice")
        with folder.inside("one").lock():
            pass


def test_a_database_in_memory_is_no_file() -> None:
    assert InMemory().database("endpoint.db") == ":memory:"
