"""A relay's keys on disk: its identity for good, its onion keys in turn (SPEC 6, 8).

The identity is for relaying alone; an endpoint or client on the same machine has folders and keys of its
own. An onion key serves for `onion_key_seconds` and then stays one such time in grace, which is longer than
any consensus that still names it can be valid (core/params.py refuses other parameters).
"""

from __future__ import annotations

from dataclasses import dataclass

from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import BadData, ProtocolError
from onionshh.geometry import KEY
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.store import DataDirectory, atomic_write, read_file
from onionshh.wire.packing import Bin, Int, ListOf, fields, pack, unpack_untrusted

KEYS_FILE = "relay-keys"
_VERSION = 1
_SHAPE = fields(Int(255), Bin(exact=KEY), ListOf(fields(Bin(exact=KEY), Int()), most=2, least=1))
_MOST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _OnionKey:
    pair: KeyPair
    made: int


class RelayKeys:
    """Held by the one process that runs this relay. `made` times are Unix seconds."""

    def __init__(self, folder: DataDirectory, random_bytes: RandomBytes, wall: int) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        data = read_file(folder / KEYS_FILE, secret=True)
        if data is None:
            self.identity = SigningKey.generate(random_bytes)
            self._onion = [_OnionKey(KeyPair.generate(random_bytes), wall)]
            self._write(self._onion)
            return
        try:
            version, seed, rows = unpack_untrusted(data, _SHAPE, _MOST_BYTES)
        except ProtocolError as error:
            raise BadData(f"{folder / KEYS_FILE} is damaged; restore it from a backup.") from error
        if version != _VERSION:
            raise BadData(f"{folder / KEYS_FILE} was written by another version of onionshh.")
        self.identity = SigningKey(seed)
        self._onion = [_OnionKey(KeyPair.from_private(private), made) for private, made in rows]

    @property
    def relay_id(self) -> RelayId:
        """The relay's identity, as others know it."""
        return RelayId(self.identity.public)

    @property
    def onion_key(self) -> KeyPair:
        """The key that the descriptor names."""
        return self._onion[0].pair

    def onion_keys(self) -> tuple[KeyPair, ...]:
        """The current key and the one in grace: either is answered."""
        return tuple(key.pair for key in self._onion)

    def rotate(self, wall: int, life_seconds: int) -> bool:
        """Make a new onion key if the current one has had its time; True if so.
        OSError when it could not be written; the old one serves on then."""
        current = self._onion[0]
        # A clock that once ran ahead must not keep a key for ever.
        if current.made <= wall < current.made + life_seconds:
            return False
        turned = [_OnionKey(KeyPair.generate(self._random_bytes), wall), current]
        self._write(turned)  # OSError: the old ones stay
        self._onion = turned
        return True

    def _write(self, onion: list[_OnionKey]) -> None:
        rows = [[key.pair.private, key.made] for key in onion]
        atomic_write(self._folder / KEYS_FILE, pack([_VERSION, self.identity.seed, rows]))
