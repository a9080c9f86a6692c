"""A restore: all is checked before anything is replaced, and what was there stays until all is in place."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from onionshh.cli.saving import owner, restoring
from onionshh.cli.saving.archive import Manifest, Member, sum_of, write
from onionshh.cli.saving.exchange import WORK
from onionshh.cli.saving.making import check_copy, make
from onionshh.cli.saving.restoring import restore
from onionshh.client.identities import Identity
from onionshh.errors import BadData, DataInUse
from onionshh.net.store import UNFINISHED, DataDirectory
from onionshh.relay.keys import RelayKeys
from tests.cli.saving import folders
from tests.cli.saving.folders import MADE, OWNER, as_root, everything, owners, owns, rows

PASSPHRASE = "correct horse"


def test_all_four_kinds_come_back(tmp_path: Path) -> None:
    subjects = {
        "relay": folders.relay(tmp_path / "relay"),
        "directory": folders.directory(tmp_path / "directory"),
        "host": folders.host(tmp_path / "host"),
        "contacts": "",
    }
    folders.contacts(tmp_path / "contacts")
    for kind, subject in subjects.items():
        file, into = tmp_path / f"{kind}.tar", tmp_path / "new" / kind
        made = make(tmp_path / kind, file, None, made=MADE)
        manifest, aside = restore(into, file, None, expect=subject)
        assert (manifest, manifest.kind, manifest.subject, aside) == (made, kind, subject, None)
        assert set(everything(into)) == {member.path for member in manifest.members}
        modes = {(path.is_dir(), path.stat().st_mode & 0o777) for path in (into, *into.rglob("*"))}
        assert modes == {(True, 0o700), (False, 0o600)}
    assert RelayKeys(DataDirectory(tmp_path / "new/relay"), os.urandom).relay_id.hex() == subjects["relay"]
    assert Identity.load(tmp_path / "new/host/identity").address == subjects["host"]


def test_whispers_come_back_as_shown_before_and_seen_ids_are_known(tmp_path: Path) -> None:
    folders.host(tmp_path / "h")
    make(tmp_path / "h", tmp_path / "h.backup", PASSPHRASE, made=MADE)
    restore(tmp_path / "n", tmp_path / "h.backup", PASSPHRASE)
    (database,) = (tmp_path / "n").glob("endpoints/*/endpoint.db")
    assert rows(database, "SELECT body, shown FROM inbox") == [(folders.BODY, 1)]
    assert rows(database, "SELECT id FROM seen") == [(b"seen" * 4,)]
    for table in ("period_keys", "replay", "introducers"):
        assert rows(database, f"SELECT * FROM {table}") == []


def test_an_old_backup_can_give_the_identity_alone(tmp_path: Path) -> None:
    folders.host(tmp_path / "h")
    make(tmp_path / "h", tmp_path / "h.tar", None, made=MADE)
    restore(tmp_path / "n", tmp_path / "h.tar", None, identity_only=True)
    assert set(everything(tmp_path / "n")) == {"identity", "guards"}
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    with pytest.raises(BadData, match="is for the backup of a host"):
        restore(tmp_path / "n2", tmp_path / "r.tar", None, identity_only=True)
    assert not (tmp_path / "n2").exists()


def test_a_folder_with_something_in_it_is_left_alone_unless_asked(tmp_path: Path) -> None:
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    folders.relay(tmp_path / "there", seed=8)
    before = everything(tmp_path / "there")
    with pytest.raises(BadData, match="is not empty; --replace"):
        restore(tmp_path / "there", tmp_path / "r.tar", None)
    with (
        DataDirectory(tmp_path / "there").lock(),
        pytest.raises(DataInUse),
    ):
        restore(tmp_path / "there", tmp_path / "r.tar", None, replace=True)
    assert everything(tmp_path / "there") == before
    _, aside = restore(tmp_path / "there", tmp_path / "r.tar", None, replace=True)
    assert aside is not None
    assert aside.parent == tmp_path
    assert everything(aside) | {"lock": b""} == before
    assert set(everything(tmp_path / "there")) == {"relay-keys", "accounting", "lock"}
    (tmp_path / "empty").mkdir()
    assert restore(tmp_path / "empty", tmp_path / "r.tar", None)[1] is None
    assert set(everything(tmp_path / "empty")) == {"relay-keys", "accounting", "lock"}


def test_a_program_in_the_folder_of_an_endpoint_or_contact_is_seen_too(tmp_path: Path) -> None:
    folders.host(tmp_path / "h")
    make(tmp_path / "h", tmp_path / "h.tar", None, made=MADE)
    (contact,) = (tmp_path / "h").glob("contacts/*")
    with DataDirectory(contact).lock():
        before = everything(tmp_path / "h")
        with pytest.raises(DataInUse):
            restore(tmp_path / "h", tmp_path / "h.tar", None, replace=True)
    assert everything(tmp_path / "h").items() >= before.items()


@pytest.mark.parametrize("replace", [False, True])
def test_a_link_leads_to_the_folder_and_stays(tmp_path: Path, replace: bool) -> None:
    """As in /var/lib, where systemd has a link to what it keeps in a private folder."""
    relay_id = folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    real, link = tmp_path / "private" / "onionshh", tmp_path / "onionshh"
    real.mkdir(parents=True)
    link.symlink_to(Path("private") / "onionshh")
    if replace:
        folders.relay(real, seed=8)
        with pytest.raises(BadData, match=f"{link} is not empty; --replace"):
            restore(link, tmp_path / "r.tar", None)
    manifest, aside = restore(link, tmp_path / "r.tar", None, replace=replace)
    assert manifest.subject == relay_id
    assert link.is_symlink()
    assert RelayKeys(DataDirectory(link), os.urandom).relay_id.hex() == relay_id
    assert set(everything(real)) == {"relay-keys", "accounting", "lock"}
    assert (aside is not None) is replace
    assert aside is None or aside.parent == real.parent


def test_a_link_of_somebody_else_or_to_nothing_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    (tmp_path / "link").symlink_to(tmp_path / "missing")
    with pytest.raises(BadData, match="is not a folder"):
        restore(tmp_path / "link", tmp_path / "r.tar", None)
    (tmp_path / "missing").mkdir()
    monkeypatch.setattr(owner, "ROOT", -1)
    monkeypatch.setattr(os, "geteuid", lambda: (tmp_path / "r").stat().st_uid + 1)
    with pytest.raises(BadData, match="is a symbolic link of another user"):
        restore(tmp_path / "link", tmp_path / "r.tar", None)


def test_one_that_was_cut_off_is_put_right_by_the_next(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whatever the next one is to do: it sees the folder as it was before."""
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    there = tmp_path / "there"
    folders.relay(there, seed=8)
    before = everything(there)
    for file, again, said in (("r.tar", False, "is not empty"), ("missing", True, "Cannot read")):
        (there / "before-0123abcd").mkdir()
        (there / "relay-keys").rename(there / "before-0123abcd" / "relay-keys")
        (there / UNFINISHED).write_text("out before-0123abcd\n")
        with pytest.raises(BadData, match="was cut off"):
            make(there, tmp_path / "there.tar", None, made=MADE)
        with pytest.raises(BadData, match=said):
            restore(there, tmp_path / file, None, replace=again)
        assert everything(there) == before
        assert "an earlier restore into" in capsys.readouterr().err
    _, aside = restore(there, tmp_path / "r.tar", None, replace=True)
    assert aside is not None
    assert everything(aside) | {"lock": b""} == before
    assert capsys.readouterr().err == ""


