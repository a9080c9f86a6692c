"""hs3h: ntor-v3 with an ephemeral ML-KEM-768 beside the X25519 (SPEC 4).

Links, circuits and rendezvous use the same handshake. VER keeps them apart: a message for one of them is
noise in another. The client's MAC proves that it means this server's key, before the server does any KEM
work. AUTH proves the server, and covers every byte sent in both directions. Without the KEM
(`Suite(kem=False)`) this is ntor-v3, and a test runs ntor-v3's published exchange through the same code.
The suite is our own argument and is never read from the network.

Every failure is a CryptoError. The peer cannot tell one failure from another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from onionshh.crypto.primitives import KeyPair, dh, encap, equal
from onionshh.errors import CryptoError
from onionshh.geometry import KEM_CIPHERTEXT, KEM_KEY, KEY, MAC, POINT
from onionshh.ids import RandomBytes
from onionshh.reasons import Reason

LINK: Final = b"link"
CIRCUIT: Final = b"circuit"

_KEM_SEED = 64
_COUNTER_START = bytes(16)


def rendezvous(subcredential: bytes) -> bytes:
    """VER of an exchange with the endpoint whose blinded key has this subcredential."""
    return b"rendezvous|" + subcredential


@dataclass(frozen=True, slots=True)
class Suite:
    """PROTOID, which is in the tweak of every hash, and whether a KEM is used."""

    protoid: bytes
    kem: bool = True

    @property
    def kem_key_bytes(self) -> int:
        """Length of EK."""
        return KEM_KEY if self.kem else 0

    @property
    def kem_ciphertext_bytes(self) -> int:
        """Length of CT."""
        return KEM_CIPHERTEXT if self.kem else 0

    def tweak(self, purpose: bytes) -> bytes:
        return encap(self.protoid + b":" + purpose)

    def hash(self, purpose: bytes, data: bytes) -> bytes:
        return hashlib.sha3_256(self.tweak(purpose) + data).digest()

    def derive(self, purpose: bytes, data: bytes, length: int) -> bytes:
        return hashlib.shake_256(self.tweak(purpose) + data).digest(length)

    def mac(self, key: bytes, data: bytes) -> bytes:
        return self.hash(b"msg_mac", encap(key) + data)


HS3H: Final = Suite(b"onionshh1-hs3h-x25519-mlkem768-sha3")


@dataclass(frozen=True, slots=True)
class Finished:
    """What the client has at the end: the server's message, and keys of the requested length."""

    server_message: bytes
    keystream: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Responded:
    """What the server has at the end: the reply to send, the client's message, the keys."""

    reply: bytes
    client_message: bytes
    keystream: bytes = field(repr=False)


class ClientHandshake:
    """The asking side: `message` goes out, `finish` takes the answer.

    `server_id` and `server_key` are 32 bytes each, from the consensus or a descriptor. The constructor
    already raises CryptoError if the key is a small-order point.
    """

    __slots__ = ("_kem", "_keys", "_mac", "_opening", "_static", "message")

    def __init__(
        self,
        *,
        server_id: bytes,
        server_key: bytes,
        ver: bytes,
        client_message: bytes,
        random_bytes: RandomBytes,
        suite: Suite = HS3H,
    ) -> None:
        if len(server_id) != KEY or len(server_key) != POINT:
            raise CryptoError(Reason.KEY_SIZE)
        self._keys = KeyPair.generate(random_bytes)
        self._kem = MLKEM768PrivateKey.from_seed_bytes(random_bytes(_KEM_SEED)) if suite.kem else None
        kem_key = self._kem.public_key().public_bytes_raw() if self._kem else b""
        self._opening = _Opening(suite, server_id, server_key, self._keys.public, kem_key, encap(ver))
        self._static = dh(self._keys.private, server_key)
        key, mac_key = self._opening.keys(self._static)
        covered = server_id + server_key + self._keys.public + kem_key + _stream(key, client_message)
        self._mac = suite.mac(mac_key, covered)
        self.message = covered + self._mac

    def finish(self, reply: bytes, *, server_message_bytes: int, keystream_bytes: int) -> Finished:
        """Verify the server's answer, whose message must have exactly this length. Raises CryptoError."""
        fixed = POINT + self._opening.suite.kem_ciphertext_bytes
        if len(reply) != fixed + MAC + server_message_bytes:
            raise CryptoError(Reason.HANDSHAKE_SIZE)
        y, ciphertext = reply[:POINT], reply[POINT:fixed]
        auth, sent = reply[fixed : fixed + MAC], reply[fixed + MAC :]
        shared = dh(self._keys.private, y) + self._static + _decapsulate(self._kem, ciphertext)
        agreed = _Agreed(self._opening, shared, y, ciphertext)
        if not equal(agreed.auth(self._mac, sent), auth):
            raise CryptoError(Reason.HANDSHAKE_AUTH)
        key, keystream = agreed.keys(keystream_bytes)
        return Finished(_stream(key, sent), keystream)

    def __repr__(self) -> str:
        return "ClientHandshake()"


