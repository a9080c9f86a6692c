"""Restores a backup: everything is read and checked beside the folder, then one rename puts it in place."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import ExitStack, suppress
from pathlib import Path

from onionshh.advice import advice
from onionshh.cli.saving.archive import Manifest, read_untrusted, total
from onionshh.cli.saving.making import check_copy, check_manifest, open_backup
from onionshh.cli.saving.members import HOST
from onionshh.cli.saving.sealed import opened
from onionshh.errors import BadData
from onionshh.net.store import DataDirectory


def restore(
    data: Path,
    file: Path,
    passphrase: str | None,
    *,
    expect: str | None = None,
    replace: bool = False,
    identity_only: bool = False,
) -> tuple[Manifest, Path | None]:
    """Put a backup into the folder `data`. Returns what it holds, and where the folder that was there lies
    now. BadData before anything is changed, DataInUse while a program has the folder."""
    _check_folder(data, replace=replace)
    staged = data.absolute().with_name(f".{data.absolute().name}.{secrets.token_hex(8)}.restored")
    try:
        folder = DataDirectory(staged).path
        with open_backup(file) as source:
            manifest = read_untrusted(opened(source, passphrase), lambda one: _check(one, folder), folder)
        check_copy(folder, manifest)
        if expect is not None and expect != manifest.subject:
            raise BadData(f"This backup is of {manifest.subject or 'contacts'}, not of {expect}.")
        if identity_only:
            _keep_identity(folder, manifest)
        return manifest, _put(staged, data.absolute())
    except OSError as error:
        raise BadData(f"Cannot restore into {data}: {error.strerror}{advice(error)}.") from error
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def _check(manifest: Manifest, folder: Path) -> None:
    check_manifest(manifest)
    needed, free = total(manifest.members), shutil.disk_usage(folder).free
    if needed > free:
        raise BadData(f"This backup needs {needed} bytes and the disk has {free}; make room.")


def _check_folder(data: Path, *, replace: bool) -> None:
    if data.is_symlink() or (os.path.lexists(data) and not data.is_dir()):
        raise BadData(f"{data} is not a folder; give another one with --data.")
    if data.is_dir() and any(data.iterdir()) and not replace:
        raise BadData(f"{data} is not empty; --replace puts what is there aside, or give another folder.")


def _keep_identity(folder: Path, manifest: Manifest) -> None:
    if manifest.kind != HOST:
        raise BadData("--identity-only is for the backup of a host.")
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)


def _put(staged: Path, data: Path) -> Path | None:
    """Give the checked folder its place. What was there lies beside it under the name that is returned."""
    aside = None
    with ExitStack() as held:
        if data.is_dir() and any(data.iterdir()):
            for folder in {data, *(lock.parent for lock in data.rglob("lock"))}:
                held.enter_context(DataDirectory(folder).lock())
            aside = data.with_name(f"{data.name}.before-{secrets.token_hex(4)}")
            os.rename(data, aside)
        try:
            os.rename(staged, data)  # an empty folder is replaced
        except BaseException:
            if aside is not None:
                with suppress(OSError):
                    os.rename(aside, data)
            raise
        descriptor = os.open(data.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    return aside
