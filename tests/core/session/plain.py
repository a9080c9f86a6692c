"""Section 12 of SPEC once more, from hashlib, AES-GCM, X25519 and ML-KEM alone. It shares no line with the
source, so that a known answer is more than a copy."""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM


def kdf(label: str, *parts: bytes, size: int = 32) -> bytes:
    """SHAKE-256 over parts with their lengths."""
    said = b"".join(len(part).to_bytes(8, "big") + part for part in (b"onionshh1:" + label.encode(), *parts))
    return hashlib.shake_256(said).digest(size)


def steps(key: bytes, count: int) -> list[bytes]:
    """The first steps of a chain."""
    found = []
    for _ in range(count):
        both = kdf("step", key, size=64)
        found.append(both[:32])
        key = both[32:]
    return found


def tag(step: bytes) -> bytes:
    """The name of a step."""
    return kdf("tag", step)[:16]


def resume(
    step: bytes, salt: bytes, auth_key: bytes, privacy_class: int, points: list[bytes], record: bytes
) -> bytes:
    """The whole INTRODUCE1."""
    plain = bytes((privacy_class, len(points))) + b"".join(points) + len(record).to_bytes(2, "big") + record
    header = auth_key + b"\x02" + tag(step) + salt
    return header + AESGCM(resume_key(step, salt)).encrypt(salt, plain + bytes(412 - len(plain)), header)


def resume_key(step: bytes, salt: bytes) -> bytes:
    """What seals a RESUME."""
    return kdf("resume", step, salt)


def leg(step: bytes, salt: bytes, number: int) -> tuple[bytes, bytes, bytes]:
    """Seed, cookie, reply key."""
    seed = kdf("leg", step, salt, number.to_bytes(8, "big"))
    return seed, kdf("cookie", seed), kdf("reply", seed)


def rendezvous1(step: bytes, salt: bytes, number: int, answer_salt: bytes) -> bytes:
    """The answer on one leg."""
    _, cookie, reply_key = leg(step, salt, number)
    key = kdf("answer", reply_key, answer_salt)
    return cookie + answer_salt + AESGCM(key).encrypt(bytes(12), bytes(1120), b"")


def layers(step: bytes, salt: bytes, number: int, answer_salt: bytes) -> tuple[bytes, bytes]:
    """Forward and backward."""
    both = kdf("leg layers", step, salt, answer_salt, number.to_bytes(8, "big"), size=160)
    return both[:80], both[80:]


def renewed(rs: bytes, epoch: int, private: bytes, refresh: bytes, refreshed: bytes) -> tuple[bytes, ...]:
    """V, E and rs of the next epoch. `private`: x 32, then the seed of the ML-KEM key 64. The two bodies
    begin with the epoch, four bytes."""
    x, ek, y, ct = refresh[4:36], refresh[36:], refreshed[4:36], refreshed[36:]
    dh = X25519PrivateKey.from_private_bytes(private[:32]).exchange(X25519PublicKey.from_public_bytes(y))
    kem = MLKEM768PrivateKey.from_seed_bytes(private[32:]).decapsulate(ct)
    keys = kdf("refresh", rs, epoch.to_bytes(8, "big"), dh, kem, x, ek, y, ct, size=96)
    return keys[:32], keys[32:64], keys[64:]
