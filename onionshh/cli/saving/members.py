"""What of a data folder is in its backup, by the kind of the folder, and whether a copy fits together.

- Keys and identities: without them the relay, the directory or the address is lost.
- Databases of endpoints, contacts, boards and meetings: sessions, what waits, which ids were seen.
- Guards: to draw others after each restore would show more relays who one is.
- Not caches: consensuses come again (a directory's own last one is kept, since it goes on from there).
- Not what a relay keeps for others, unless it moves: a copy brings back what was erased, and each item lies
  at other relays too.

Of an endpoint's database three tables stay behind (snapshot.py): keys of periods with their replay logs, and
introducers. So an old introduction cannot be opened again after a restore, and what was sealed to keys that
have been erased since stays sealed, whoever finds the backup.
"""

from __future__ import annotations

import os
import re
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from onionshh.cli.address import IDENTITY_FILE
from onionshh.cli.saving.snapshot import open_copy
from onionshh.client.board import folder as boards
from onionshh.client.contact_folder import CONTACTS_FOLDER
from onionshh.client.contact_folder import DATABASE_FILE as CONTACT_FILE
from onionshh.client.contact_folder import MIGRATIONS as CONTACT_MIGRATIONS
from onionshh.client.hosting import hosting
from onionshh.client.identities import Identity
from onionshh.client.meeting import folder as meetings
from onionshh.crypto.primitives import kdf
from onionshh.directory.store import read_authority
from onionshh.errors import BadData, CryptoError, ProtocolError
from onionshh.net.guard_file import GUARDS_FILE, LAYER_TWO_FILE, OVER_TOR_FILES
from onionshh.net.onion import KEY_FILE as ONION_FILE
from onionshh.net.onion import OnionKey
from onionshh.net.store import DataDirectory, read_file
from onionshh.relay.accounting import ACCOUNTING_FILE
from onionshh.relay.allowance import decode_untrusted
from onionshh.relay.keys import KEYS_FILE, read_keys
from onionshh.relay.signing_file import SIGNING_FILE, read_signing
from onionshh.rendezvous.mailbox_store import MAILBOX_FILE, MAILBOX_MIGRATIONS
from onionshh.rendezvous.ring_store import RING_FILE, RING_MIGRATIONS

RELAY, DIRECTORY, HOST, CONTACTS = "relay", "directory", "host", "contacts"
AUTHORITY_FILE: Final = "authority"
_HASH: Final = "[0-9a-f]{16}"
_STATE_MOST: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Item:
    """A file that may be in a backup. `path`: its place, in which a hash is a pattern. `migrations`: of a
    database; `leaves`: SQL that its copy goes through. `moves`: only in the backup of a relay that moves."""

    path: str
    migrations: Sequence[str] = ()
    leaves: str = ""
    moves: bool = False

    @property
    def pattern(self) -> str:
        """The place as a regular expression."""
        return re.escape(self.path).replace(re.escape(_HASH), _HASH)


_AGAIN: Final = "UPDATE inbox SET shown = shown + 1;"
"""Whoever takes such a whisper sees by `shown` that it may have been taken before."""
_VISITOR: Final = (
    Item(GUARDS_FILE),
    Item(LAYER_TWO_FILE),
    *map(Item, OVER_TOR_FILES),
    Item(f"{CONTACTS_FOLDER}/{_HASH}/{CONTACT_FILE}", CONTACT_MIGRATIONS, _AGAIN),
    Item(f"{boards.BOARDS_FOLDER}/{_HASH}/{boards.DATABASE_FILE}", boards.MIGRATIONS),
    Item(f"{meetings.MEETINGS_FOLDER}/{_HASH}/{meetings.DATABASE_FILE}", meetings.MIGRATIONS, _AGAIN),
)
ITEMS: Final = {
    RELAY: (
        Item(KEYS_FILE),
        Item(SIGNING_FILE),
        Item(ONION_FILE),
        Item(ACCOUNTING_FILE),
        Item(RING_FILE, RING_MIGRATIONS, moves=True),
        Item(MAILBOX_FILE, MAILBOX_MIGRATIONS, moves=True),
    ),
    # The state is copied after the consensus, so it is not older: see directory/store.py.
    DIRECTORY: (Item(AUTHORITY_FILE), Item("consensus"), Item("state")),
    HOST: (
        Item(IDENTITY_FILE),
        Item(
            f"endpoints/{_HASH}/{hosting.DATABASE_FILE}",
            hosting.MIGRATIONS,
            f"DELETE FROM period_keys; DELETE FROM replay; DELETE FROM introducers; {_AGAIN}",
        ),
        *_VISITOR,
    ),
    CONTACTS: _VISITOR,
}
_VISITED: Final = (CONTACTS_FOLDER, "boards", "meetings", GUARDS_FILE, OVER_TOR_FILES[0])
"""One of these is in the folder of whoever visits."""
_KEYS: Final = {KEYS_FILE: RELAY, AUTHORITY_FILE: DIRECTORY, IDENTITY_FILE: HOST}


