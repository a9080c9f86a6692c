"""Root in the folder of another user: it has only that user's rights while it works there.

The owner can put a link in the place of anything in the folder, at any moment. So checks do not help: what
root follows may lead to root's files. With the owner's rights it leads to nothing that is not the owner's.

The work is done in the folder that was opened, by relative paths. The owner may be unable to reach it from
above: systemd keeps the folders of its services below one that only root may enter.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from pathlib import Path
from typing import Final

from onionshh.errors import BadData

ROOT: Final = 0
NO_GROUP: Final = 65534
_LATE: Final = "cryptography.hazmat.backends.openssl.backend"
"""Loaded with the first key otherwise, and the owner may be unable to read where programs are."""
_FOLDER: Final = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC


@contextmanager
def as_owner(folder: Path) -> Iterator[Path]:
    """Where to work in this folder, whose path has no links: mostly the folder itself. If we are root and it
    is another user's, we are that user in this block, and it is the current folder. BadData, OSError."""
    with ExitStack() as stack:
        if os.geteuid() == ROOT:
            descriptor = _opened(folder)
            stack.callback(os.close, descriptor)
            about = os.fstat(descriptor)
            if about.st_uid != ROOT:
                import_module(_LATE)
                stack.enter_context(_inside(descriptor))
                stack.enter_context(_with_rights(folder, about.st_uid, about.st_gid))
                folder = Path()
        yield folder


def check_links(path: Path) -> None:
    """Refuse a path to a folder that goes through another user's link. Only root looks at the folders above:
    others get nowhere that they may not go. BadData, OSError."""
    path = path.absolute()
    above = path.parents if os.geteuid() == ROOT else ()
    for one in (path, *above):
        if one.is_symlink() and one.lstat().st_uid not in (os.geteuid(), ROOT):
            raise BadData(f"{one} is a symbolic link of another user; give the folder itself.")


def is_reachable(path: Path) -> bool:
    """Whether a file of the current folder can be reached from the root of all files, too."""
    try:
        return os.path.samestat(os.stat(path), os.stat(path.absolute()))
    except OSError:
        return False


def _opened(folder: Path) -> int:
    """Step by step, so no step is a link that came after the path was found."""
    descriptor = os.open(folder.anchor, _FOLDER)
    for part in folder.parts[1:]:
        try:
            below = os.open(part, _FOLDER | os.O_NOFOLLOW, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        descriptor = below
    return descriptor


@contextmanager
def _inside(descriptor: int) -> Iterator[None]:
    """The current folder is this one. No module is loaded from it: we become root again."""
    here, modules = os.open(".", _FOLDER), sys.path[:]
    try:
        sys.path[:] = [path for path in modules if os.path.isabs(path)]
        os.fchdir(descriptor)
        yield
    finally:
        os.fchdir(here)
        os.close(here)
        sys.path[:] = modules


@contextmanager
def _with_rights(folder: Path, user: int, group: int) -> Iterator[None]:
    """Files that are made are the user's. A folder may have root's group though its owner is not in it."""
    groups, before = os.getgroups(), os.getegid()
    with ExitStack() as back:
        try:
            os.setgroups([])
            back.callback(os.setgroups, groups)
            os.setegid(group or NO_GROUP)
            back.callback(os.setegid, before)
            os.seteuid(user)
            back.callback(os.seteuid, ROOT)
        except OSError as error:
            raise BadData(
                f"{folder} belongs to another user (uid {user}), whose rights root cannot take here"
                f" ({error.strerror}); run this as that user."
            ) from error
        yield
