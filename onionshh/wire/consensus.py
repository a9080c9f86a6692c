"""The consensus: the network as its authorities saw and signed it (SPEC 8).

The document is `[body bin, [[authority key, signature]…]]`. Each signature covers `SIGNED ‖ body`, with the
body exactly as it was received. This file has the shapes. core/trust.py checks the signers and the dates.
Rows are sorted by identity, so one view has only one document. A Merkle root covers the rows and their
weights.

`crowd`, `previous` and `votes` are read by nobody yet. They have their place in the format so that it need
not change when they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire import merkle
from onionshh.wire.descriptor import (
    ADDRESSES,
    FAMILY_MOST,
    MOST_PACED,
    NICKNAME_MOST,
    NONE_PACED,
    SOFTWARE,
    VERSIONS_MOST,
    Address,
    Paced,
    addresses_of,
    in_order,
    only_over_tor,
)
from onionshh.wire.packing import (
    Bin,
    Int,
    ListOf,
    Text,
    fields,
    pack,
    unpack_untrusted,
    unpack_version_untrusted,
)

CONSENSUS_VERSION: Final = 2
SIGNED: Final = b"onionshh consensus v1"

CONSENSUS_RELAYS_MOST: Final = 5700
"""This many rows of the largest size still fit in `geometry.CONSENSUS_MAX`; a test checks the sum."""

MOST_SIGNATURES: Final = 32
MOST_PARAMS: Final = 256
MOST_RANDOM: Final = 16
MOST_VOTES: Final = 9

GUARD: Final = 1
RING: Final = 2
FAST: Final = 4
FLAG_NAMES: Final = ((GUARD, "GUARD"), (RING, "RING"), (FAST, "FAST"))

_CROWD_MOST = CONSENSUS_RELAYS_MOST * MOST_PACED

_ENVELOPE = fields(
    Bin(most=g.CONSENSUS_MAX), ListOf(fields(Bin(g.KEY), Bin(g.SIGNATURE)), MOST_SIGNATURES, least=1)
)
_ROW = fields(
    Bin(g.KEY),  # identity
    Bin(g.KEY),  # onion key
    Text(NICKNAME_MOST),
    ADDRESSES,
    Int(2**40),  # weight
    Int(2**16 - 1),  # flags; unknown bits belong to a later version
    Int(),  # first seen
    ListOf(Bin(g.KEY), FAMILY_MOST),
    ListOf(Int(65535), VERSIONS_MOST),
    SOFTWARE,
)
_BODY = fields(
    Int(255),  # version
    Text(64),  # network
    Int(),  # valid after
    Int(),  # fresh until
    Int(),  # valid until
    ListOf(fields(Text(64), Int()), MOST_PARAMS),
    ListOf(fields(Int(), Bin(g.HASH), Int()), MOST_RANDOM),
    fields(Int(_CROWD_MOST), Int(_CROWD_MOST)),
    Bin(g.HASH, or_empty=True),  # previous
    ListOf(fields(Bin(g.KEY), Bin(g.HASH)), MOST_VOTES),
    ListOf(_ROW, CONSENSUS_RELAYS_MOST),
    Int(CONSENSUS_RELAYS_MOST),  # how many rows
    Bin(g.HASH),  # Merkle root over them
)


class RelayRow(NamedTuple):
    """One relay as the authorities list it. The fields are in wire order.

    `onion_key` is X25519, `addresses` are sorted, IP addresses first, `weight` has no unit (only ratios have
    a meaning), `flags` has the bits GUARD RING FAST, `first_seen` is in Unix seconds, `family` is sorted
    identities, `software` is ASCII for people.
    """

    identity: RelayId
    onion_key: bytes
    nickname: str
    addresses: tuple[Address, ...]
    weight: int
    flags: int
    first_seen: int
    family: tuple[RelayId, ...] = ()
    versions: tuple[int, ...] = (1,)
    software: str = ""

    @property
    def host(self) -> str:
        """The host of the first address: an IP address, if there is one."""
        return self.addresses[0].host

    @property
    def port(self) -> int:
        """The port of the first address."""
        return self.addresses[0].port

    @property
    def address(self) -> str:
        """The first address, as `host:port`, an IPv6 host in brackets."""
        return str(self.addresses[0])

    @property
    def only_over_tor(self) -> bool:
        """Whether it has no IP address: only a node with C tor reaches it."""
        return only_over_tor(self.addresses)

    @property
    def flag_names(self) -> tuple[str, ...]:
        """The flags in words, for people and JSON."""
        return tuple(name for bit, name in FLAG_NAMES if self.flags & bit)

    def as_dict(self) -> dict[str, str | int | list[str]]:
        """What a program is told about a relay, under stable names (`GET /relays`, `relays --json`)."""
        return {
            "nickname": self.nickname,
            "id": self.identity.hex(),
            "address": self.address,
            "addresses": [str(address) for address in self.addresses],
            "flags": list(self.flag_names),
            "weight": self.weight,
            "first_seen": self.first_seen,
            "software": self.software,
        }


class SharedRandom(NamedTuple):
    """A period's random value (32 bytes) and when it was first published, Unix seconds (SPEC 10)."""

    period: int
    value: bytes
    published: int


