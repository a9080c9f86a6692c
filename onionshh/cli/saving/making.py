"""Makes a backup: copies what is kept, writes one file, reads it again, and only then gives it its name."""

from __future__ import annotations

import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO, Final

from onionshh.advice import advice
from onionshh.cli.saving.archive import Manifest, Member, read_untrusted, sum_of, write
from onionshh.cli.saving.members import found_in, item_of, kind_of, subject_of
from onionshh.cli.saving.owner import ROOT, as_owner, check_links, is_reachable
from onionshh.cli.saving.sealed import HEAD, SealingSink, opened
from onionshh.cli.saving.snapshot import check_database, snapshot
from onionshh.errors import BadData, DataInUse
from onionshh.net.store import DataDirectory, check_finished, hold, read_file, sync_folder

LOCK: Final = "lock"
WORK_FOLDER: Final = ".backup-"
LEFT_SECONDS: Final = 86_400
"""A copy takes minutes, so a work folder that is older was left by a crash."""
_TAR: Final = b"manifest.json\0"


def make(data: Path, file: Path, passphrase: str | None, *, made: int, moves: bool = False) -> Manifest:
    """Back up the folder into `file`, which is replaced if it is a backup. `moves`: with what a relay keeps
    for others; DataInUse while it runs. BadData, OSError."""
    check_links(data)
    check_finished(data)
    _check_target(data, file)
    temporary = file.with_name(f".{file.name}.{secrets.token_hex(8)}.new").absolute()
    try:
        with _said(file):
            target = open(temporary, "xb", opener=lambda path, flags: os.open(path, flags, 0o600))  # noqa: SIM115
        with target:
            manifest = _fill(target, data.resolve(), file, passphrase, made, moves=moves)
        if read_again(temporary, passphrase) != manifest:
            raise BadData(f"{file} was not written as it should be; the disk may be failing.")
        with _said(file):
            os.replace(temporary, file)
            sync_folder(file.absolute().parent)
    finally:
        with suppress(OSError):
            os.unlink(temporary)
    return manifest


def _fill(
    target: BinaryIO, data: Path, file: Path, passphrase: str | None, made: int, *, moves: bool
) -> Manifest:
    """Write a backup of this folder into a file that is open: root has the rights for both only apart."""
    with _places(data) as (inside, work_prefix):
        kind = kind_of(inside)
        with _at_rest(inside) if moves else nullcontext(), _work_folder(work_prefix) as work:
            manifest = _copied(inside, work, kind, made, moves=moves)
            with _said(file):
                _write(target, manifest, work, passphrase)
                target.flush()
                os.fsync(target.fileno())
            return manifest


@contextmanager
def _said(file: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise BadData(f"Cannot write {file}: {error.strerror}{advice(error)}.") from error


def read_again(file: Path, passphrase: str | None) -> Manifest:
    """Read a backup as a restore would, and put it nowhere. BadData, OSError."""
    with open_backup(file) as source:
        return read_untrusted(opened(source, passphrase), check_manifest)


def open_backup(file: Path) -> BinaryIO:
    """The file of a backup. BadData if there is none."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise BadData(f"Cannot read {file}: {error.strerror}.") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise BadData(f"{file} is not a file.")
    return os.fdopen(descriptor, "rb")


def check_manifest(manifest: Manifest) -> None:
    """Refuse what no backup of ours names. BadData."""
    for member in manifest.members:
        item = item_of(manifest.kind, member.path)
        if item is None or bool(item.migrations) != bool(member.version):
            raise BadData("This backup names files that none of ours has; it was not taken.")
        if member.version > len(item.migrations):
            raise BadData("This backup was written by a later version of onionshh; use that version.")


def check_copy(folder: Path, manifest: Manifest) -> None:
    """Check that the members in this folder are whole, fit, and are whose the manifest says. BadData."""
    for member in manifest.members:
        item = item_of(manifest.kind, member.path)
        if item is not None and item.migrations:
            check_database(folder / member.path, item.migrations, member.version)
    if subject_of(folder, manifest.kind) != manifest.subject:
        raise BadData("The keys in this backup are not those that its manifest names.")


def _copied(data: Path, work: Path, kind: str, made: int, *, moves: bool) -> Manifest:
    members = []
    for name, item in found_in(data, kind, moves=moves):
        target = work / name
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        version = 0
        if item.migrations:
            version = snapshot(data / name, target, item.migrations, item.leaves)
        else:
            _copy_file(data / name, target)
        members.append(Member(name, *sum_of(target), version))
    members.sort(key=lambda member: member.path)
    manifest = Manifest(kind, subject_of(work, kind), made, tuple(members))
    check_manifest(manifest)
    check_copy(work, manifest)
    return manifest


def _copy_file(path: Path, target: Path) -> None:
    content = read_file(path, 64 * 1024 * 1024)
    if content is None:
        raise BadData(f"{path} has just gone; try again.")
    with open(target, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def _write(target: BinaryIO, manifest: Manifest, work: Path, passphrase: str | None) -> None:
    if passphrase is None:
        write(target, manifest, work)
    else:
        sealing = SealingSink(target, passphrase, os.urandom)
        write(sealing, manifest, work)
        sealing.close()


def _check_target(data: Path, file: Path) -> None:
    """Refuse to write over what is not a backup, or into the folder itself. BadData."""
    if data.resolve() in file.resolve().parents:
        raise BadData(f"{file} lies in the folder that is to be backed up; choose another place.")
    if os.path.lexists(file):
        with open_backup(file) as there:
            begins = there.read(len(HEAD))
        if not (begins == HEAD or begins.startswith(_TAR)) or file.is_symlink():
            raise BadData(f"{file} is there already and is not a backup; choose another name.")


@contextmanager
def _at_rest(data: Path) -> Iterator[None]:
    """No program uses the folder, and none begins to in this block. What has no lock was never used."""
    with ExitStack() as held:
        if (data / LOCK).exists():
            try:
                held.enter_context(hold(data))
            except DataInUse as error:
                raise DataInUse(
                    f"The relay in {data.absolute()} runs; stop it before it moves, since a copy of what it"
                    " keeps for others would bring back what it erases later."
                ) from error
        yield


@contextmanager
def _places(data: Path) -> Iterator[tuple[Path, Path]]:
    """Where the folder is read, and how the path of its copies begins. They lie in it: keys are then on no
    other disk than before. BadData."""
    with as_owner(data) as inside:
        if inside == data or is_reachable(inside):
            yield inside, inside / WORK_FOLDER
            return
    # SQLite comes to a database from above, as only root can: see owner.py. It only reads there.
    above, about = data.parent, data.parent.stat()
    if about.st_uid != ROOT or about.st_mode & 0o022 or about.st_dev != data.stat().st_dev:
        raise BadData(f"Root cannot copy what is in {data} safely; run this as the user whose folder it is.")
    yield data, above / f".{data.name}{WORK_FOLDER}"


@contextmanager
def _work_folder(prefix: Path) -> Iterator[Path]:
    """A folder for copies."""
    for left in prefix.parent.glob(f"{prefix.name}{'[0-9a-f]' * 16}"):
        with suppress(OSError):
            if time.time() - left.lstat().st_mtime > LEFT_SECONDS:
                shutil.rmtree(left)
    work = DataDirectory(prefix.with_name(f"{prefix.name}{secrets.token_hex(8)}")).path
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)
