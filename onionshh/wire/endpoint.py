"""Endpoint descriptors: how a visitor finds an endpoint's introducers (SPEC 10).

There are two layouts, one inside the other. Each has the same size for every endpoint. Only someone who
knows the address can read the inner one: `u16 length ‖ row ‖ ML-DSA signature ‖ zeros`, 12 288 bytes. A ring
relay can check the outer one without the address: fixed fields and two signatures. This file has the bytes;
core/endpoint/descriptor.py seals and verifies them.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Final

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.packing import Bin, Int, ListOf, fields, pack, unpack_untrusted

VERSION: Final = 2
INTRODUCERS_MAX: Final = 20
EFFORT_MAX: Final = 2**32 - 1
COVERED: Final = 1 << 2 | 1 << 3
"""The classes that may stand in `classes`: 2 hush and 3 dark, a bit each (SPEC 16)."""
NUMBER_MAX: Final = 2**63 - 1

_LENGTH = struct.Struct(">H")
_U64 = struct.Struct(">Q")
_PERIOD_EXPIRY = struct.Struct(f">Q{g.KEY}sQ")
_OUTER = struct.Struct(f">{g.KEY}sQQ{g.SALT}s{g.KEY}sQ{g.SIGNATURE}s{g.DESCRIPTOR_SEALED}s{g.SIGNATURE}s")

_HAS_INBOX, _SENDS_NO_RECEIPTS = 1, 2

_INTRODUCER = fields(Bin(exact=g.KEY), Bin(exact=g.KEY), Int())
_PROOF = fields(Bin(exact=g.SEED), Int(most=EFFORT_MAX), Int())
_ROW = fields(
    Int(),  # version
    Int(),  # revision
    Int(),  # expiry
    Bin(exact=g.POINT),  # rendezvous key B
    Bin(exact=g.HPKE_KEY),  # seal key
    ListOf(_INTRODUCER, most=INTRODUCERS_MAX, least=1),
    ListOf(_PROOF, most=1),
    Int(most=_HAS_INBOX | _SENDS_NO_RECEIPTS),  # flags
    Int(most=COVERED),  # classes
    Bin(most=g.HPKE_KEY),  # letter key
    Int(),  # letters until
    Bin(exact=g.POINT),  # P
    Bin(exact=g.PQ_KEY),  # ML-DSA key
)


@dataclass(frozen=True, slots=True)
class IntroducerEntry:
    """A relay that introduces visitors, the endpoint's key there, and until when (Unix seconds)."""

    relay_id: bytes
    auth_key: bytes
    expiry: int


@dataclass(frozen=True, slots=True)
class ProofWanted:
    """The proof of work that introductions need now: `seed` (32) to work on, the least effort, and until when
    (Unix seconds)."""

    seed: bytes
    effort: int
    expires: int


@dataclass(frozen=True, slots=True)
class EndpointDescriptor:
    """What an endpoint tells anyone who knows its address, for one period.

    `expiry` (Unix seconds) is that of the introducers. `rendezvous_key` is hs3h's B (32 bytes), `seal_key`
    is the HPKE key (1 216). `P` (32) and `pq_public` (1 952) open the address. `proof`: what introductions
    must prove, None for nothing. `classes`: a bit for each class with cover that it serves (`COVERED`). An
    endpoint with an inbox has a `letter_key` (1 216), and takes letters until `letters_until` (Unix seconds);
    without one these are b"" and 0.
    """

    revision: int
    expiry: int
    rendezvous_key: bytes
    seal_key: bytes = field(repr=False)
    introducers: tuple[IntroducerEntry, ...]
    P: bytes = field(repr=False)
    pq_public: bytes = field(repr=False)
    proof: ProofWanted | None = None
    sends_no_receipts: bool = False
    classes: int = 0
    letter_key: bytes = field(default=b"", repr=False)
    letters_until: int = 0

    @property
    def has_inbox(self) -> bool:
        """Whether it takes letters while it is away."""
        return bool(self.letter_key)

    @property
    def kept_until(self) -> int:
        """Until when the ring keeps it, in Unix seconds: the outer expiry. An inbox outlives introducers."""
        return self.letters_until if self.has_inbox else self.expiry

    def encode(self) -> bytes:
        """`u16 length ‖ row`: the bytes that the ML-DSA signature covers and that come before it."""
        row = pack(
            [
                VERSION,
                self.revision,
                self.expiry,
                self.rendezvous_key,
                self.seal_key,
                [[entry.relay_id, entry.auth_key, entry.expiry] for entry in self.introducers],
                [] if self.proof is None else [[self.proof.seed, self.proof.effort, self.proof.expires]],
                _HAS_INBOX * self.has_inbox | _SENDS_NO_RECEIPTS * self.sends_no_receipts,
                self.classes,
                self.letter_key,
                self.letters_until,
                self.P,
                self.pq_public,
            ]
        )
        return _LENGTH.pack(len(row)) + row

    @classmethod
    def from_row_untrusted(cls, row: bytes) -> EndpointDescriptor:
        """The descriptor in a packed row, or ProtocolError."""
        # In every version the row is an array of 10 to 15 fields, so its second byte is the version.
        if len(row) > 1 and row[1] != VERSION:
            raise ProtocolError(Reason.DOCUMENT_VERSION)
        values = unpack_untrusted(row, _ROW, g.DESCRIPTOR_PLAIN)
        _, revision, expiry, b, seal_key, introducers, proof, flags, classes, *rest = values
        letter_key, letters_until, p, pq_public = rest
        # The letter key, its date and the flag say the same thing, so that a descriptor has one reading.
        inbox = g.HPKE_KEY if flags & _HAS_INBOX else 0
        if len(letter_key) != inbox or bool(letters_until) != bool(inbox) or classes & ~COVERED:
            raise ProtocolError(Reason.DOCUMENT_SHAPE)
        return cls(
            revision=revision,
            expiry=expiry,
            rendezvous_key=b,
            seal_key=seal_key,
            introducers=tuple(IntroducerEntry(*entry) for entry in introducers),
            P=p,
            pq_public=pq_public,
            proof=ProofWanted(*proof[0]) if proof else None,
            sends_no_receipts=bool(flags & _SENDS_NO_RECEIPTS),
            classes=classes,
            letter_key=letter_key,
            letters_until=letters_until,
        )


