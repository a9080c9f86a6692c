"""A relay's keys on disk: its identity, which stays, and its onion keys, which take turns (SPEC 6, 8).

The identity serves the relay alone. An endpoint or client on the same machine has a folder and keys of its
own. An onion key serves for `onion_key_seconds` and then stays in grace for as long again. That is longer
than any consensus that names it can be valid (core/base/params.py refuses other parameters).

A key that is dropped too early cuts off everyone whose consensus names it, so no clock is trusted with that.
A key's age is counted by what consensuses have confirmed (`Clock.earliest`). A key that was made before the
first consensus gets its date when that comes. While a consensus that we have seen may still be valid, the key
that it names stays. That is counted in monotonic seconds, so it holds even if all clocks jump a year ahead
for a moment, the directory's too.

The identity may be kept away from the relay. Then this file has only its public half, and a file beside it
(signing_file.py) has the key that signs in its place. The file of a relay that has its identity is of version
1 as ever, the other one of version 2.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from onionshh.core.certificate import RelaySigner
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import BadData, ProtocolError
from onionshh.geometry import KEY
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.store import DataDirectory, atomic_write, read_file
from onionshh.relay.signing_file import SIGNING_FILE, read_signing
from onionshh.wire.packing import Bin, Int, ListOf, fields, pack, unpack_untrusted

KEYS_FILE = "relay-keys"
_VERSION = 1
_AWAY_VERSION = 2
"""The second field is the identity's public half, in place of its seed."""
_SHAPE = fields(Int(255), Bin(exact=KEY), ListOf(fields(Bin(exact=KEY), Int()), most=2, least=1))
_MOST_BYTES = 1024


@dataclass(frozen=True, slots=True)
class _OnionKey:
    pair: KeyPair
    made: int  # Unix seconds; 0 before the time is known


@dataclass(frozen=True, slots=True)
class KeptKeys:
    """What the file says. `identity` is None if it is kept away. `onion`: private keys and when they were
    made, the current one first."""

    relay_id: RelayId
    identity: SigningKey | None
    onion: tuple[tuple[bytes, int], ...] = field(repr=False)

    def encode(self) -> bytes:
        """The bytes for the disk."""
        if self.identity is None:
            return pack([_AWAY_VERSION, self.relay_id, self.onion])
        return pack([_VERSION, self.identity.seed, self.onion])


def read_keys(folder: DataDirectory) -> KeptKeys | None:
    """What the file in this folder says, None if there is none. BadData."""
    path = folder / KEYS_FILE
    data = read_file(path, secret=True)
    if data is None:
        return None
    try:
        version, key, rows = unpack_untrusted(data, _SHAPE, _MOST_BYTES)
    except ProtocolError as error:
        raise BadData(f"{path} is damaged; restore it from a backup.") from error
    if version not in (_VERSION, _AWAY_VERSION):
        raise BadData(f"{path} was written by another version of onionshh.")
    identity = SigningKey(key) if version == _VERSION else None
    return KeptKeys(RelayId(identity.public if identity else key), identity, tuple(map(tuple, rows)))


class RelayKeys:
    """The keys. Only the process that runs this relay holds them."""

    def __init__(self, folder: DataDirectory, random_bytes: RandomBytes) -> None:
        self._folder = folder
        self._random_bytes = random_bytes
        self._named: dict[bytes, float] = {}
        """Public onion key -> until when a consensus that we have seen names it, monotonic seconds."""
        kept = read_keys(folder)
        if kept is None:
            signer = read_signing(folder / SIGNING_FILE)
            self._signer = signer or RelaySigner.of(SigningKey.generate(random_bytes))
            self._onion = [_OnionKey(KeyPair.generate(random_bytes), 0)]
            self._write(self._onion)
            return
        self._signer = RelaySigner.of(kept.identity) if kept.identity else _signer(folder, kept.relay_id)
        self._onion = [_OnionKey(KeyPair.from_private(private), made) for private, made in kept.onion]

    @property
    def signer(self) -> RelaySigner:
        """What signs for this relay now."""
        return self._signer

    def sign_with(self, signer: RelaySigner) -> None:
        """Sign with this from now on. It was checked, and is on disk."""
        self._signer = signer

    @property
    def relay_id(self) -> RelayId:
        """The relay's identity, as others know it."""
        return self._signer.identity

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
        rows = tuple((key.pair.private, key.made) for key in onion)
        identity = self._signer.key if self._signer.certificate is None else None
        atomic_write(self._folder / KEYS_FILE, KeptKeys(self.relay_id, identity, rows).encode())


def _signer(folder: DataDirectory, identity: RelayId) -> RelaySigner:
    """The signing key beside the file of a relay whose identity is kept away. BadData."""
    path = folder / SIGNING_FILE
    signer = read_signing(path)
    if signer is None:
        raise BadData(
            f"This relay's identity is kept away, and {path} is not there; make one with `onionshh master"
            " sign` where the identity is, and put it there."
        )
    if signer.identity != identity:
        raise BadData(f"{path} is for another relay; put the one there that was made for this relay.")
    return signer
