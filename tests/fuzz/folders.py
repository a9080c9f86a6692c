"""Targets of what lies in files that somebody may have been handed: backups, and what a relay has counted."""

from __future__ import annotations

import io
import tempfile
from collections.abc import Iterator
from pathlib import Path

from onionshh.cli.saving.archive import (
    Manifest,
    Member,
    decode_manifest_untrusted,
    read_untrusted,
    sum_of,
    write,
)
from onionshh.cli.saving.making import check_manifest
from onionshh.crypto.passphrase import ChunkCipher
from onionshh.errors import BadData
from onionshh.relay import allowance
from onionshh.relay.allowance import Kept
from tests.fuzz.target import Target

_KEY = bytes(32)


def _manifest(folder: Path) -> Manifest:
    for name, data in (("accounting", b"a" * 20), ("relay-keys", b"k" * 600)):
        (folder / name).write_bytes(data)
    members = tuple(Member(name, *sum_of(folder / name)) for name in ("accounting", "relay-keys"))
    return Manifest("relay", "ab" * 32, 1_800_000_000, members)


def _documents() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as name:
        manifest = _manifest(Path(name))
        file = io.BytesIO()
        write(file, manifest, Path(name))
    yield manifest.encode()
    yield file.getvalue()


_MANIFEST, _ARCHIVE = _documents()


def _read(data: bytes) -> None:
    read_untrusted(io.BytesIO(data), check_manifest)


def _sealed(data: bytes) -> None:
    ChunkCipher(_KEY, b"head").open_untrusted(data, last=True)


FOLDERS = (
    Target("relay.allowance.decode_untrusted", allowance.decode_untrusted, (Kept(1, 3, 5, 2).encode(),)),
    Target(
        "cli.saving.archive.decode_manifest_untrusted",
        decode_manifest_untrusted,
        (_MANIFEST,),
        refuses=BadData,
    ),
    Target("cli.saving.archive.read_untrusted", _read, (_ARCHIVE,), refuses=BadData),
    Target(
        "crypto.passphrase.ChunkCipher.open_untrusted",
        _sealed,
        (ChunkCipher(_KEY, b"head").seal(b"chunk", last=True),),
    ),
)
