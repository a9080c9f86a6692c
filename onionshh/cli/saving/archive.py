"""One backup as a tar file: `manifest.json`, then the members in its order.

The file is the same for the same contents: names are sorted, dates are 0, owners are nobody, modes are 0600.
So the reader needs no tar parser. It knows from the manifest which bytes each header must have, and takes no
others: no link, device, long name, second copy or path of somebody's choice. A manifest names only the paths
that `members.py` knows. Nothing is compressed, so nothing grows while it is read.
"""

from __future__ import annotations

import hashlib
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from onionshh import __version__
from onionshh.cli.saving.sealed import Sink, Source
from onionshh.errors import BadData
from onionshh.net.store import DataDirectory

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
MANIFEST_MOST: Final = 2 * 1024 * 1024
MEMBERS_MOST: Final = 4096
MEMBER_MOST: Final = 8 * 1024**3 - 1
TOTAL_MOST: Final = 64 * 1024**3
TEXT_MOST: Final = 256
_BLOCK: Final = 512
_PIECE: Final = 64 * 1024
_END: Final = bytes(2 * _BLOCK)


@dataclass(frozen=True, slots=True)
class Member:
    """One file. `version`: of a database its format, else 0: the file itself says it."""

    path: str
    size: int
    sha256: str
    version: int = 0


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `subject`: the relay's id, the directory's key or the endpoint's address; `made`:
    Unix seconds."""

    kind: str
    subject: str
    made: int
    members: tuple[Member, ...]
    software: str = f"onionshh {__version__}"
    format: int = FORMAT

    def encode(self) -> bytes:
        """As JSON, for programs and people."""
        return (json.dumps(asdict(self), sort_keys=True, indent=1) + "\n").encode()


def decode_manifest_untrusted(data: bytes) -> Manifest:
    """The inverse of `Manifest.encode`. BadData for anything that it cannot have written."""
    try:
        found: dict[str, Any] = json.loads(data)
        if found["format"] != FORMAT:
            raise BadData("This backup was written by another version of onionshh; use that version.")
        members = tuple(Member(**row) for row in found.pop("members"))
        manifest = Manifest(members=members, **found)
        right = manifest.encode() == data and _right(manifest)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise BadData("This is not a backup of onionshh, or its manifest is damaged.") from error
    if not right:
        raise BadData("This is not a backup of onionshh, or its manifest is damaged.")
    return manifest


def _right(manifest: Manifest) -> bool:
    members = manifest.members
    texts = (manifest.kind, manifest.subject, manifest.software, *(one.path for one in members))
    sums = [one.sha256 for one in members]
    numbers = (manifest.made, *(one.size for one in members), *(one.version for one in members))
    paths = [one.path for one in members]
    return (
        all(type(text) is str and len(text) <= TEXT_MOST and text.isascii() for text in (*texts, *sums))
        and all(type(number) is int and 0 <= number < 1 << 40 for number in numbers)
        and all(len(one) == 64 for one in sums)
        and len(members) <= MEMBERS_MOST
        and all(one.size <= MEMBER_MOST for one in members)
        and sum(one.size for one in members) <= TOTAL_MOST
        and paths == sorted(set(paths))
    )


def sum_of(path: Path) -> tuple[int, str]:
    """Size and SHA-256 of a file. OSError."""
    digest, size = hashlib.sha256(), 0
    with open(path, "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()


def write(sink: Sink, manifest: Manifest, folder: Path) -> None:
    """Write a backup of the members, which lie in `folder`. OSError, BadData if one has changed."""
    text = manifest.encode()
    sink.write(_header(MANIFEST, len(text)) + text + _padding(len(text)))
    for member in manifest.members:
        sink.write(_header(member.path, member.size))
        left = member.size
        with open(folder / member.path, "rb") as file:
            while left and (piece := file.read(min(left, _PIECE))):
                sink.write(piece)
                left -= len(piece)
        if left:
            raise BadData(f"{member.path} became shorter while it was read; try again.")
        sink.write(_padding(member.size))
    sink.write(_END)


def read_untrusted(source: Source, check: Callable[[Manifest], None], into: Path | None = None) -> Manifest:
    """Read a whole backup and compare every size and sum. `check` refuses a manifest before any member is
    read; `into`: an empty folder for the members. BadData, OSError."""
    header = _exactly(source, _BLOCK)
    size = _size_of(header)
    if not 0 <= size <= MANIFEST_MOST or header != _header(MANIFEST, size):
        raise BadData("This is not a backup of onionshh.")
    manifest = decode_manifest_untrusted(_exactly(source, size))
    _skip(source, _padding(size))
    check(manifest)
    for member in manifest.members:
        _skip(source, _header(member.path, member.size))
        if _copy(source, member, into) != member.sha256:
            raise BadData(f"The backup is damaged: {member.path} is not what the manifest says.")
        _skip(source, _padding(member.size))
    _skip(source, _END)
    if source.read(1):
        raise BadData("The backup is damaged: something stands behind its end.")
    return manifest


def _copy(source: Source, member: Member, into: Path | None) -> str:
    digest, left = hashlib.sha256(), member.size
    target = None
    if into is not None:
        path = into / member.path
        DataDirectory(path.parent)  # for us only, with all folders above
        target = open(path, "xb", opener=_only_ours)  # noqa: SIM115
    try:
        while left:
            piece = _exactly(source, min(left, _PIECE))
            digest.update(piece)
            left -= len(piece)
            if target is not None:
                target.write(piece)
        if target is not None:
            target.flush()
            os.fsync(target.fileno())
    finally:
        if target is not None:
            target.close()
    return digest.hexdigest()


def _only_ours(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o600)


def _header(path: str, size: int) -> bytes:
    about = tarfile.TarInfo(path)
    about.size, about.mode = size, 0o600
    return about.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict")


def _size_of(header: bytes) -> int:
    try:
        return int(header[124:135], 8)
    except ValueError as error:
        raise BadData("This is not a backup of onionshh.") from error


def _padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def _exactly(source: Source, size: int) -> bytes:
    data = source.read(size)
    if len(data) != size:
        raise BadData("The backup is cut off, or is not one of onionshh.")
    return data


def _skip(source: Source, expected: bytes) -> None:
    if _exactly(source, len(expected)) != expected:
        raise BadData("The backup is damaged, or somebody has put something else into it.")


def total(members: Sequence[Member]) -> int:
    """Bytes of all members."""
    return sum(member.size for member in members)
