"""The file of a signing key: checked whole, for its owner alone, and never half there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData
from onionshh.relay.master import new_signer
from onionshh.relay.signing_file import SIGNING_FILE, read_signing, write_signing
from tests.seeded import seeded

MASTER = SigningKey(b"m" * 32)
END = 1_700_000_000
SIGNER = new_signer(MASTER, END, seeded(1))


def test_a_file_comes_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / SIGNING_FILE
    assert read_signing(path) is None
    write_signing(path, SIGNER)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    back = read_signing(path)
    assert back is not None
    assert (back.identity, back.signing) == (MASTER.public, SIGNER.signing)
    assert back.sign(b"text") == SIGNER.sign(b"text")


def test_it_never_holds_an_identity(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="identity"):
        write_signing(tmp_path / SIGNING_FILE, type(SIGNER).of(MASTER))
    assert not list(tmp_path.iterdir())


def test_every_flipped_bit_and_truncation_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / SIGNING_FILE
    write_signing(path, SIGNER)
    good = path.read_bytes()
    wrong = [good[:size] for size in range(len(good))] + [good + b"\0", b"x" * 5000]
    for bit in range(8 * len(good)):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        wrong.append(bytes(changed))
    for data in wrong:
        path.write_bytes(data)
        with pytest.raises(BadData, match=SIGNING_FILE):
            read_signing(path)


def test_a_later_version_is_named(tmp_path: Path) -> None:
    path = tmp_path / SIGNING_FILE
    write_signing(path, SIGNER)
    data = path.read_bytes()
    path.write_bytes(data[:1] + b"\x02" + data[2:])
    with pytest.raises(BadData, match="another version"):
        read_signing(path)
