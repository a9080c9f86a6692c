"""Relay descriptors: what a relay says about itself, under its own signature (SPEC 8).

The document is `[body bin, signature bin 64]`. The relay's identity signs `SIGNED ‖ body`. The signature is
checked over the bytes exactly as received. core/trust.py signs and checks; this file has the shape.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
from onionshh.wire.packing import Bin, Int, ListOf, Text, fields, pack, unpack_untrusted

DESCRIPTOR_VERSION: Final = 1
SIGNED: Final = b"onionshh relay descriptor v1"
DESCRIPTOR_MAX: Final = 4096

NICKNAME_MOST: Final = 19
HOST_MOST: Final = 45
FAMILY_MOST: Final = 8
VERSIONS_MOST: Final = 8
MOST_BANDWIDTH: Final = 2**40

PROTOCOL_VERSION: Final = 1
"""The version this relay speaks; a list of versions has every version a relay speaks."""

CAPABILITY_RING: Final = 1
"""The relay keeps endpoint descriptors. Without this bit a relay gets no RING flag."""

Item = TypeVar("Item", bytes, int)

_NICKNAME = re.compile(rf"[a-zA-Z0-9-]{{1,{NICKNAME_MOST}}}")

_ENVELOPE = fields(Bin(most=DESCRIPTOR_MAX), Bin(g.SIGNATURE))
_BODY = fields(
    Int(255),  # version
    Bin(g.KEY),  # identity
    Bin(g.KEY),  # onion key
    Text(NICKNAME_MOST),
    Text(HOST_MOST),
    Int(65535),  # port
    ListOf(Bin(g.KEY), FAMILY_MOST),
    Int(MOST_BANDWIDTH),
    Int(2**32 - 1),  # capabilities
    ListOf(Int(65535), VERSIONS_MOST, least=1),
    Int(),  # published
)


@dataclass(frozen=True, slots=True)
class RelayDescriptor:
    """What one relay says about itself; nothing here shows whether it is true.

    `host` is an IP address as text (no brackets, in its one canonical form). `family` has the sorted
    identities of the operator's other relays. `bandwidth` is the claim in bytes per second, `capabilities`
    has bits, `versions` is sorted, `published` is in Unix seconds.
    """

    identity: RelayId
    onion_key: bytes
    nickname: str
    host: str
    port: int
    family: tuple[RelayId, ...] = ()
    bandwidth: int = 0
    capabilities: int = CAPABILITY_RING
    versions: tuple[int, ...] = (PROTOCOL_VERSION,)
    published: int = 0

    @property
    def address(self) -> str:
        """`host:port`, an IPv6 host in brackets."""
        return format_address(self.host, self.port)

    def encode_body(self) -> bytes:
        """The bytes that the signature covers, after `SIGNED`."""
        return pack(
            (
                DESCRIPTOR_VERSION,
                self.identity,
                self.onion_key,
                self.nickname,
                self.host,
                self.port,
                self.family,
                self.bandwidth,
                self.capabilities,
                self.versions,
                self.published,
            )
        )


def join(body: bytes, signature: bytes) -> bytes:
    """The document from its two parts."""
    return pack((body, signature))


def split_untrusted(data: bytes) -> tuple[bytes, bytes]:
    """A document's body and signature, both unchecked. Raises ProtocolError."""
    body, signature = unpack_untrusted(data, _ENVELOPE, DESCRIPTOR_MAX)
    return body, signature


def decode_body_untrusted(body: bytes) -> RelayDescriptor:
    """The descriptor in a body, its signature unchecked. Raises ProtocolError."""
    version, *rest = unpack_untrusted(body, _BODY, DESCRIPTOR_MAX)
    if version != DESCRIPTOR_VERSION:
        raise ProtocolError(Reason.DESCRIPTOR_VERSION)
    descriptor = RelayDescriptor(*rest)
    if not good_nickname(descriptor.nickname):
        raise ProtocolError(Reason.DESCRIPTOR_NICKNAME)
    if canonical_host(descriptor.host) != descriptor.host or descriptor.port == 0:
        raise ProtocolError(Reason.DESCRIPTOR_ADDRESS)
    family: list[bytes] = list(descriptor.family)
    if not strictly_rising(family) or descriptor.identity in family:
        raise ProtocolError(Reason.DESCRIPTOR_FAMILY)
    if not strictly_rising(descriptor.versions):
        raise ProtocolError(Reason.DESCRIPTOR_VERSIONS)
    return descriptor


def good_nickname(nickname: str) -> bool:
    """Whether a relay can have this name: 1 to 19 letters, digits and dashes."""
    return _NICKNAME.fullmatch(nickname) is not None


def canonical_host(host: str) -> str | None:
    """The one way to write this IP address. None if it is not one: a name, or an address with a zone."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    if isinstance(address, ipaddress.IPv6Address) and (address.scope_id or address.ipv4_mapped):
        return None
    return str(address)


def format_address(host: str, port: int) -> str:
    """`host:port`, an IPv6 host in brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def strictly_rising(items: Sequence[Item]) -> bool:
    """Whether the items are sorted and each is there once: a set has only one such order."""
    return list(items) == sorted(set(items))