@dataclass(frozen=True, slots=True)
class Inner:
    """The parts of the plaintext: the descriptor, the bytes the signature covers, the signature (3 309)."""

    descriptor: EndpointDescriptor
    encoded: bytes = field(repr=False)
    signature: bytes = field(repr=False)

    def encode(self) -> bytes:
        """Exactly 12 288 bytes."""
        if len(self.signature) != g.PQ_SIGNATURE:
            raise ValueError(f"an ML-DSA-65 signature is {g.PQ_SIGNATURE} bytes")
        plain = self.encoded + self.signature
        if len(plain) > g.DESCRIPTOR_PLAIN:
            raise ValueError("the parts do not fit into a descriptor")
        return plain.ljust(g.DESCRIPTOR_PLAIN, b"\0")

    @classmethod
    def decode_untrusted(cls, plain: bytes) -> Inner:
        """Check shape, canonical form and zeros, so a value has one encoding. No signature is checked."""
        if len(plain) != g.DESCRIPTOR_PLAIN:
            raise ProtocolError(Reason.DOCUMENT_SIZE)
        start = _LENGTH.size + int(_LENGTH.unpack_from(plain)[0])
        end = start + g.PQ_SIGNATURE
        if end > len(plain):
            raise ProtocolError(Reason.DOCUMENT_SIZE)
        if plain.count(0, end) != len(plain) - end:
            raise ProtocolError(Reason.DOCUMENT_NOT_CANONICAL)
        descriptor = EndpointDescriptor.from_row_untrusted(plain[_LENGTH.size : start])
        return cls(descriptor, plain[:start], plain[start:end])


def pq_signed(blinded: bytes, period: int, encoded: bytes) -> bytes:
    """The bytes that the ML-DSA signature covers: this row, for this period's key only."""
    return b"onionshh descriptor v1" + blinded + _U64.pack(period) + encoded


def period_key_signed(period: int, period_key: bytes, expiry: int) -> bytes:
    """The bytes that the certificate covers. The certificate is a signature by the blinded key."""
    return b"onionshh period key v1" + _PERIOD_EXPIRY.pack(period, period_key, expiry)


@dataclass(frozen=True, slots=True)
class Outer:
    """What the ring keeps: A' 32 ‖ period ‖ revision ‖ salt ‖ period key ‖ expiry ‖ certificate ‖ sealed
    ‖ signature by the period key. `expiry` (Unix seconds) is the certificate's."""

    blinded: bytes
    period: int
    revision: int
    salt: bytes
    period_key: bytes
    expiry: int
    certificate: bytes
    sealed: bytes = field(repr=False)
    signature: bytes = bytes(g.SIGNATURE)

    def encode(self) -> bytes:
        """Exactly `geometry.DESCRIPTOR` bytes."""
        return _OUTER.pack(
            self.blinded,
            self.period,
            self.revision,
            self.salt,
            self.period_key,
            self.expiry,
            self.certificate,
            self.sealed,
            self.signature,
        )

    @property
    def signed(self) -> bytes:
        """What the period key signs: everything before its signature."""
        return b"onionshh ring v1" + self.encode()[: -g.SIGNATURE]

    @classmethod
    def decode_untrusted(cls, data: bytes) -> Outer:
        """Check the length and slice; no signature is verified. Numbers above 2^63 - 1 are refused."""
        if len(data) != _OUTER.size:
            raise ProtocolError(Reason.DOCUMENT_SIZE)
        outer = cls(*_OUTER.unpack(data))
        if max(outer.period, outer.revision, outer.expiry) > NUMBER_MAX:
            raise ProtocolError(Reason.DOCUMENT_SHAPE)
        return outer
