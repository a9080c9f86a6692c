"""A relay's onion service: the key that makes its address, and the listener behind it.

The address is computed here from a key of ours (tor's rend-spec-v3: an Ed25519 key, a checksum, a version),
so it is known before tor answers, and it stays while the key stays. `net/tor.py` hands the key to tor.

Everyone who comes over tor comes from one loopback address. If they counted as one stranger, a hundred of
them would fill a relay; if they counted as nobody, one of them could. So the listener gives them eight names
in turn, and each name is one stranger to all limits (SPEC 17).
"""

from __future__ import annotations

import base64
import hashlib
import itertools
from typing import Final

from onionshh.crypto.identity import SigningKey
from onionshh.errors import BadData, ProtocolError
from onionshh.geometry import KEY
from onionshh.ids import RandomBytes
from onionshh.net.store import DataDirectory, atomic_write, read_file
from onionshh.net.tcp import TcpListener, TcpStream
from onionshh.wire.descriptor import ONION, Address
from onionshh.wire.packing import Bin, Int, fields, pack, unpack_untrusted

KEY_FILE: Final = "onion-key"
PORT: Final = 9001
"""The port of the service, in its address. Nothing else uses the address, so any port does."""
STRANGERS: Final = 8
"""As how many strangers all who come over tor count."""

_VERSION: Final = 1
_SHAPE = fields(Int(255), Bin(exact=KEY))
_MOST_BYTES: Final = 256
_SERVICE_VERSION: Final = b"\x03"


class OnionKey:
    """The key of an onion service. Whoever has it can be that service."""

    def __init__(self, seed: bytes) -> None:
        self._signing = SigningKey(seed)

    @classmethod
    def load_or_create(cls, folder: DataDirectory, random_bytes: RandomBytes) -> OnionKey:
        """The key in this folder, made at the first start. BadData if the file cannot be used."""
        path = folder / KEY_FILE
        data = read_file(path, secret=True)
        if data is None:
            seed = random_bytes(KEY)
            atomic_write(path, pack([_VERSION, seed]))
            return cls(seed)
        try:
            version, seed = unpack_untrusted(data, _SHAPE, _MOST_BYTES)
        except ProtocolError as error:
            raise BadData(
                f"{path} is damaged; restore it from a backup, or move it away and the relay gets another"
                " onion address."
            ) from error
        if version != _VERSION:
            raise BadData(f"{path} was written by another version of onionshh.")
        return cls(seed)

    @property
    def host(self) -> str:
        """The name of the service, 56 letters and ".onion"."""
        public = self._signing.public
        checksum = hashlib.sha3_256(b".onion checksum" + public + _SERVICE_VERSION).digest()[:2]
        return base64.b32encode(public + checksum + _SERVICE_VERSION).decode().lower() + ".onion"

    @property
    def address(self) -> Address:
        """Where the relay is reached."""
        return Address(ONION, self.host, PORT)

    def for_tor(self) -> str:
        """The private key as tor's control port takes it, in base 64: the expanded key of RFC 8032."""
        expanded = bytearray(hashlib.sha512(self._signing.seed).digest())
        expanded[0] &= 248
        expanded[31] = expanded[31] & 63 | 64
        return base64.b64encode(expanded).decode()

    def __repr__(self) -> str:
        return "OnionKey()"


class OverTorListener:
    """Accepts on loopback what tor passes on."""

    def __init__(self) -> None:
        self._listener = TcpListener("127.0.0.1", 0)
        self._names = itertools.cycle([f"tor {number}" for number in range(STRANGERS)])

    @property
    def address(self) -> tuple[str, int]:
        """Where tor must pass connections on to."""
        return self._listener.address

    async def accept(self) -> TcpStream:
        stream = await self._listener.accept()
        stream.host = next(self._names)
        return stream

    def close(self) -> None:
        self._listener.close()
