"""Making a backup: closed, whole, read again, and never in the place of something else."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import pytest

from onionshh.cli.saving import making
from onionshh.cli.saving.archive import Manifest, Member, write
from onionshh.cli.saving.making import check_manifest, make, open_backup, read_again
from onionshh.cli.saving.snapshot import snapshot
from onionshh.errors import BadData
from tests.cli.saving import folders
from tests.cli.saving.folders import BODY, MADE, OWNER, PERIOD_KEY, as_root, everything, owners, owns

PASSPHRASE = "correct horse"


def test_it_is_closed_the_same_each_time_and_leaves_no_trace(tmp_path: Path) -> None:
    relay_id = folders.relay(tmp_path / "r")
    before = everything(tmp_path / "r")
    manifest = make(tmp_path / "r", tmp_path / "one.tar", None, made=MADE)
    assert make(tmp_path / "r", tmp_path / "two.tar", None, made=MADE) == manifest
    assert (tmp_path / "one.tar").read_bytes() == (tmp_path / "two.tar").read_bytes()
    assert (tmp_path / "one.tar").stat().st_mode & 0o777 == 0o600
    assert (manifest.kind, manifest.subject, manifest.made) == ("relay", relay_id, MADE)
    assert [member.path for member in manifest.members] == ["accounting", "relay-keys"]
    assert everything(tmp_path / "r") == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.tar", "r", "two.tar"]


def test_of_a_host_no_key_of_a_period_leaves_the_machine(tmp_path: Path) -> None:
    folders.host(tmp_path / "h")
    make(tmp_path / "h", tmp_path / "h.tar", None, made=MADE)
    data = (tmp_path / "h.tar").read_bytes()
    assert BODY in data
    assert PERIOD_KEY not in data
    make(tmp_path / "h", tmp_path / "h.sealed", PASSPHRASE, made=MADE)
    data = (tmp_path / "h.sealed").read_bytes()
    assert BODY not in data
    assert (tmp_path / "h" / "identity").read_bytes() not in data
    assert read_again(tmp_path / "h.sealed", PASSPHRASE).kind == "host"


def test_it_replaces_a_backup_and_nothing_else(tmp_path: Path) -> None:
    folders.relay(tmp_path / "r")
    file = tmp_path / "r.tar"
    for passphrase in (None, PASSPHRASE, None):
        make(tmp_path / "r", file, passphrase, made=MADE)
    (tmp_path / "letter").write_text("to somebody")
    os.symlink(file, tmp_path / "link")
    for other in ("letter", "link"):
        with pytest.raises(BadData, match="is not a backup"):
            make(tmp_path / "r", tmp_path / other, None, made=MADE)
    with pytest.raises(BadData, match="not a file"):
        make(tmp_path / "r", tmp_path, None, made=MADE)
    with pytest.raises(BadData, match="lies in the folder"):
        make(tmp_path / "r", tmp_path / "r" / "r.tar", None, made=MADE)
    with pytest.raises(BadData, match="Cannot write"):
        make(tmp_path / "r", tmp_path / "missing" / "r.tar", None, made=MADE)


def test_what_was_not_written_well_never_gets_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    before = everything(tmp_path)

    def lossy(sink: BinaryIO, manifest: Manifest, folder: Path) -> None:
        write(sink, manifest, folder)
        sink.seek(1600)
        sink.write(b"?")

    monkeypatch.setattr(making, "write", lossy)
    with pytest.raises(BadData):
        make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE + 1)
    assert everything(tmp_path) == before


def test_what_a_crash_left_goes_with_a_later_backup(tmp_path: Path) -> None:
    folders.relay(tmp_path / "r")
    old, new, by_hand = f".backup-{'0' * 16}", f".backup-{'1' * 16}", ".backup-of-me"
    for name, age in ((old, 2 * making.LEFT_SECONDS), (new, 0), (by_hand, 2 * making.LEFT_SECONDS)):
        (tmp_path / "r" / name).mkdir()
        os.utime(tmp_path / "r" / name, (time.time() - age,) * 2)
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    assert {path.name for path in (tmp_path / "r").glob(".backup-*")} == {new, by_hand}


def test_damaged_keys_are_not_backed_up(tmp_path: Path) -> None:
    folders.relay(tmp_path / "r")
    (tmp_path / "r" / "relay-keys").write_bytes(b"junk")
    with pytest.raises(BadData, match="damaged"):
        make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    assert not (tmp_path / "r.tar").exists()


def test_a_manifest_that_names_what_is_not_ours_is_refused() -> None:
    right = Member("relay-keys", 1, "0" * 64)
    check_manifest(Manifest("relay", "", 1, (right,)))
    for member, said in (
        (replace(right, path="../relay-keys"), "none of ours"),
        (replace(right, version=1), "none of ours"),
        (replace(right, path="ring.db"), "none of ours"),
        (replace(right, path="ring.db", version=99), "later version"),
    ):
        with pytest.raises(BadData, match=said):
            check_manifest(Manifest("relay", "", 1, (member,)))


def test_only_a_file_is_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name in ("pipe", "missing", "."):
        with pytest.raises(BadData):
            open_backup(tmp_path / name)


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_root_backs_up_the_folder_of_another_user(
    mode: int, room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As where systemd runs the program as a user of its own, below a folder that only root may enter."""
    private, works = room / "private", set()
    private.mkdir(mode=mode)
    address = folders.host(private / "me")
    owns(private / "me")
    (room / "link").symlink_to(private / "me")

    def watched(path: Path, into: Path, *rest: Any) -> int:
        works.add((os.geteuid(), into.absolute().parents[2].parent))
        return snapshot(path, into, *rest)

    monkeypatch.setattr(making, "snapshot", watched)
    before = everything(private / "me")
    manifest = make(room / "link", room / "me.tar", PASSPHRASE, made=MADE)
    assert manifest.subject == address
    assert (room / "me.tar").stat().st_uid == 0
    assert everything(private / "me").items() >= before.items()  # SQLite has made empty logs
    assert owners(private / "me") == {OWNER}
    assert [path.name for path in private.iterdir()] == ["me"]
    assert works == ({(OWNER, private / "me")} if mode == 0o755 else {(0, private)})
    private.chmod(0o770)
    if mode == 0o700:
        with pytest.raises(BadData, match="run this as the user whose folder it is"):
            make(room / "link", room / "again.tar", None, made=MADE)
        assert not list(room.glob("*again*"))


@as_root
def test_copies_do_not_go_where_the_owner_of_a_folder_wants(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.contacts(room / "me")
    owns(room / "me")
    (room / "root").mkdir(0o700)

    def swapped(path: Path, into: Path, *rest: Any) -> int:
        if not (room / "me" / ".x").exists():
            into.parent.rename(room / "me" / ".x")
            into.parent.symlink_to(room / "root")
        return snapshot(path, into, *rest)

    monkeypatch.setattr(making, "snapshot", swapped)
    with pytest.raises(PermissionError):
        make(room / "me", room / "me.tar", None, made=MADE)
    assert everything(room / "root") == {}
    assert not list(room.glob("*me.tar*"))
