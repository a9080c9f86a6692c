"""Restores a backup: everything is read and checked before anything is replaced.

A folder that is not there yet is made beside its place, and one rename puts it there. In a folder that is
there, contents are exchanged (exchange.py). The backup is opened first: root may read it where the owner of
the folder may not.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from onionshh.advice import advice
from onionshh.cli.saving.archive import Manifest, read_untrusted, total
from onionshh.cli.saving.exchange import Exchange, contents
from onionshh.cli.saving.making import check_copy, check_manifest, open_backup
from onionshh.cli.saving.members import HOST
from onionshh.cli.saving.owner import as_owner, check_links
from onionshh.cli.saving.sealed import opened
from onionshh.cli.talk import note
from onionshh.errors import BadData, DataInUse
from onionshh.net.guard_file import GUARDS_LOCK
from onionshh.net.store import UNFINISHED, DataDirectory, hold, sync_folder, turn


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is restored. See `restore`. `source`: the backup, or why it cannot be read."""

    source: BinaryIO | BadData
    passphrase: str | None
    expect: str | None
    identity_only: bool

    def read(self, into: Path) -> Manifest:
        """Read the backup into a new folder, and check it. BadData, OSError."""
        if isinstance(self.source, BadData):
            raise self.source
        folder = DataDirectory(into).path
        backup = opened(self.source, self.passphrase)
        manifest = read_untrusted(backup, lambda one: _check(one, folder), folder)
        check_copy(folder, manifest)
        if self.expect is not None and self.expect != manifest.subject:
            raise BadData(f"This backup is of {manifest.subject or 'contacts'}, not of {self.expect}.")
        if self.identity_only:
            _keep_identity(folder, manifest)
        return manifest


def restore(
    data: Path,
    file: Path,
    passphrase: str | None,
    *,
    expect: str | None = None,
    replace: bool = False,
    identity_only: bool = False,
) -> tuple[Manifest, Path | None]:
    """Put a backup into the folder `data`. Returns what it holds, and where that lies now which was in the
    folder. BadData before anything is changed, DataInUse while a program has the folder."""
    with _source(file) as source:
        wanted = _Wanted(source, passphrase, expect, identity_only)
        try:
            folder = _there(data)
            if folder is None:
                return _into_new(data.absolute(), wanted), None
            with as_owner(folder) as inside:
                if not replace and contents(inside) and not _is_unfinished(inside):
                    raise _not_empty(data)
                with _held(inside):
                    return _into_old(inside, data, wanted, replace=replace)
        except OSError as error:
            raise BadData(f"Cannot restore into {data}: {error.strerror}{advice(error)}.") from error


@contextmanager
def _source(file: Path) -> Iterator[BinaryIO | BadData]:
    """An error is for later: an earlier restore that was cut off is put right without a backup."""
    try:
        source = open_backup(file)
    except BadData as error:
        yield error
    else:
        with source:
            yield source


def _there(data: Path) -> Path | None:
    """The folder that is there already, or that a link leads to, as where systemd keeps what is private. None
    if nothing is there. BadData."""
    check_links(data)
    if not os.path.lexists(data):
        return None
    if not data.is_dir():
        raise BadData(f"{data} is not a folder; give another one with --data.")
    return data.resolve()


def _into_new(data: Path, wanted: _Wanted) -> Manifest:
    there = next(folder for folder in data.parents if folder.exists())
    with as_owner(there.resolve()) as inside:
        target = inside / data.relative_to(there)
        staged = target.with_name(f".{target.name}.{secrets.token_hex(8)}.restored")
        try:
            manifest = wanted.read(staged)
            os.rename(staged, target)
            sync_folder(target.parent)
            return manifest
        finally:
            shutil.rmtree(staged, ignore_errors=True)


def _into_old(folder: Path, data: Path, wanted: _Wanted, *, replace: bool) -> tuple[Manifest, Path | None]:
    exchange = Exchange(folder)
    if exchange.mend():
        note(f"an earlier restore into {data} was cut off; what was there before is back.")
    if not replace and contents(folder):
        raise _not_empty(data)
    try:
        manifest = wanted.read(exchange.new)
        return manifest, exchange.swap()
    finally:
        exchange.clear()


def _is_unfinished(folder: Path) -> bool:
    return os.path.lexists(folder / UNFINISHED)


def _not_empty(data: Path) -> BadData:
    return BadData(f"{data} is not empty; --replace puts what is there aside, or give another folder.")


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    """No program uses the folder, or an endpoint or contact in it, during this block. DataInUse."""
    with ExitStack() as held:
        here = folder
        try:
            held.enter_context(hold(folder, unfinished=True))
            if (folder / GUARDS_LOCK).exists():
                held.enter_context(turn(folder, GUARDS_LOCK, unfinished=True))
            for here in sorted({lock.parent for lock in folder.rglob("lock")} - {folder}):
                held.enter_context(hold(here))
        except DataInUse as error:
            raise DataInUse(f"{here.absolute()} is in use already; stop what uses it.") from error
        yield


def _check(manifest: Manifest, folder: Path) -> None:
    check_manifest(manifest)
    needed, free = total(manifest.members), shutil.disk_usage(folder).free
    if needed > free:
        raise BadData(f"This backup needs {needed} bytes and the disk has {free}; make room.")


def _keep_identity(folder: Path, manifest: Manifest) -> None:
    if manifest.kind != HOST:
        raise BadData("--identity-only is for the backup of a host.")
    for entry in folder.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
