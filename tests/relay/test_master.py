"""The master key: its file, the signing keys it makes, and how it leaves a relay's folder."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

import pytest

import onionshh.relay.master
from onionshh.core.certificate import expires_of, open_signing_untrusted
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import KEYS_FILE, RelayKeys
from onionshh.relay.master import new_signer, put, read_master, take, write_master
from onionshh.relay.signing_file import SIGNING_FILE, read_signing
from tests.seeded import seeded

KEY = SigningKey(b"m" * 32)
END = 1_700_000_000
DAY = 86_400


def test_a_master_file_comes_back_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "master"
    write_master(path, KEY, "", seeded(1))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    file = read_master(path)
    assert (file.identity, file.is_sealed) == (KEY.public, False)
    assert file.open().seed == KEY.seed
    before = path.read_bytes()
    with pytest.raises(BadData, match="there already"):
        write_master(path, SigningKey(b"n" * 32), "", seeded(2))
    assert path.read_bytes() == before
    assert KEY.seed.hex() not in repr(file)
    assert repr(KEY.seed) not in repr(file)


def test_a_sealed_one_opens_with_its_passphrase_alone(tmp_path: Path) -> None:
    path = tmp_path / "master"
    write_master(path, KEY, "correct horse", seeded(1))
    file = read_master(path)
    assert (file.identity, file.is_sealed) == (KEY.public, True)
    assert KEY.seed not in path.read_bytes()
    assert file.open("correct horse").seed == KEY.seed
    for wrong in ("", "Correct horse"):
        with pytest.raises(BadData, match="passphrase"):
            file.open(wrong)


def test_a_damaged_one_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "master"
    with pytest.raises(BadData, match="no master file"):
        read_master(path)
    write_master(path, KEY, "", seeded(1))
    good = path.read_bytes()
    for bit in range(8 * len(good)):
        changed = bytearray(good)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        with pytest.raises(BadData):
            read_master(path).open()
    for data in (b"", good[:-1], good + b"\0"):
        path.write_bytes(data)
        with pytest.raises(BadData, match="master"):
            read_master(path)


def test_a_signing_key_is_put_into_a_folder_or_a_file(tmp_path: Path) -> None:
    signer = new_signer(KEY, END, seeded(1))
    assert expires_of(signer.signing) == END
    assert open_signing_untrusted(signer.identity, signer.signing).key == signer.key.public
    assert put(signer, tmp_path) == tmp_path / SIGNING_FILE
    assert put(signer, tmp_path / "other") == tmp_path / "other"
    for path in (tmp_path / SIGNING_FILE, tmp_path / "other"):
        back = read_signing(path)
        assert back is not None
        assert back.signing == signer.signing


def test_only_an_earlier_key_of_the_same_relay_is_replaced(tmp_path: Path) -> None:
    put(new_signer(KEY, END, seeded(1)), tmp_path)
    later = new_signer(KEY, END + 1, seeded(2))
    put(later, tmp_path)
    for wrong, why in (
        (new_signer(SigningKey(b"n" * 32), END + 9, seeded(3)), "another relay"),
        (new_signer(KEY, END + 1, seeded(4)), "more --days"),
    ):
        with pytest.raises(BadData, match=why):
            put(wrong, tmp_path)
    (tmp_path / "notes").write_text("not a key")
    with pytest.raises(BadData, match="notes"):
        put(later, tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "not a key"
    back = read_signing(tmp_path / SIGNING_FILE)
    assert back is not None
    assert back.signing == later.signing


def taken(folder: DataDirectory, path: Path) -> Path:
    return take(folder, path, passphrase="", expires=END, random_bytes=seeded(5))


def test_an_identity_leaves_the_folder_and_the_relay_stays_who_it_was(tmp_path: Path) -> None:
    folder, path = DataDirectory(tmp_path / "relay"), tmp_path / "master"
    before = RelayKeys(folder, seeded(1))
    assert taken(folder, path) == folder / SIGNING_FILE
    assert read_master(path).open().seed == before.signer.key.seed
    after = RelayKeys(folder, seeded(2))
    assert after.relay_id == before.relay_id
    assert after.onion_keys() == before.onion_keys()
    assert after.signer.certificate is not None
    for file in folder.path.iterdir():
        assert before.signer.key.seed not in file.read_bytes()
    with pytest.raises(BadData, match="taken out before"):
        taken(folder, tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_there_must_be_a_relay(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="no relay"):
        taken(DataDirectory(tmp_path / "relay"), tmp_path / "master")
    assert not (tmp_path / "master").exists()


@pytest.mark.parametrize("writes", [0, 1])
def test_wherever_it_stops_the_relay_still_starts_as_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """The disk is full after the master file, and before the relay's own file."""
    folder = DataDirectory(tmp_path / "relay")
    before = RelayKeys(folder, seeded(1))

    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(onionshh.relay.master, "write_signing" if writes == 0 else "put", full)
        with pytest.raises((BadData, OSError)):
            taken(folder, tmp_path / "master")
    after = RelayKeys(folder, seeded(2))
    assert after.signer.key.seed == before.signer.key.seed
    assert read_master(tmp_path / "master").open().seed == before.signer.key.seed
    assert (folder / KEYS_FILE).exists()