def respond(
    message: bytes,
    *,
    server_id: bytes,
    keys: Sequence[KeyPair],
    ver: bytes,
    client_message_bytes: int,
    server_message: bytes,
    keystream_bytes: int,
    random_bytes: RandomBytes,
    suite: Suite = HS3H,
) -> Responded:
    """Answer a client's message, whose own part must have exactly this length.

    `keys` are the current key and, while it is still valid, the previous one. Raises CryptoError for anything
    wrong. A message that does not verify costs one DH and no KEM work.
    """
    at_x = KEY + POINT
    at_kem = at_x + POINT
    at_sent = at_kem + suite.kem_key_bytes
    if len(message) != at_sent + client_message_bytes + MAC:
        raise CryptoError(Reason.HANDSHAKE_SIZE)
    b, x, kem_key = message[KEY:at_x], message[at_x:at_kem], message[at_kem:at_sent]
    ours = next((pair for pair in keys if pair.public == b), None)
    if message[:KEY] != server_id or ours is None:  # both are public: constant time is not needed
        raise CryptoError(Reason.HANDSHAKE_UNKNOWN_KEY)
    opening = _Opening(suite, server_id, b, x, kem_key, encap(ver))
    static = dh(ours.private, x)
    key, mac_key = opening.keys(static)
    mac = message[-MAC:]
    if not equal(suite.mac(mac_key, message[:-MAC]), mac):
        raise CryptoError(Reason.HANDSHAKE_MAC)

    client_message = _stream(key, message[at_sent:-MAC])
    fresh = KeyPair.generate(random_bytes)
    kem_secret, ciphertext = _encapsulate(suite, kem_key)
    agreed = _Agreed(opening, dh(fresh.private, x) + static + kem_secret, fresh.public, ciphertext)
    key, keystream = agreed.keys(keystream_bytes)
    sent = _stream(key, server_message)
    reply = fresh.public + ciphertext + agreed.auth(mac, sent) + sent
    return Responded(reply, client_message, keystream)


@dataclass(frozen=True, slots=True)
class _Opening:
    """The public values of the client's message: ID, B, X, EK and ENCAP(VER)."""

    suite: Suite
    server_id: bytes
    b: bytes
    x: bytes
    kem_key: bytes
    encapped_ver: bytes

    def keys(self, static: bytes) -> tuple[bytes, bytes]:
        """The keys that hide and authenticate the client's message, derived from one DH only."""
        parts = (static, self.server_id, self.x, self.b, self.kem_key, self.suite.protoid, self.encapped_ver)
        raw = self.suite.derive(b"kdf_phase1", b"".join(parts), 2 * KEY)
        return raw[:KEY], raw[KEY:]


class _Agreed:
    """What both sides derive when they share both DH results and the KEM's secret."""

    __slots__ = ("_seed", "_suite", "_transcript", "_verify")

    def __init__(self, opening: _Opening, shared: bytes, y: bytes, ciphertext: bytes) -> None:
        o = opening
        parts = (shared, o.server_id, o.b, o.x, o.kem_key, y, ciphertext, o.suite.protoid, o.encapped_ver)
        secret = b"".join(parts)
        self._suite = o.suite
        self._seed = o.suite.hash(b"key_seed", secret)
        self._verify = o.suite.hash(b"verify", secret)
        self._transcript = b"".join((o.server_id, o.b, y, ciphertext, o.x, o.kem_key))

    def auth(self, mac: bytes, sent: bytes) -> bytes:
        """AUTH over both directions: `mac` stands for the client's bytes, `sent` is the server's."""
        covered = self._verify + self._transcript + mac + encap(sent) + self._suite.protoid + b"Server"
        return self._suite.hash(b"auth_final", covered)

    def keys(self, keystream_bytes: int) -> tuple[bytes, bytes]:
        """The key of the server's message, and the keystream."""
        raw = self._suite.derive(b"kdf_final", self._seed, KEY + keystream_bytes)
        return raw[:KEY], raw[KEY:]


def _stream(key: bytes, data: bytes) -> bytes:
    """AES-256-CTR with the counter from zero, its own inverse. Every key here is used for one message."""
    return Cipher(algorithms.AES(key), modes.CTR(_COUNTER_START)).encryptor().update(data)


def _encapsulate(suite: Suite, kem_key: bytes) -> tuple[bytes, bytes]:
    if not suite.kem:
        return b"", b""
    try:
        return MLKEM768PublicKey.from_public_bytes(kem_key).encapsulate()
    except Exception as error:  # a key whose coefficients are out of range
        raise CryptoError(Reason.HANDSHAKE_KEM_KEY) from error


def _decapsulate(kem: MLKEM768PrivateKey | None, ciphertext: bytes) -> bytes:
    if kem is None:
        return b""
    try:
        return kem.decapsulate(ciphertext)
    except Exception as error:
        raise CryptoError(Reason.HANDSHAKE_KEM_CIPHERTEXT) from error
