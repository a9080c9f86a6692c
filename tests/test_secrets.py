"""No file that git tracks is a secret of ours: what was committed once is known for good."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from onionshh.client.identities import Identity
from onionshh.crypto.identity import SigningKey
from onionshh.directory.store import create_or_open, read_authority
from onionshh.errors import BadData
from onionshh.net.onion import KEY_FILE, OnionKey
from onionshh.net.store import DataDirectory
from onionshh.relay.keys import KEYS_FILE, RelayKeys, read_keys
from onionshh.relay.master import new_signer, read_master, take, write_master
from onionshh.relay.signing_file import SIGNING_FILE, read_signing, write_signing
from tests.seeded import seeded

ROOT = Path(__file__).parent.parent
BYTES_MOST = 4096
"""No secret of ours is as long."""
WALL = 1_790_000_000


def no_bytes(count: int) -> bytes:
    """A key is to be read here, not made."""
    raise AssertionError(count)


READERS: dict[str, Callable[[DataDirectory], object]] = {
    "identity": lambda folder: Identity.load(folder / "identity"),
    KEYS_FILE: read_keys,
    SIGNING_FILE: lambda folder: read_signing(folder / SIGNING_FILE),
    "master": lambda folder: read_master(folder / "master"),
    "authority": read_authority,
    KEY_FILE: lambda folder: OnionKey.load_or_create(folder, no_bytes),
}
"""By the name that each one has in its folder."""


def secrets_in(data: bytes, folder: Path) -> list[str]:
    """As which of our secrets these bytes can be read. Nothing is left in the folder."""
    found = []
    for name, read in READERS.items():
        path = folder / name
        path.touch(mode=0o600)
        path.write_bytes(data)
        try:
            read(DataDirectory(folder))
        except BadData:
            continue
        else:
            found.append(name)
        finally:
            path.unlink()
    return found


def tracked() -> list[Path]:
    """The files that git tracks, without those in Python. Skips where there is no git, or no repository."""
    git = shutil.which("git")
    if git is None:
        pytest.skip("there is no git")
    command = [git, "-C", str(ROOT), "ls-files", "-z"]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    names = done.stdout.decode().split("\0") if not done.returncode else []
    if "pyproject.toml" not in names:
        pytest.skip("this is not a repository of git")
    paths = [ROOT / name for name in names if name and not name.endswith(".py")]
    return [path for path in paths if path.is_file() and not path.is_symlink()]


def test_no_file_that_git_tracks_is_a_secret(tmp_path: Path) -> None:
    small = [path for path in tracked() if path.stat().st_size < BYTES_MOST]
    assert len(small) > 5
    found = {str(path.relative_to(ROOT)): secrets_in(path.read_bytes(), tmp_path) for path in small}
    assert {name: kinds for name, kinds in found.items() if kinds} == {}


def test_every_secret_of_ours_would_be_noticed(tmp_path: Path) -> None:
    """Also one that is sealed, and the keys of a relay whose identity is kept away."""
    draw, made, scratch = seeded(1), DataDirectory(tmp_path / "made"), tmp_path / "scratch"
    scratch.mkdir()
    master = SigningKey.generate(draw)
    Identity.generate(draw).save(made / "identity")
    write_master(made / "master", master, "", draw)
    write_master(made / "sealed", master, "correct horse battery", draw)
    write_signing(made / SIGNING_FILE, new_signer(master, WALL, draw))
    OnionKey.load_or_create(made, draw)
    with create_or_open(made.path, tmp_path / "network", url="http://127.0.0.1:7000", random_bytes=draw):
        pass
    relay = made.inside("relay")
    RelayKeys(relay, draw)
    shutil.copy(relay / KEYS_FILE, made / KEYS_FILE)
    take(relay, made / "taken", passphrase="", expires=WALL, random_bytes=draw)
    kinds = {"sealed": "master", "taken": "master"}
    for path in (made / name for name in (*READERS, *kinds)):
        data = path.read_bytes()
        assert len(data) < BYTES_MOST
        assert kinds.get(path.name, path.name) in secrets_in(data, scratch)
    assert KEYS_FILE in secrets_in((relay / KEYS_FILE).read_bytes(), scratch)
    assert secrets_in(b"", scratch) == secrets_in(b"some text\n", scratch) == []
