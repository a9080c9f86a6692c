"""The handshake of a link alone: what both ends agree on, and who proves what (SPEC 5)."""

from __future__ import annotations

import pytest

from onionshh import geometry as g
from onionshh.core.link.opening import Answering, Asking, Crossed, Opened, link_auth_text
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.cell import LINK_AUTH, PADDING, pack_cell
from tests.seeded import seeded

SERVER = RelayId(SigningKey(b"server".ljust(32)).public)
ONION = KeyPair.generate(seeded(2))
RELAY = SigningKey(b"relay".ljust(32))


def crossed(
    identity: SigningKey | None, *, known: bool = True, keys: tuple[KeyPair, ...] = (ONION,)
) -> tuple[Crossed, Crossed, Answering]:
    """Both ends once the flights have crossed, and the one that awaits LINK_AUTH."""
    asking = Asking(SERVER, ONION.public, identity, seeded(3))
    answering = Answering(SERVER, keys, lambda relay: known and relay == RELAY.public, seeded(4))
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


@pytest.mark.parametrize("identity, known", [(None, True), (RELAY, True), (RELAY, False)])
def test_the_initiator_is_open_first_and_then_the_responder(identity: SigningKey | None, known: bool) -> None:
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
        proof(b"\x02"),
        proof(b"") * 2,
        pack_cell(1, LINK_AUTH, bytes(g.BODY)),
        pack_cell(0, PADDING, bytes(g.BODY)),
    ],
)
def test_only_one_cell_of_link_auth_is_a_proof(plain: bytes) -> None:
    _, _, answering = crossed(None)
    with pytest.raises(ProtocolError, match=Reason.LINK_AUTH_SHAPE):
        answering.prove(plain)


def test_a_key_that_is_not_ours_opens_nothing() -> None:
    with pytest.raises(ProtocolError, match=Reason.HANDSHAKE_UNKNOWN_KEY):
        crossed(None, keys=(KeyPair.generate(seeded(9)),))
