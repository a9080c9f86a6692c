"""The only way from signed bytes to a relay descriptor or a consensus that we trust (SPEC 8).

Cheap checks come first, and no check trusts what is not checked yet: size, envelope, signatures, shape, then
name and dates, then whether the document is older than ours. Every step is linear in the received bytes.
Only the envelope is parsed before enough signatures of authorities are verified.
"""

from __future__ import annotations

from typing import Protocol

from onionshh.config import NetworkFile
from onionshh.core.base.params import Params
from onionshh.core.certificate import open_signing_untrusted
from onionshh.crypto.identity import verify_untrusted
from onionshh.errors import CryptoError, ProtocolError
from onionshh.geometry import KEY
from onionshh.reasons import Reason
from onionshh.wire import consensus as wire_consensus
from onionshh.wire import descriptor as wire_descriptor
from onionshh.wire.consensus import Consensus
from onionshh.wire.descriptor import RelayDescriptor

EARLY_SECONDS = 600
"""How far in the future a consensus may be, since clocks differ. This cannot be a consensus parameter."""


class Signer(Protocol):
    """An Ed25519 key that signs (crypto/identity.SigningKey)."""

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""


class ConsensusOutOfTime(ProtocolError):
    """Only the dates of a consensus are wrong, so our clock may be wrong.

    `offset_seconds` is roughly how far the local clock is ahead of the consensus, negative for behind.
    """

    def __init__(self, reason: Reason, consensus: Consensus, offset_seconds: int) -> None:
        super().__init__(reason)
        self.valid_after = consensus.valid_after
        self.valid_until = consensus.valid_until
        self.offset_seconds = offset_seconds


class ConsensusNotYet(ConsensusOutOfTime):
    """A valid consensus from the future: the local clock is behind, or the authorities' clocks are ahead."""


class ConsensusExpired(ConsensusOutOfTime):
    """A consensus that was valid before: it is an old copy, or the local clock is ahead."""


def sign_descriptor(descriptor: RelayDescriptor, key: Signer) -> bytes:
    """The signed document of a relay's descriptor. `key` is the signing key in the descriptor, and if there
    is none the identity."""
    if key.public != (descriptor.signing[:KEY] or descriptor.identity):
        raise ValueError("the key must be the signing key in the descriptor, or its identity if it has none")
    body = descriptor.encode_body()
    return wire_descriptor.join(body, key.sign(wire_descriptor.SIGNED + body))


def open_descriptor_untrusted(data: bytes) -> RelayDescriptor:
    """The relay descriptor in a signed document: its identity has signed it, or has signed for the key that
    did. The registry checks dates, the certificate's too, and the address; this does not."""
    body, signature = wire_descriptor.split_untrusted(data)
    descriptor = wire_descriptor.decode_body_untrusted(body)
    signer: bytes = descriptor.identity
    if descriptor.signing:
        signer = open_signing_untrusted(descriptor.identity, descriptor.signing).key
    verify_untrusted(signer, signature, wire_descriptor.SIGNED + body)
    return descriptor


def read_consensus_untrusted(data: bytes, network: NetworkFile) -> Consensus:
    """A consensus of this network. Its signatures are checked, its dates are not.

    Use this for a document from disk that was accepted before. A document from the network must go through
    `open_consensus_untrusted`. Raises ProtocolError.
    """
    body, signatures = wire_consensus.split_untrusted(data)
    _check_signatures(body, signatures, network)
    consensus = wire_consensus.decode_body_untrusted(body)
    Params.from_pairs_untrusted(consensus.params)
    if consensus.network != network.name:
        raise ProtocolError(Reason.CONSENSUS_NETWORK)
    return consensus


def open_consensus_untrusted(
    data: bytes,
    *,
    network: NetworkFile,
    wall: int,
    earliest: int | None = None,
    held: Consensus | None = None,
) -> Consensus:
    """A consensus to use now: signed, valid at this time, and not older than `held`.

    `wall` is Unix seconds. `earliest`, where it is known, is a time that has certainly passed. It decides
    whether a consensus has expired, because the clock may have jumped. Raises ConsensusNotYet or
    ConsensusExpired if only the clock disagrees with the dates, ProtocolError for everything else.
    """
    consensus = read_consensus_untrusted(data, network)
    if not is_begun(consensus, wall):
        raise ConsensusNotYet(Reason.CONSENSUS_NOT_YET, consensus, wall - consensus.valid_after)
    least = wall if earliest is None else earliest
    if least >= consensus.valid_until:
        raise ConsensusExpired(Reason.CONSENSUS_EXPIRED, consensus, least - consensus.valid_after)
    if held is not None and consensus.valid_after < held.valid_after:
        raise ProtocolError(Reason.CONSENSUS_ROLLBACK)
    return consensus


def is_begun(consensus: Consensus, wall: int) -> bool:
    """Whether a node whose clock shows `wall` (Unix seconds) may use the consensus already."""
    return consensus.valid_after <= wall + EARLY_SECONDS


def _check_signatures(body: bytes, signatures: tuple[tuple[bytes, bytes], ...], network: NetworkFile) -> None:
    """CryptoError unless enough keys of the network file have signed. A bad signature does not count, so a
    broken authority cannot spoil the document of the others."""
    known = network.keys
    message = wire_consensus.SIGNED + body
    good = 0
    for key, signature in signatures:
        if key not in known:
            continue
        try:
            verify_untrusted(key, signature, message)
        except CryptoError:
            continue
        good += 1
    if good < network.needed:
        raise CryptoError(Reason.CONSENSUS_SIGNATURES)
