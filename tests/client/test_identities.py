"""The identity file: made once, for the owner alone, and never made anew because it is damaged."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from onionshh.client.identities import Identity
from onionshh.errors import BadData
from tests.seeded import seeded


def test_an_identity_is_made_once(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "identity"
    with pytest.raises(BadData, match="There is no"):
        Identity.load(tmp_path / "identity")
    made = Identity.load_or_create(path, seeded(1))
    assert Identity.load_or_create(str(path), seeded(2)).to_bytes() == made.to_bytes()
    assert Identity.load(path).address == made.address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [one.name for one in path.parent.iterdir()] == ["identity"]


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty", "long", "huge"])
def test_a_damaged_identity_is_named_and_left_alone(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "identity"
    good = Identity.load_or_create(path, seeded(1)).to_bytes()
    bad = {
        "cut": good[:-1],
        "flipped": bytes([good[0] ^ 1]) + good[1:],
        "empty": b"",
        "long": good + b"\0",
        "huge": bytes(1_000_000),
    }[damage]
    path.write_bytes(bad)
    with pytest.raises(BadData, match=str(path)):
        Identity.load_or_create(path, seeded(2))
    assert path.read_bytes() == bad


def test_a_folder_in_place_of_an_identity_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=str(tmp_path)):
        Identity.load_or_create(tmp_path, seeded(1))


def test_a_place_where_nothing_can_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(BadData, match="file"):
        Identity.load_or_create(tmp_path / "file" / "identity", seeded(1))


def test_a_file_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Identity.load_or_create("identity", seeded(1))
    assert (tmp_path / "identity").exists()


@pytest.mark.parametrize("path", ["", Path(""), ".", "/"])
def test_a_path_that_names_no_file(path: str | Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for act in (Identity.load_or_create, Identity.load, Identity.generate().save):
        with pytest.raises(ValueError, match="names no file"):
            act(path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606])
def test_an_identity_that_others_could_read(
    mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It serves on, closed to them, and that is said once."""
    path = tmp_path / "identity"
    made = Identity.load_or_create(path, seeded(1))
    assert caplog.messages == []
    path.chmod(mode)
    for _ in range(2):
        assert Identity.load_or_create(path).address == made.address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert caplog.messages == [
        f"{path} could be read by other users of this machine (mode {mode:04o}); it is closed to them now,"
        " but if one of them may have read it, make a new one."
    ]


def test_a_new_one_is_saved_and_never_over_another(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "identity"
    made, other = Identity.generate(), Identity.generate()
    assert made.address != other.address
    made.save(path)
    made.save(str(path))
    with pytest.raises(BadData, match="another identity"):
        other.save(path)
    assert Identity.load(path).address == made.address
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert "Identity()" in repr(made)


def test_a_disk_that_is_full_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(BadData, match=r"identity: No space left on device"):
        Identity.generate().save(tmp_path / "identity")
    assert list(tmp_path.iterdir()) == []


def test_two_that_start_at_once_have_the_one_that_stays(tmp_path: Path) -> None:
    path = tmp_path / "identity"
    other = Identity.generate()

    def meanwhile(count: int) -> bytes:
        other.save(path)
        return os.urandom(count)

    assert Identity.load_or_create(path, meanwhile).address == other.address
    assert Identity.load(path).address == other.address
    assert [one.name for one in tmp_path.iterdir()] == ["identity"]


def test_a_disk_that_knows_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(source: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refused)
    made = Identity.load_or_create(tmp_path / "identity")
    assert Identity.load(tmp_path / "identity").address == made.address
    assert [one.name for one in tmp_path.iterdir()] == ["identity"]
