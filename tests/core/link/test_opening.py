"""The handshake of a link alone: what both ends agree on, and who proves what (SPEC 5)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from onionshh import geometry as g
from onionshh.core.certificate import CLOCK_SECONDS, RelaySigner, certify
from onionshh.core.link.opening import Answering, Asking, Crossed, Opened, link_auth_text
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import LINK_AUTH, PADDING, pack_cell
from onionshh.wire.descriptor import SIGNING
from tests.seeded import seeded

SERVER = RelayId(SigningKey(b"server".ljust(32)).public)
ONION = KeyPair.generate(seeded(2))
RELAY = SigningKey(b"relay".ljust(32))
SIGNING_KEY = SigningKey(b"signing".ljust(32))
NOW = 1_700_000_000
END = NOW + 30 * 86_400
CERTIFIED = RelaySigner(RelayId(RELAY.public), SIGNING_KEY, certify(RELAY, SIGNING_KEY.public, END))


def crossed(
    identity: SigningKey | RelaySigner | None,
    *,
    known: bool = True,
    keys: tuple[KeyPair, ...] = (ONION,),
    earliest: int = NOW,
) -> tuple[Crossed, Crossed, Answering]:
    """Both ends once the flights have crossed, and the one that awaits LINK_AUTH."""
    signer = RelaySigner.of(identity) if isinstance(identity, SigningKey) else identity
    asking = Asking(SERVER, ONION.public, signer, seeded(3))
    answering = Answering(SERVER, keys, lambda relay: known and relay == RELAY.public, seeded(4), earliest)
    assert answering.first == b""
    theirs = answering.cross(asking.first)
    ours = asking.cross(theirs.reply)
    with pytest.raises(ProtocolError):
        asking.prove(bytes(g.CELL))  # whoever answered has proved itself
    return ours, theirs, answering


def proof(start: bytes) -> bytes:
    return pack_cell(0, LINK_AUTH, start.ljust(g.BODY, b"\x55"))


def test_each_opens_what_the_other_seals_and_not_what_it_sealed_itself() -> None:
    ours, theirs, _ = crossed(None)
    for one, other in ((ours, theirs), (theirs, ours)):
        assert other.open_key.open(one.seal_key.seal(b"cells", b"head"), b"head") == b"cells"
    with pytest.raises(ProtocolError):
        ours.open_key.open(ours.seal_key.seal(b"cells", b"head"), b"head")


@pytest.mark.parametrize(
    "identity, known",
    [(None, True), (RELAY, True), (RELAY, False), (CERTIFIED, True), (CERTIFIED, False)],
)
def test_the_initiator_is_open_first_and_then_the_responder(
    identity: SigningKey | RelaySigner | None, known: bool
) -> None:
    ours, theirs, answering = crossed(identity, known=known)
    assert ours.opened == Opened(SERVER, relays_at_both_ends=identity is not None)
    assert theirs.opened is None
    is_relay = identity is not None and known
    proven = RelayId(RELAY.public) if is_relay else None
    assert answering.prove(proof(ours.proof)) == Opened(proven, relays_at_both_ends=is_relay)


def test_a_signature_by_another_key_proves_nothing() -> None:
    _, _, answering = crossed(RELAY)
    forged = SigningKey(b"other".ljust(32)).sign(link_auth_text(bytes(32), SERVER))
    with pytest.raises(ProtocolError):
        answering.prove(proof(b"\x01" + RELAY.public + forged))


@pytest.mark.parametrize(
    "plain",
    [
        proof(b"\x03"),
        proof(b"\xff"),
        proof(b"") * 2,
        pack_cell(1, LINK_AUTH, bytes(g.BODY)),
        pack_cell(0, PADDING, bytes(g.BODY)),
    ],
)
def test_only_one_cell_of_link_auth_is_a_proof(plain: bytes) -> None:
    _, _, answering = crossed(None)
    with pytest.raises(ProtocolError, match=Reason.LINK_AUTH_SHAPE):
        answering.prove(plain)


def refused(answering: Answering, body: bytes) -> str:
    with pytest.raises(ProtocolError) as caught:
        answering.prove(proof(body))
    return caught.value.reason


def test_a_signing_key_proves_its_relay_until_its_certificate_ends() -> None:
    for earliest in (0, NOW, END, END + CLOCK_SECONDS - 1):
        ours, _, answering = crossed(CERTIFIED, earliest=earliest)
        assert answering.prove(proof(ours.proof)).peer == RELAY.public
    ours, _, answering = crossed(CERTIFIED, earliest=END + CLOCK_SECONDS)
    assert refused(answering, ours.proof) == Reason.CERTIFICATE_OVER


def test_a_proof_by_a_signing_key_has_one_size_and_says_what_it_is() -> None:
    ours, _, _ = crossed(CERTIFIED)
    assert len(ours.proof) == 1 + g.KEY + SIGNING + g.SIGNATURE
    assert ours.proof[: 1 + g.KEY] == b"\x02" + RELAY.public
    plain, _, _ = crossed(RELAY)
    assert (len(plain.proof), plain.proof[:1]) == (1 + g.KEY + g.SIGNATURE, b"\x01")


def test_only_what_the_identity_certified_proves_it() -> None:
    other = SigningKey(b"other".ljust(32))
    for certificate in (
        certify(other, SIGNING_KEY.public, END),  # by somebody else
        replace(certify(RELAY, SIGNING_KEY.public, END), expires=END + 1),
        replace(certify(RELAY, SIGNING_KEY.public, END), key=other.public),
    ):
        signer = RelaySigner(RelayId(RELAY.public), SIGNING_KEY, certificate)
        ours, _, answering = crossed(signer)
        assert refused(answering, ours.proof) == Reason.CERTIFICATE
    # Another's key under our certificate, and a proof of another link.
    ours, _, answering = crossed(replace(CERTIFIED, key=other))
    assert refused(answering, ours.proof) == Reason.SIGNATURE
    body = b"\x02" + RELAY.public + CERTIFIED.signing
    assert refused(answering, body + SIGNING_KEY.sign(link_auth_text(bytes(32), SERVER))) == Reason.SIGNATURE


def test_a_certificate_cannot_be_left_out_nor_put_before_a_proof_by_the_identity() -> None:
    ours, _, answering = crossed(CERTIFIED)
    assert refused(answering, b"\x01" + RELAY.public + ours.proof[-g.SIGNATURE :]) == Reason.SIGNATURE
    plain, _, answering = crossed(RELAY)
    cross = b"\x02" + RELAY.public + CERTIFIED.signing + plain.proof[-g.SIGNATURE :]
    assert refused(answering, cross) == Reason.SIGNATURE


def test_every_flipped_bit_of_a_proof_by_a_signing_key_is_refused() -> None:
    ours, _, answering = crossed(CERTIFIED)
    for bit in range(8 * len(ours.proof)):
        body = bytearray(ours.proof)
        body[bit // 8] ^= 1 << bit % 8
        if body[0] != 0:  # no claim at all is always right
            refused(answering, bytes(body))


def test_a_key_that_is_not_ours_opens_nothing() -> None:
    with pytest.raises(ProtocolError, match=Reason.HANDSHAKE_UNKNOWN_KEY):
        crossed(None, keys=(KeyPair.generate(seeded(9)),))
