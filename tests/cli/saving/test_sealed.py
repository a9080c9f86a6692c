"""A stream under a passphrase: what was written comes out, and nothing that was changed."""

from __future__ import annotations

import io
from functools import cache

import pytest

from onionshh.cli.saving import sealed as sealed_file
from onionshh.cli.saving.sealed import HEAD, SealingSink, opened
from onionshh.crypto.passphrase import CHUNK, SALT, SEALED_CHUNK, passphrase_key
from onionshh.errors import BadData
from tests.seeded import seeded

PASSPHRASE = "correct horse"


@pytest.fixture(autouse=True)
def _one_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """scrypt takes its time, and here the salt is always the same."""
    monkeypatch.setattr(sealed_file, "passphrase_key", cache(passphrase_key))


def sealed(data: bytes, piece: int = 7001) -> bytes:
    file = io.BytesIO()
    sink = SealingSink(file, PASSPHRASE, seeded(1))
    for start in range(0, len(data), piece):
        sink.write(data[start : start + piece])
    sink.close()
    return file.getvalue()


def read(data: bytes, passphrase: str | None = PASSPHRASE) -> bytes:
    source = opened(io.BytesIO(data), passphrase)
    found = b""
    while piece := source.read(9999):
        found += piece
    return found


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK])
def test_what_was_written_comes_out(size: int) -> None:
    data = seeded(2)(size)
    found = sealed(data)
    assert read(found) == data
    assert data[:100] not in found[: -len(data) or None] or size < 100


def test_what_was_changed_cut_or_added_is_refused() -> None:
    good = sealed(seeded(2)(CHUNK + 50))
    start = len(HEAD) + SALT
    for bad in (
        good[:-1],
        good[: start + SEALED_CHUNK],
        good[:start],
        good + b"\0",
        good[:start] + good[start + SEALED_CHUNK :],
        good[: start - 1] + b"\xff" + good[start:] if good[start - 1] != 0xFF else good[:-2],
        good[: start + 9] + bytes((good[start + 9] ^ 1,)) + good[start + 10 :],
    ):
        with pytest.raises(BadData, match="passphrase is not that"):
            read(bad)
    with pytest.raises(BadData, match="passphrase is not that"):
        read(good, "another passphrase")


def test_a_passphrase_is_given_exactly_where_one_is_needed() -> None:
    with pytest.raises(BadData, match="with --passphrase-file"):
        read(sealed(b"x"), None)
    with pytest.raises(BadData, match="leave out"):
        read(b"not sealed")
    assert read(b"not sealed", None) == b"not sealed"