class Vote(NamedTuple):
    """What one authority said before all signed: its key, and the SHA3-256 of its vote, 32 bytes each."""

    authority: bytes
    digest: bytes


@dataclass(frozen=True, slots=True)
class Consensus:
    """The body of a consensus. Times are Unix seconds; `params` are raw pairs sorted by name.

    `crowd` is the sum of what relays say of their links with cover. `previous` is the SHA3-256 of the body
    before this one, 32 bytes, or empty. `votes` are sorted by authority, empty where there is only one.
    """

    network: str
    valid_after: int
    fresh_until: int
    valid_until: int
    params: tuple[tuple[str, int], ...]
    shared_random: tuple[SharedRandom, ...]
    relays: tuple[RelayRow, ...]
    crowd: Paced = NONE_PACED
    previous: bytes = b""
    votes: tuple[Vote, ...] = ()

    def encode_body(self) -> bytes:
        """The bytes that signatures cover, after `SIGNED`."""
        return pack(
            (
                CONSENSUS_VERSION,
                self.network,
                self.valid_after,
                self.fresh_until,
                self.valid_until,
                self.params,
                self.shared_random,
                self.crowd,
                self.previous,
                self.votes,
                self.relays,
                len(self.relays),
                self.root,
            )
        )

    @property
    def root(self) -> bytes:
        """The Merkle root over the rows, computed again on each call."""
        return merkle.root(merkle.Leaf(pack(row), row.weight) for row in self.relays)


def join(body: bytes, signatures: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """The document from a body and its (authority key, signature) pairs."""
    return pack((body, signatures))


def split_untrusted(data: bytes) -> tuple[bytes, tuple[tuple[bytes, bytes], ...]]:
    """A document's body and its signatures by distinct keys, all unchecked. Raises ProtocolError."""
    body, signatures = unpack_untrusted(data, _ENVELOPE, g.CONSENSUS_MAX)
    if len({key for key, _ in signatures}) != len(signatures):
        raise ProtocolError(Reason.CONSENSUS_SIGNATURES)
    return body, signatures


def decode_body_untrusted(body: bytes) -> Consensus:
    """The consensus in a body, with shape, order, count and root checked. Raises ProtocolError.

    Call it on bytes whose signatures are valid. It still takes linear time and refuses what is not canonical.
    """
    values = unpack_version_untrusted(
        body, _BODY, g.CONSENSUS_MAX, version=CONSENSUS_VERSION, otherwise=Reason.CONSENSUS_VERSION
    )
    network, valid_after, fresh_until, valid_until, pairs, random, *rest = values
    crowd, previous, votes, rows, count, root = rest
    consensus = Consensus(
        network,
        valid_after,
        fresh_until,
        valid_until,
        params=pairs,
        shared_random=tuple(map(SharedRandom._make, random)),
        relays=tuple(map(_row, rows)),
        crowd=Paced._make(crowd),
        previous=previous,
        votes=tuple(map(Vote._make, votes)),
    )
    if not valid_after < fresh_until <= valid_until:
        raise ProtocolError(Reason.CONSENSUS_DATES)
    for ordered in (pairs, random, votes, rows):
        names = [item[0] for item in ordered]
        if any(a >= b for a, b in pairwise(names)):
            raise ProtocolError(Reason.CONSENSUS_ORDER)
    if not all(in_order(row.addresses) for row in consensus.relays):
        raise ProtocolError(Reason.CONSENSUS_ADDRESS)
    if count != len(rows) or consensus.root != root:
        raise ProtocolError(Reason.CONSENSUS_ROOT)
    return consensus


def _row(values: tuple[Any, ...]) -> RelayRow:
    identity, onion_key, nickname, addresses, *rest = values
    return RelayRow(identity, onion_key, nickname, addresses_of(addresses), *rest)
