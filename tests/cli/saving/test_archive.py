"""The one form of a backup: tar reads it, and the reader takes nothing else."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from onionshh.cli.saving import archive
from onionshh.cli.saving.archive import (
    Manifest,
    Member,
    decode_manifest_untrusted,
    read_untrusted,
    sum_of,
    total,
    write,
)
from onionshh.errors import BadData
from tests.seeded import seeded

CONTENTS = {"a": b"", "b/c": seeded(1)(700), "d": seeded(2)(512)}


def ignored(manifest: Manifest) -> None:
    """Nothing is refused for its names."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, data in CONTENTS.items():
        (tmp_path / "from" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "from" / name).write_bytes(data)
    return tmp_path / "from"


def manifest_of(folder: Path) -> Manifest:
    return Manifest("host", "shh1", 5, tuple(Member(name, *sum_of(folder / name)) for name in CONTENTS))


def written(manifest: Manifest, folder: Path) -> bytes:
    file = io.BytesIO()
    write(file, manifest, folder)
    return file.getvalue()


def refused(data: bytes, into: Path | None = None) -> str:
    with pytest.raises(BadData) as caught:
        read_untrusted(io.BytesIO(data), ignored, into)
    return str(caught.value)


def test_it_is_read_back_and_tar_reads_it_too(folder: Path, tmp_path: Path) -> None:
    manifest = manifest_of(folder)
    data = written(manifest, folder)
    assert data == written(manifest, folder)
    into = tmp_path / "into"
    into.mkdir()
    assert read_untrusted(io.BytesIO(data), ignored, into) == manifest
    assert {name: (into / name).read_bytes() for name in CONTENTS} == CONTENTS
    assert {(into / name).stat().st_mode & 0o777 for name in CONTENTS} == {0o600}
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert tar.getnames() == ["manifest.json", *CONTENTS]
        assert {(one.mtime, one.uid, one.mode) for one in tar.getmembers()} == {(0, 0, 0o600)}
    assert total(manifest.members) == 1212


def test_every_cut_and_every_changed_block_is_refused(folder: Path) -> None:
    data = written(manifest_of(folder), folder)
    for size in range(0, len(data), 97):
        refused(data[:size])
    refused(data + b"\0")
    for at in range(0, len(data), 131):
        refused(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])


def test_links_devices_and_second_copies_are_refused(folder: Path) -> None:
    manifest = manifest_of(folder)
    for kind in (tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.DIRTYPE, tarfile.XHDTYPE):
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            text = manifest.encode()
            about = tarfile.TarInfo("manifest.json")
            about.size, about.mode = len(text), 0o600
            tar.addfile(about, io.BytesIO(text))
            evil = tarfile.TarInfo("a")
            evil.type, evil.linkname, evil.mode = kind, "/etc/passwd", 0o600
            tar.addfile(evil)
        assert "something else" in refused(file.getvalue())
    refused(b"")
    refused(bytes(10_240))
    refused(b"x" * 10_240)


def test_a_manifest_that_promises_too_much_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    about = tarfile.TarInfo("manifest.json")
    about.size, about.mode = archive.MANIFEST_MOST + 1, 0o600
    assert refused(about.tobuf(tarfile.USTAR_FORMAT)) == "This is not a backup of onionshh."


@pytest.mark.parametrize(
    "changed",
    [
        {"size": -1},
        {"size": archive.MEMBER_MOST + 1},
        {"size": True},
        {"size": 1.0},
        {"sha256": "ab"},
        {"sha256": None},
        {"path": "ü"},
        {"path": "x" * 300},
        {"version": "1"},
        {"more": 1},
    ],
)
def test_a_manifest_of_another_shape_is_refused(folder: Path, changed: dict[str, object]) -> None:
    document = json.loads(manifest_of(folder).encode())
    document["members"][0].update(changed)
    data = (json.dumps(document, sort_keys=True, indent=1) + "\n").encode()
    with pytest.raises(BadData):
        decode_manifest_untrusted(data)


def test_a_manifest_is_whole_and_written_in_one_way(folder: Path) -> None:
    manifest = manifest_of(folder)
    data = manifest.encode()
    assert decode_manifest_untrusted(data) == manifest
    many = replace(manifest, members=manifest.members * 2)
    backwards = replace(manifest, members=manifest.members[::-1])
    for bad in (
        *(data[:size] for size in range(0, len(data), 17)),
        data + b" ",
        data.replace(b'"made": 5', b'"made":  5'),
        b"[]",
        b"[" * 100_000,
        many.encode(),
        backwards.encode(),
        replace(manifest, subject="é").encode(),
    ):
        with pytest.raises(BadData):
            decode_manifest_untrusted(bad)
    with pytest.raises(BadData, match="another version"):
        decode_manifest_untrusted(replace(manifest, format=2).encode())


def test_names_are_checked_before_members_are_read(folder: Path, tmp_path: Path) -> None:
    def refuse(manifest: Manifest) -> None:
        raise BadData("not these")

    into = tmp_path / "into"
    into.mkdir()
    with pytest.raises(BadData, match="not these"):
        read_untrusted(io.BytesIO(written(manifest_of(folder), folder)), refuse, into)
    assert list(into.iterdir()) == []


def test_a_file_that_became_shorter_is_noticed(folder: Path) -> None:
    manifest = manifest_of(folder)
    (folder / "d").write_bytes(b"")
    with pytest.raises(BadData, match="became shorter"):
        written(manifest, folder)


def test_sums_are_of_the_whole_file(tmp_path: Path) -> None:
    data = seeded(3)(200_000)
    (tmp_path / "x").write_bytes(data)
    assert sum_of(tmp_path / "x") == (200_000, hashlib.sha256(data).hexdigest())
