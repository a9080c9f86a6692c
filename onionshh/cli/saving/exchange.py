"""Exchanges what is in a folder that stays where it is: it may be a mount point, or what a link leads to.

No system exchanges many files at once, so a marker stands in the folder meanwhile (`UNFINISHED`). While it is
there, no program begins with the folder (net/store.py), and the next restore puts back what was there.

    FOLDER/.restore/new/           what is to come, whole, checked and synced
    FOLDER/before-<hex>/           what was there; in the end beside the folder, if it can be moved there
    FOLDER/.restoring              the marker: which half of the exchange is at work

    no marker -> out               what is there moves to before-<hex>
    out       -> in                all of it has; what is to come moves into the folder
    in        -> no marker         done

A crash in `out` leaves nothing new in the folder, and one in `in` nothing old. So it is known what is what.
Locks stay where they are, since whoever exchanges holds them, and so does what is not ours. In another user's
folder root has that user's rights (owner.py). Then it is the current folder, and what was there stays in it.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from onionshh.errors import BadData
from onionshh.net.store import UNFINISHED, atomic_write, read_file, sync_folder

WORK: Final = ".restore"
_STAYS: Final = re.compile(
    rf"lock|.*\.lock|lost\+found|before-[0-9a-f]{{8}}|{re.escape(WORK)}"
    rf"|{re.escape(UNFINISHED)}|\.{re.escape(UNFINISHED)}\.[0-9a-f]+\.new"
)
_MARK: Final = re.compile(r"(out|in) (before-[0-9a-f]{8})\n")
_MARK_MOST: Final = 64


def contents(folder: Path) -> list[Path]:
    """What in a folder would be exchanged. OSError."""
    return sorted(path for path in folder.iterdir() if not _STAYS.fullmatch(path.name))


class Exchange:
    """One exchange in a folder whose locks the caller holds. `new`: where what is to come is made first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._marker = folder / UNFINISHED
        self.new = folder / WORK / "new"

    def mend(self) -> bool:
        """Put back what was there before an exchange that was cut off. Returns whether there was one.
        BadData, OSError."""
        _is_real(self._marker, stat.S_ISREG)
        _is_real(self.new.parent, stat.S_ISDIR)
        _is_real(self.new, stat.S_ISDIR)
        mark = read_file(self._marker, _MARK_MOST)
        if mark is not None:
            found = _MARK.fullmatch(mark.decode("ascii", "replace"))
            if found is None:
                raise BadData(f"{self._marker.absolute()} was not written by a restore; look at its folder.")
            self._undo(found[1] == "in", self._folder / found[2])
        self.clear()
        return mark is not None

    def clear(self) -> None:
        """Remove what is left of `new`, and what a crash left of a marker that was being written."""
        shutil.rmtree(self._folder / WORK, ignore_errors=True)
        for left in self._folder.glob(f".{UNFINISHED}.*.new"):
            left.unlink()

    def swap(self) -> Path | None:
        """Put in place what is in `new`. Returns where what was there lies now; None if there was nothing.
        After an error all is as it was, if that can be. OSError, BadData."""
        before = self._folder / f"before-{secrets.token_hex(4)}"
        for path in _tree(self.new):
            if path.is_dir():
                sync_folder(path)  # the files are
        try:
            os.mkdir(before, 0o700)
            self._mark("out", before)
            _move(contents(self._folder), before)
            self._mark("in", before)
            _move(list(self.new.iterdir()), self._folder)
            self._unmark()
        except BaseException:  # also Ctrl-C
            if self._marker.exists():
                self.mend()
            with suppress(OSError):
                before.rmdir()
            raise
        self.clear()
        return self._aside(before)

    def _undo(self, is_in: bool, before: Path) -> None:
        is_there = _is_real(before, stat.S_ISDIR)
        if is_in:
            if not is_there:
                raise BadData(
                    f"A restore was cut off, and {before.absolute()}, where it put what was there before, is"
                    f" missing; put it back, or remove {self._marker.absolute()} to keep what is there now."
                )
            self.new.mkdir(mode=0o700, parents=True, exist_ok=True)
            _move(contents(self._folder), self.new)
            self._mark("out", before)
        if is_there:
            _move(list(before.iterdir()), self._folder)
            before.rmdir()
        self._unmark()

    def _mark(self, half: str, before: Path) -> None:
        atomic_write(self._marker, f"{half} {before.name}\n".encode())

    def _unmark(self) -> None:
        os.unlink(self._marker)
        sync_folder(self._folder)

    def _aside(self, before: Path) -> Path | None:
        """Where what was there lies: beside the folder if it can, so that no program sees it."""
        with suppress(OSError):
            before.rmdir()
            return None  # there was nothing
        if not self._folder.name:
            return before.absolute()
        beside = self._folder.with_name(f"{self._folder.name}.{before.name}")
        try:
            os.rename(before, beside)
        except OSError:  # the folder is a mount point, or the one above is not ours
            return before
        sync_folder(self._folder)
        sync_folder(self._folder.parent)
        return beside


def _is_real(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether something is there. BadData if it is not of the kind that we make."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    if stat.S_ISLNK(mode):
        raise BadData(f"{path.absolute()} is a symbolic link, which we never make; remove it.")
    if not kind(mode):
        raise BadData(f"{path.absolute()} is not what a restore makes of this name; move it away.")
    return True


def _move(paths: list[Path], into: Path) -> None:
    """Move each into a folder, where nothing has its name, and sync the folders. OSError, BadData."""
    for path in paths:
        target = into / path.name
        if os.path.lexists(target):
            both = f"{path.absolute()} and {target.absolute()}"
            raise BadData(f"{both} are both there; remove the one that you do not want.")
        os.rename(path, target)
    for folder in {into, *(path.parent for path in paths)}:
        sync_folder(folder)


def _tree(folder: Path) -> Iterator[Path]:
    for path, _, names in os.walk(folder):
        yield Path(path)
        yield from (Path(path, name) for name in names)
