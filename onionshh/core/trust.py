"""Whom to believe: the one way from signed bytes to a relay descriptor or a consensus (SPEC 8).

The order of checks is the order of cost and of trust: size, envelope, signatures, shape, then name and
dates, then whether it is a step back. No step is worse than linear in the bytes that came, and nothing is
parsed beyond its envelope before enough authorities have signed it.
"""

from __future__ import annotations

from typing import Protocol

from onionshh.config import NetworkFile
from onionshh.core.base.params import Params
from onionshh.crypto.identity import verify_untrusted
from onionshh.errors import CryptoError, ProtocolError
from onionshh.reasons import Reason
from onionshh.wire import consensus as wire_consensus
from onionshh.wire import descriptor as wire_descriptor
from onionshh.wire.consensus import Consensus
from onionshh.wire.descriptor import RelayDescriptor

EARLY_SECONDS = 600
"""How far a consensus may lie in the future: clocks differ, and this one cannot be in the consensus."""


class Signer(Protocol):
    """What signs: an Ed25519 key (crypto/identity.SigningKey)."""

    @property
    def public(self) -> bytes:
        """The public key, 32 bytes."""

    def sign(self, message: bytes) -> bytes:
        """The signature, 64 bytes."""


class ConsensusOutOfTime(ProtocolError):
    """A consensus against which only its dates speak, and so perhaps our clock.

    `offset_seconds` is about how far the local clock is ahead of it, negative for behind.
    """

    def __init__(self, reason: Reason, consensus: Consensus, offset_seconds: int) -> None:
        super().__init__(reason)
        self.valid_after = consensus.valid_after
        self.valid_until = consensus.valid_until
        self.offset_seconds = offset_seconds


class ConsensusNotYet(ConsensusOutOfTime):
    """A good consensus from the future: the local clock is behind, or the authorities' ahead."""


class ConsensusExpired(ConsensusOutOfTime):
    """A consensus that was good once: an old copy, or the local clock is ahead."""


def sign_descriptor(descriptor: RelayDescriptor, key: Signer) -> bytes:
    """The signed document of a relay's descriptor. `key` is the identity it names."""
    if key.public != descriptor.identity:
        raise ValueError("a descriptor is signed by the identity it names")
    body = descriptor.encode_body()
    return wire_descriptor.join(body, key.sign(wire_descriptor.SIGNED + body))


def open_descriptor_untrusted(data: bytes) -> RelayDescriptor:
    """The relay descriptor in a signed document; its dates and address are the registry's to judge."""
    body, signature = wire_descriptor.split_untrusted(data)
    descriptor = wire_descriptor.decode_body_untrusted(body)
    verify_untrusted(descriptor.identity, signature, wire_descriptor.SIGNED + body)
    return descriptor


def read_consensus_untrusted(data: bytes, network: NetworkFile) -> Consensus:
    """A consensus of this network, enough authorities' signatures checked, its dates not.

    For a document that was accepted once and comes back from disk; from the network comes only what
    `open_consensus_untrusted` lets in. Raises ProtocolError.
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
    """A consensus to live by now: signed, in time and not older than the one held.

    `wall` is Unix seconds; `earliest`, where it is known, the time that it is at least: whether a consensus
    is over is judged by that, not by a clock that may have jumped. Raises ConsensusNotYet or
    ConsensusExpired when only the clock speaks against it, ProtocolError for everything else.
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
    """Whether a node whose clock shows this (Unix seconds) may live by the consensus already."""
    return consensus.valid_after <= wall + EARLY_SECONDS


def _check_signatures(body: bytes, signatures: tuple[tuple[bytes, bytes], ...], network: NetworkFile) -> None:
    """Enough good signatures by distinct keys of the network file. A bad one simply does not count, so
    that a broken authority cannot spoil what the others agree on."""
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