def test_whatever_is_wrong_nothing_has_changed(tmp_path: Path) -> None:
    relay_id = folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    data = (tmp_path / "r.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[:-1])
    (tmp_path / "flipped.tar").write_bytes(data.replace(b"relay-keys", b"relay-kexs"))
    (tmp_path / "text").write_text("a letter")
    folders.relay(tmp_path / "there", seed=8)
    before = everything(tmp_path)
    other = "ab" * 32
    for into, file, expect, said in (
        ("there", "r.tar", other, f"is of {relay_id}, not of {other}"),
        ("there", "cut.tar", None, "cut off"),
        ("there", "flipped.tar", None, "not taken|damaged"),
        ("there", "text", None, "not one of onionshh"),
        ("there", "missing", None, "Cannot read"),
        ("text", "r.tar", None, "is not a folder"),
    ):
        with pytest.raises(BadData, match=said):
            restore(tmp_path / into, tmp_path / file, None, expect=expect, replace=True)
        assert everything(tmp_path) == before
        assert not list(tmp_path.rglob(".*"))


def test_what_has_no_room_is_refused_before_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(total=usage.total, free=10))
    with pytest.raises(BadData, match="the disk has 10; make room"):
        restore(tmp_path / "n", tmp_path / "r.tar", None)
    assert [path.name for path in tmp_path.iterdir() if path.name not in ("r", "r.tar")] == []


def test_keys_that_are_not_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    folders.relay(tmp_path / "r")
    manifest = make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    folders.relay(tmp_path / "other", seed=8)
    members = tuple(
        Member(one.path, *sum_of(tmp_path / "other" / one.path), one.version) for one in manifest.members
    )
    with open(tmp_path / "evil.tar", "wb") as file:
        write(file, replace(manifest, members=members), tmp_path / "other")
    with pytest.raises(BadData, match="not those that its manifest names"):
        restore(tmp_path / "n", tmp_path / "evil.tar", None)
    with open(tmp_path / "evil.tar", "wb") as file:
        write(file, replace(manifest, members=()), tmp_path / "other")
    with pytest.raises(BadData, match="There is no"):
        restore(tmp_path / "n", tmp_path / "evil.tar", None)
    assert not (tmp_path / "n").exists()


