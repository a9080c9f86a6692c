"""Which files of a folder are kept, and whether those of a copy fit together."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from onionshh.cli.saving.members import (
    CONTACTS,
    DIRECTORY,
    HOST,
    RELAY,
    found_in,
    item_of,
    kind_of,
    subject_of,
)
from onionshh.client.identities import Identity
from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData
from onionshh.net.guard_file import OVER_TOR_FILES
from onionshh.net.onion import OnionKey
from onionshh.net.store import DataDirectory
from onionshh.relay.master import new_signer, take
from onionshh.relay.signing_file import write_signing
from tests.cli.saving import folders
from tests.seeded import seeded


def kept(folder: Path, *, moves: bool = False) -> list[str]:
    return [name for name, _ in found_in(folder, kind_of(folder), moves=moves)]


def test_each_folder_keeps_what_must_not_be_lost_and_no_cache(tmp_path: Path) -> None:
    relay, directory, host, contacts = (tmp_path / name for name in "rdhc")
    identity = folders.relay(relay)
    assert (kind_of(relay), subject_of(relay, RELAY)) == (RELAY, identity)
    assert kept(relay) == ["relay-keys", "accounting"]
    assert kept(relay, moves=True) == ["relay-keys", "accounting", "ring.db", "mailboxes.db"]
    key = folders.directory(directory)
    assert (kind_of(directory), subject_of(directory, DIRECTORY)) == (DIRECTORY, key)
    assert kept(directory) == ["authority", "state"]
    address = folders.host(host)
    assert (kind_of(host), subject_of(host, HOST)) == (HOST, address)
    assert [name.split("/")[0] for name in kept(host)] == [
        *("identity", "endpoints", "guards", "contacts", "boards", "meetings")
    ]
    folders.contacts(contacts)
    assert (kind_of(contacts), subject_of(contacts, CONTACTS)) == (CONTACTS, "")


def test_a_folder_of_nobody_or_of_two_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="nothing of onionshh"):
        kind_of(tmp_path)
    folders.relay(tmp_path)
    Identity.generate(seeded(1)).save(tmp_path / "identity")
    with pytest.raises(BadData, match="a relay and a host"):
        kind_of(tmp_path)


@pytest.mark.parametrize(
    "path",
    [
        *(
            "",
            "/etc/passwd",
            "../relay-keys",
            "./relay-keys",
            "relay-keys/",
            "relay-keys\n",
            "lock",
            "consensus",
        ),
        *("identity", "contacts/../contact.db", "endpoints/x/endpoint.db", "manifest.json"),
    ],
)
def test_a_backup_may_name_nothing_else(path: str) -> None:
    assert item_of(RELAY, path) is None
    assert item_of("other", path) is None
    assert path == "identity" or item_of(HOST, path) is None


def test_a_link_in_the_place_of_a_file_is_refused(tmp_path: Path) -> None:
    folders.contacts(tmp_path / "c")
    os.rename(tmp_path / "c" / "contacts", tmp_path / "elsewhere")
    os.symlink(tmp_path / "elsewhere", tmp_path / "c" / "contacts")
    with pytest.raises(BadData, match="symbolic link"):
        kept(tmp_path / "c")


def test_what_does_not_fit_together_is_refused(tmp_path: Path) -> None:
    folders.host(tmp_path / "h")
    (tmp_path / "h" / "identity").unlink()
    Identity.generate(seeded(77)).save(tmp_path / "h" / "identity")
    with pytest.raises(BadData, match="is not of the identity"):
        subject_of(tmp_path / "h", HOST)
    folders.contacts(tmp_path / "c")
    (found,) = (tmp_path / "c" / "contacts").iterdir()
    found.rename(found.with_name("00" * 8))
    with pytest.raises(BadData, match="another contact"):
        subject_of(tmp_path / "c", CONTACTS)
    folders.relay(tmp_path / "r")
    DataDirectory(tmp_path / "r").write("accounting", b"junk")
    with pytest.raises(BadData, match="is damaged"):
        subject_of(tmp_path / "r", RELAY)
    folders.directory(tmp_path / "d")
    DataDirectory(tmp_path / "d").write("consensus", b"junk")
    with pytest.raises(BadData, match="is not signed"):
        subject_of(tmp_path / "d", DIRECTORY)
    DataDirectory(tmp_path / "d").write("state", b"junk")
    with pytest.raises(BadData, match="is damaged"):
        subject_of(tmp_path / "d", DIRECTORY)
    for kind in (RELAY, DIRECTORY, HOST):
        with pytest.raises(BadData, match="There is no"):
            subject_of(tmp_path / "c", kind)


def test_what_came_with_later_options_is_kept_too(tmp_path: Path) -> None:
    """A signing key in the place of the identity, an onion service's key, guards over tor."""
    relay, visitor = tmp_path / "relay", tmp_path / "visitor"
    identity = folders.relay(relay)
    with DataDirectory(relay).lock():
        take(
            DataDirectory(relay),
            tmp_path / "relay.master",
            passphrase="",
            expires=folders.MADE,
            random_bytes=seeded(5),
        )
    OnionKey.load_or_create(DataDirectory(relay), seeded(6))
    assert kept(relay) == ["relay-keys", "relay-signing", "onion-key", "accounting"]
    assert subject_of(relay, RELAY) == identity
    write_signing(relay / "relay-signing", new_signer(SigningKey(bytes(32)), folders.MADE, seeded(7)))
    with pytest.raises(BadData, match="of another relay"):
        subject_of(relay, RELAY)
    (relay / "relay-signing").unlink()
    assert subject_of(relay, RELAY) == identity  # the next one can be signed elsewhere
    for name in OVER_TOR_FILES:
        DataDirectory(visitor).write(name, b"guards")
    assert (kind_of(visitor), kept(visitor)) == (CONTACTS, list(OVER_TOR_FILES))


def test_a_dot_in_a_name_is_a_dot() -> None:
    assert item_of(RELAY, "ring.db") is not None
    assert item_of(RELAY, "ringXdb") is None