def kind_of(folder: Path) -> str:
    """Whose folder this is. BadData if it is nobody's, or of two."""
    kinds = [kind for name, kind in _KEYS.items() if (folder / name).exists()]
    if len(kinds) > 1:
        raise BadData(f"{folder} is the folder of a {' and a '.join(kinds)}; each needs one of its own.")
    if kinds:
        return kinds[0]
    if any((folder / one).exists() for one in _VISITED):
        return CONTACTS
    raise BadData(f"There is nothing of onionshh in {folder} that a backup would keep.")


def item_of(kind: str, path: str) -> Item | None:
    """What is known of a path in a backup of this kind; None if nothing is."""
    return next((item for item in ITEMS.get(kind, ()) if re.fullmatch(item.pattern, path)), None)


def found_in(folder: Path, kind: str, *, moves: bool) -> Iterator[tuple[str, Item]]:
    """The files of a folder that are kept, in the order in which they are to be copied. BadData for a
    symbolic link among them."""
    for item in ITEMS[kind]:
        if item.moves and not moves:
            continue
        for path in sorted(folder.glob(item.path.replace(_HASH, "*"))):
            name = path.relative_to(folder).as_posix()
            if not re.fullmatch(item.pattern, name):
                continue
            if any(one.is_symlink() for one in (path, *path.parents[: name.count("/")])):
                raise BadData(f"{path} is a symbolic link, which we never make; remove it.")
            if path.is_file():
                yield name, item


def subject_of(folder: Path, kind: str) -> str:
    """Who this is: a relay's id, a directory's key or an endpoint's address; empty for contacts. All that is
    there is parsed, and must fit together. BadData."""
    subject = {RELAY: _relay, DIRECTORY: _directory, HOST: _host}.get(kind, lambda _: "")(folder)
    for path in sorted(folder.glob(f"{CONTACTS_FOLDER}/*/{CONTACT_FILE}")):
        _contact(path)
    return subject


def _relay(folder: Path) -> str:
    _need(folder / KEYS_FILE)
    keys = read_keys(DataDirectory(folder))
    if keys is None:
        raise BadData(f"There is no {folder / KEYS_FILE}.")
    # One whose identity is kept away may be without a signing key: another one can be made.
    signer = read_signing(folder / SIGNING_FILE)
    if signer is not None and signer.identity != keys.relay_id:
        raise BadData(f"{folder / SIGNING_FILE} is of another relay than {KEYS_FILE}.")
    if (folder / ONION_FILE).exists():
        OnionKey.load_or_create(DataDirectory(folder), os.urandom)
    kept = read_file(folder / ACCOUNTING_FILE)
    if kept is not None:
        try:
            decode_untrusted(kept)
        except ProtocolError as error:
            raise BadData(f"{folder / ACCOUNTING_FILE} is damaged.") from error
    return keys.relay_id.hex()


def _directory(folder: Path) -> str:
    _need(folder / AUTHORITY_FILE)
    store = read_authority(DataDirectory(folder))
    if store is None:
        raise BadData(f"There is no {folder / AUTHORITY_FILE}.")
    store.load_state()
    if (folder / "consensus").exists() and store.load_consensus() is None:
        raise BadData(f"{folder / 'consensus'} is not signed by the key in {AUTHORITY_FILE}.")
    return store.key.public.hex()


def _host(folder: Path) -> str:
    identity = Identity.load(folder / IDENTITY_FILE)
    ours = hosting.endpoint_folder_name(identity)
    for path in folder.glob("endpoints/*"):
        if path.name != ours:
            raise BadData(f"{path} is not of the identity in {folder / IDENTITY_FILE}.")
    return identity.address


def _contact(path: Path) -> None:
    try:
        with closing(open_copy(path)) as connection:
            whose = connection.execute("SELECT address, name FROM about").fetchone()
        fits = whose is None or path.parent.name == (
            kdf("contact folder", whose[0], whose[1].encode(), length=8).hex()
        )
    except (sqlite3.Error, CryptoError, TypeError, AttributeError) as error:
        raise BadData(f"{path} cannot be read: {error}.") from error
    if not fits:
        raise BadData(f"{path} is of another contact than its folder says.")


def _need(path: Path) -> None:
    if not path.is_file():
        raise BadData(f"There is no {path}.")