def test_when_the_last_step_fails_the_old_folder_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.relay(tmp_path / "r")
    make(tmp_path / "r", tmp_path / "r.tar", None, made=MADE)
    folders.relay(tmp_path / "there", seed=8)
    before = everything(tmp_path)
    rename = os.rename

    def failing(one: Path, other: Path) -> None:
        if Path(one).name.endswith(".restored") or Path(one) == tmp_path / "there/.restore/new/relay-keys":
            raise OSError(5, "Input/output error")
        rename(one, other)

    monkeypatch.setattr(os, "rename", failing)
    for into in ("there", "new"):
        with pytest.raises(BadData, match="Cannot restore into"):
            restore(tmp_path / into, tmp_path / "r.tar", None, replace=True)
        assert everything(tmp_path) == before
        assert not (tmp_path / "new").exists()


@as_root
@pytest.mark.parametrize("mode", [0o755, 0o700])
def test_what_root_restores_belongs_to_the_owner_of_the_folder(mode: int, room: Path) -> None:
    """As where systemd runs the program as a user of its own, below a folder that only root may enter."""
    private, backup = room / "private", room / "h.tar"
    folders.host(room / "h")
    made = make(room / "h", backup, None, made=MADE)
    private.mkdir(mode=mode)
    folders.host(private / "relay", seed=4)
    before = everything(private / "relay")
    (private / "relay" / "lock").touch()
    owns(private / "relay")
    (room / "link").symlink_to(private / "relay")
    with pytest.raises(BadData, match="is not empty; --replace"):
        restore(room / "link", backup, None)
    manifest, aside = restore(room / "link", backup, None, replace=True)
    assert manifest == made
    assert aside is not None
    assert aside.parent == private / "relay"
    assert everything(aside) == before
    names = {path.split("/")[0] for path in everything(private / "relay")}
    assert names == {*(one.path.split("/")[0] for one in made.members), aside.name, "lock"}
    assert owners(private / "relay") == {OWNER}
    with DataDirectory(private / "relay").lock(), pytest.raises(DataInUse, match="private/relay is in use"):
        restore(room / "link", backup, None, replace=True)
    damaged = room / "damaged.tar"
    damaged.write_bytes(backup.read_bytes().replace(b"SQLite format 3", b"SQLite format 4"))
    with pytest.raises(BadData):
        restore(room / "link", damaged, None, replace=True)
    assert os.geteuid() == 0


LATE = """
import sys
from contextlib import contextmanager
from pathlib import Path
from onionshh.cli.saving import restoring
as_owner, late = restoring.as_owner, set()

@contextmanager
def watched(folder):
    with as_owner(folder) as inside:
        before = set(sys.modules)
        yield inside
        late.update(set(sys.modules) - before)

restoring.as_owner = watched
into, file, passphrase = sys.argv[1:]
restoring.restore(Path(into), Path(file), passphrase)
sys.exit(" ".join(late))
"""


@as_root
def test_no_module_is_loaded_with_the_rights_of_the_owner(room: Path) -> None:
    """Who may be unable to read it."""
    folders.host(room / "h")
    make(room / "h", room / "h.tar", PASSPHRASE, made=MADE)
    (room / "data").mkdir(0o700)
    owns(room / "data")
    arguments = (room / "data", room / "h.tar", PASSPHRASE)
    done = subprocess.run([sys.executable, "-c", LATE, *arguments], capture_output=True, text=True)
    assert done.stderr.strip() == ""
    assert owners(room / "data") == {OWNER}


@as_root
def test_root_makes_a_new_folder_with_the_rights_of_who_has_the_one_above(room: Path) -> None:
    folders.relay(room / "r")
    make(room / "r", room / "r.tar", None, made=MADE)
    (room / "home").mkdir()
    owns(room / "home")
    restore(room / "home" / "a" / "new", room / "r.tar", None)
    assert owners(room / "home") == {OWNER}
    restore(room / "a" / "new", room / "r.tar", None)
    assert owners(room / "a") == {0}
    (room / "home" / "link").symlink_to(room / "a")
    os.chown(room / "home" / "link", OWNER, OWNER, follow_symlinks=False)
    with pytest.raises(BadData, match="home/link is a symbolic link of another user"):
        restore(room / "home" / "link" / "new", room / "r.tar", None, replace=True)


@as_root
def test_the_owner_of_a_folder_does_not_get_the_files_of_root(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.relay(room / "r")
    make(room / "r", room / "r.tar", None, made=MADE)
    folders.relay(room / "root")
    before, data = everything(room / "root"), room / "data"
    data.mkdir(0o700)
    (data / "before-00000000").symlink_to(room / "root")
    (data / UNFINISHED).write_text("out before-00000000\n")
    owns(data)
    with pytest.raises(BadData, match="is a symbolic link, which we never make"):
        restore(data, room / "r.tar", None)
    (data / UNFINISHED).unlink()

    def swapped(folder: Path, manifest: Manifest) -> None:
        check_copy(folder, manifest)
        (data / WORK).rename(data / ".x")
        (data / WORK).symlink_to(room / "root")

    (room / "root" / "new").mkdir()
    monkeypatch.setattr(restoring, "check_copy", swapped)
    with pytest.raises(BadData, match=r"\.restore is a symbolic link, which we never make"):
        restore(data, room / "r.tar", None)
    assert everything(room / "root") == before
    assert owners(room / "root") == {0}
