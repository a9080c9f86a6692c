"""A relay's keys on disk: its identity, which stays, and its onion keys, which take turns (SPEC 6, 8).

The identity serves the relay alone. An endpoint or client on the same machine has a folder and keys of its
own. An onion key serves for `onion_key_seconds` and then stays in grace for as long again. That is longer
than any consensus that names it can be valid (core/base/params.py refuses other parameters).

A key that is dropped too early cuts off everyone whose consensus names it, so no clock is trusted with that.
A key's age is counted by what consensuses have confirmed (`Clock.earliest`). A key that was made before the
first consensus gets its date when that comes. While a consensus that we have seen may still be valid, the key
that it names stays. That is counted in monotonic seconds, so it holds even if all clocks jump a year ahead
for a moment, the directory's too.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

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
    made: int  # Unix seconds; 0 before the time is known


class RelayKeys:
    """The keys. Only the process that runs this relay holds them."""

    def __init__(self, folder: DataDirectory, random_bytes: RandomBytes) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._named: dict[bytes, float] = {}
        """Public onion key -> until when a consensus that we have seen names it, monotonic seconds."""
        data = read_file(folder / KEYS_FILE, secret=True)
        if data is None:
            self.identity = SigningKey.generate(random_bytes)
            self._onion = [_OnionKey(KeyPair.generate(random_bytes), 0)]
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
        """The current key and the one in grace: both are answered."""
        return tuple(key.pair for key in self._onion)

    def named(self, onion_key: bytes, until: float) -> None:
        """A consensus that names this key as ours may be valid until `until` (monotonic seconds)."""
        if onion_key in [key.pair.public for key in self._onion]:
            self._named[onion_key] = max(until, self._named.get(onion_key, until))

    def let_go(self, now: float) -> None:
        """Forget what expired consensuses named. `now`: monotonic seconds."""
        self._named = {key: until for key, until in self._named.items() if until > now}

    def rotate(self, earliest: int, life_seconds: int) -> bool:
        """Make a new onion key if the current one's time is over. Returns whether it was made.

        `earliest`: it is at least this time (Unix seconds), 0 when that is not known: then nothing is done.
        OSError when the key could not be written: then the old ones serve on.
        """
        if not earliest:
            return False
        current = self._onion[0]
        # Made before the time was known, or while all clocks were wrong. `earliest` lags, after a restart by
        # as much as a consensus is valid, so a date that is ahead of it by less may be right.
        if not 0 < current.made <= earliest + life_seconds:
            dated = [replace(current, made=earliest), *self._onion[1:]]
            self._write(dated)
            self._onion = dated
            return False
        if earliest < current.made + life_seconds:
            return False
        if any(key.pair.public in self._named for key in self._onion[1:]):
            return False  # the key in grace would be dropped
        turned = [_OnionKey(KeyPair.generate(self._random_bytes), earliest), current]
        self._write(turned)  # OSError: the old ones stay
        self._onion = turned
        self._named = {key: until for key, until in self._named.items() if key == current.pair.public}
        return True

    def _write(self, onion: list[_OnionKey]) -> None:
        rows = [[key.pair.private, key.made] for key in onion]
        atomic_write(self._folder / KEYS_FILE, pack([_VERSION, self.identity.seed, rows]))
