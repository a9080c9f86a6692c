"""A relay's identity as a master key, kept away from the relay (SPEC 8).

The master key is a file of its own, made or taken out on a machine of the operator's choice. All it does is
to sign for signing keys, one after the other, and it needs no network for that. A file may be sealed under a
passphrase. The identity's public half stands in it in the clear, so that it can be shown without.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from onionshh.advice import advice
from onionshh.core.base.words import utc
from onionshh.core.certificate import RelaySigner, certify, expires_of
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.passphrase import SALT, open_under, seal_under
from onionshh.crypto.primitives import equal
from onionshh.errors import BadData, CryptoError, ProtocolError
from onionshh.geometry import AEAD_TAG, KEY
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.store import DataDirectory, atomic_write, read_file
from onionshh.relay.keys import KEYS_FILE, read_keys
from onionshh.relay.signing_file import SIGNING_FILE, read_signing, write_signing
from onionshh.wire.packing import Bin, Int, fields, pack, unpack_untrusted, version_untrusted

DAY = 86_400
MOST_DAYS = 365

_VERSION = 1
_SEALED = SALT + KEY + AEAD_TAG
_SHAPE = fields(Int(255), Bin(exact=KEY), Bin(exact=KEY, or_empty=True), Bin(exact=_SEALED, or_empty=True))
"""Version, identity; its seed in the clear, or empty; the seed sealed under a passphrase, or empty."""
_MOST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class MasterFile:
    """What a master file says. One of `seed` and `sealed` is empty."""

    identity: RelayId
    seed: bytes = field(default=b"", repr=False)
    sealed: bytes = field(default=b"", repr=False)

    @property
    def is_sealed(self) -> bool:
        """Whether it takes a passphrase to use it."""
        return bool(self.sealed)

    def open(self, passphrase: str = "") -> SigningKey:
        """The master key. BadData for a wrong passphrase, and for a file that does not hold its key."""
        seed = self.seed
        if self.sealed:
            try:
                seed = open_under(passphrase, self.sealed, _about(self.identity))
            except CryptoError as error:
                raise BadData("This passphrase does not open the master file; try again.") from error
        key = SigningKey(seed)
        if not equal(key.public, self.identity):
            raise BadData("The master file is damaged; restore it from a backup.")
        return key


def write_master(path: Path, key: SigningKey, passphrase: str, random_bytes: RandomBytes) -> None:
    """Write a new master file and read it back. `passphrase`: empty for none. BadData if there is such a file
    already, or if it cannot be written."""
    identity = RelayId(key.public)
    file = MasterFile(identity, seed=key.seed)
    if passphrase:
        file = MasterFile(identity, sealed=seal_under(passphrase, key.seed, _about(identity), random_bytes))
    try:
        atomic_write(path, pack((_VERSION, file.identity, file.seed, file.sealed)), new=True)
    except FileExistsError as error:
        raise BadData(
            f"{path} is there already, and may be the only copy of a key; give another name."
        ) from error
    except OSError as error:
        raise BadData(f"Cannot write {path}: {error.strerror}{advice(error)}.") from error
    read_master(path).open(passphrase)


def read_master(path: Path) -> MasterFile:
    """The master file. BadData."""
    data = read_file(path, _MOST_BYTES, secret=True)
    if data is None:
        raise BadData(f"There is no master file {path}; `onionshh master new` makes one.")
    try:
        if version_untrusted(data) not in (_VERSION, None):
            raise BadData(f"{path} was written by another version of onionshh.")
        _, identity, seed, sealed = unpack_untrusted(data, _SHAPE, _MOST_BYTES)
    except ProtocolError as error:
        raise BadData(f"{path} is not a master file, or it is damaged.") from error
    if bool(seed) == bool(sealed):
        raise BadData(f"{path} is not a master file, or it is damaged.")
    return MasterFile(RelayId(identity), seed, sealed)


def new_signer(master: SigningKey, expires: int, random_bytes: RandomBytes) -> RelaySigner:
    """A new signing key until `expires` (Unix seconds)."""
    key = SigningKey.generate(random_bytes)
    return RelaySigner(RelayId(master.public), key, certify(master, key.public, expires))


def put(signer: RelaySigner, to: Path) -> Path:
    """Write a signing key into a folder, or as a file, and read it back. Returns the file. An earlier one of
    the same relay is replaced; BadData for anything else that lies there."""
    path = to / SIGNING_FILE if to.is_dir() else to
    if relay_at(path) not in (None, signer.identity):
        raise BadData(f"{path.parent} is the folder of another relay; give another place.")
    there = read_signing(path)
    if there is not None and there.identity != signer.identity:
        raise BadData(f"{path} is the signing key of another relay; give another place.")
    if there is not None and expires_of(there.signing) >= expires_of(signer.signing):
        raise BadData(
            f"{path} lasts until {utc(expires_of(there.signing))}, and the new one would not last longer, so"
            " the relay would not take it; give more --days."
        )
    try:
        write_signing(path, signer)
    except OSError as error:
        raise BadData(f"Cannot write {path}: {error.strerror}{advice(error)}.") from error
    back = read_signing(path)
    if back is None or back.signing != signer.signing:
        raise BadData(f"{path} does not hold what was written; is the disk broken?")
    return path


def relay_at(path: Path) -> RelayId | None:
    """The relay that takes a signing key from this path: the one whose folder it lies in, under the name that
    a relay looks for. None if there is none. BadData."""
    if path.name != SIGNING_FILE or not (path.parent / KEYS_FILE).is_file():
        return None
    kept = read_keys(DataDirectory(path.parent))
    return None if kept is None else kept.relay_id


def take(
    folder: DataDirectory, path: Path, *, passphrase: str, expires: int, random_bytes: RandomBytes
) -> Path:
    """Take the identity out of a relay's folder into a new master file, and leave a signing key there.

    Nothing is removed before the master file is on disk and was read back. If it stops in the middle, the
    relay has its identity still. The caller holds the folder's lock. BadData.
    """
    kept = read_keys(folder)
    if kept is None:
        raise BadData(f"There is no relay in {folder.path}: it has no file {KEYS_FILE}.")
    if kept.identity is None:
        raise BadData(f"The identity of the relay in {folder.path} was taken out before.")
    write_master(path, kept.identity, passphrase, random_bytes)
    file = put(new_signer(kept.identity, expires, random_bytes), folder.path)
    try:
        atomic_write(folder / KEYS_FILE, replace(kept, identity=None).encode())
    except OSError as error:
        raise BadData(
            f"The master file is written, but {folder / KEYS_FILE} cannot be ({error.strerror}): the relay"
            " still has its identity. Remove the master file, and try again."
        ) from error
    return file


def _about(identity: RelayId) -> bytes:
    return b"relay master key 1" + identity
