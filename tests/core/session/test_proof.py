"""PROVE: bound to both addresses, the session and the period (SPEC 12)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh.core.session.proof import Proof, prove
from onionshh.core.session.session import SessionId
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import CryptoError, ProtocolError
from onionshh.geometry import PROVE_BODY
from onionshh.reasons import Reason
from tests.core.session import plain
from tests.crypto.test_primitives import SMALL_ORDER
from tests.seeded import seeded

SESSION = SessionId(b"s" * 16)
SENDER, RECEIVER = b"S" * 32, b"R" * 32
OURS, THEIRS, OTHER = (KeyPair.generate(seeded(number)) for number in (1, 2, 3))
PROOF = prove(SESSION, sender=SENDER, receiver=RECEIVER, period=7, ours=OURS, theirs=THEIRS.public)


def holds(
    proof: Proof,
    session_id: SessionId = SESSION,
    receiver: bytes = RECEIVER,
    ours: KeyPair = THEIRS,
    theirs: bytes = OURS.public,
) -> bool:
    return proof.holds(session_id, receiver=receiver, ours=ours, theirs=theirs)


def test_it_convinces_the_receiver_and_says_nothing_when_printed() -> None:
    assert holds(PROOF)
    assert PROOF.value.hex() not in repr(PROOF)
    assert repr(PROOF.value) not in repr(PROOF)


def test_it_holds_for_nothing_else() -> None:
    assert not holds(PROOF, session_id=SessionId(b"t" * 16))
    assert not holds(PROOF, receiver=b"Q" * 32)
    assert not holds(PROOF, ours=OTHER)
    assert not holds(PROOF, theirs=OTHER.public)
    assert not holds(replace(PROOF, sender=b"T" * 32))
    assert not holds(replace(PROOF, period=8))
    assert not holds(replace(PROOF, value=bytes(32)))


def test_the_receiver_could_have_made_it() -> None:
    """So it convinces nobody else."""
    made = prove(SESSION, sender=SENDER, receiver=RECEIVER, period=7, ours=THEIRS, theirs=OURS.public)
    assert made == PROOF


def test_its_bytes() -> None:
    encoded = PROOF.encode()
    assert len(encoded) == PROVE_BODY == 72
    assert encoded == SENDER + (7).to_bytes(8, "big") + PROOF.value
    assert Proof.decode_untrusted(encoded) == PROOF


@pytest.mark.parametrize("body", [b"", bytes(PROVE_BODY - 1), bytes(PROVE_BODY + 1)])
def test_another_length_is_refused(body: bytes) -> None:
    with pytest.raises(ProtocolError) as caught:
        Proof.decode_untrusted(body)
    assert caught.value.reason is Reason.PROVE_SHAPE


@pytest.mark.parametrize("key", SMALL_ORDER)
def test_keys_of_small_order_prove_nothing(key: bytes) -> None:
    """Anyone could compute the proof for such a key."""
    assert not holds(PROOF, theirs=key)
    with pytest.raises(CryptoError):
        prove(SESSION, sender=SENDER, receiver=RECEIVER, period=7, ours=OURS, theirs=key)


def test_it_is_derived_as_the_specification_says() -> None:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey

    private = X25519PrivateKey.from_private_bytes(OURS.private)
    shared = private.exchange(X25519PublicKey.from_public_bytes(THEIRS.public))
    expected = plain.kdf("sender", shared, SESSION, SENDER, RECEIVER, (7).to_bytes(8, "big"))
    assert PROOF.value == expected
