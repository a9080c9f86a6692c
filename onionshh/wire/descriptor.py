"""Relay descriptors: what a relay says about itself, under its own signature (SPEC 8).

The document is `[body bin, signature bin 64]`. The relay's identity signs `SIGNED ‖ body`, or the signing
key in `signing` does if that is not empty. The signature is checked over the bytes exactly as received.
core/trust.py signs and checks, core/certificate.py knows what is in `signing`; this file has the shape.

A relay has an IPv4 address, an IPv6 address, an onion service, or several of these. `paced` has no use yet.
It has its place in the format so that the format need not change when it gets one.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, TypeVar

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.ids import RelayId
from onionshh.reasons import Reason
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

DESCRIPTOR_VERSION: Final = 2
SIGNED: Final = b"onionshh relay descriptor v1"
DESCRIPTOR_MAX: Final = 4096

NICKNAME_MOST: Final = 19
HOST_MOST: Final = 62
"""The length of an onion address; an IP address is shorter."""
ADDRESSES_MOST: Final = 4
FAMILY_MOST: Final = 8
VERSIONS_MOST: Final = 8
SOFTWARE_MOST: Final = 32
MOST_BANDWIDTH: Final = 2**40
MOST_PACED: Final = 4096

IPV4: Final = 1
IPV6: Final = 2
ONION: Final = 3
"""The kinds of addresses."""

PROTOCOL_VERSION: Final = 1
"""The version this relay speaks; a list of versions has every version a relay speaks."""

CAPABILITY_RING: Final = 1
"""The relay keeps endpoint descriptors. Without this bit a relay gets no RING flag."""
CAPABILITY_MAILBOXES: Final = 2
"""The relay keeps mailboxes (SPEC 14)."""

_NICKNAME = re.compile(rf"[a-zA-Z0-9-]{{1,{NICKNAME_MOST}}}")
_ONION_HOST = re.compile(r"[a-z2-7]{56}\.onion")

SIGNING: Final = g.KEY + 8 + g.SIGNATURE
"""key ‖ expires u64 ‖ certificate, for an identity that is kept away from the relay."""

ADDRESSES: Final = ListOf(fields(Int(ONION), Text(HOST_MOST), Int(65535)), ADDRESSES_MOST, least=1)
"""The shape of a relay's addresses: rows of kind, host, port."""
SOFTWARE: Final = Text(SOFTWARE_MOST, ascii=True)

_ENVELOPE = fields(Bin(most=DESCRIPTOR_MAX), Bin(g.SIGNATURE))
_BODY = fields(
    Int(255),  # version
    Bin(g.KEY),  # identity
    Bin(g.KEY),  # onion key
    Text(NICKNAME_MOST),
    ADDRESSES,
    Bin(SIGNING, or_empty=True),
    ListOf(Bin(g.KEY), FAMILY_MOST),
    Int(MOST_BANDWIDTH),
    Int(2**32 - 1),  # capabilities
    ListOf(Int(65535), VERSIONS_MOST, least=1),
    SOFTWARE,
    fields(Int(MOST_PACED), Int(MOST_PACED)),
    Int(),  # published
)


class Address(NamedTuple):
    """One place where a relay takes links. The fields are in wire order.

    `kind` is IPV4, IPV6 or ONION. `host` is an IP address as text (no brackets, in its one canonical form),
    or the name of an onion service.
    """

    kind: int
    host: str
    port: int

    @classmethod
    def of(cls, host: str, port: int) -> Address:
        """The address with the kind that its host looks like. Nothing is checked."""
        if host.endswith(".onion"):
            return cls(ONION, host, port)
        return cls(IPV6 if ":" in host else IPV4, host, port)

    def __str__(self) -> str:
        """`host:port`, an IPv6 host in brackets."""
        return format_address(self.host, self.port)


class Paced(NamedTuple):
    """Numbers of links with cover, by class. In a descriptor each is 0 or a power of two."""

    hush: int = 0
    dark: int = 0


NONE_PACED: Final = Paced()


def only_over_tor(addresses: Sequence[Address]) -> bool:
    """Whether all of these sorted addresses are onion services: only a node with C tor reaches the relay."""
    return addresses[0].kind == ONION


Item = TypeVar("Item", bytes, int, Address)


@dataclass(frozen=True, slots=True)
class RelayDescriptor:
    """What one relay says about itself; nothing here shows whether it is true.

    `addresses` are sorted, so an IP address comes first if there is one; there is at least one address.
    `family` has the sorted identities of the operator's other relays. `bandwidth` is the claim in bytes per
    second, `capabilities` has bits, `versions` is sorted, `software` is ASCII for people, `published` is in
    Unix seconds. `signing` is empty or `SIGNING` bytes.
    """

    identity: RelayId
    onion_key: bytes
    nickname: str
    addresses: tuple[Address, ...]
    signing: bytes = b""
    family: tuple[RelayId, ...] = ()
    bandwidth: int = 0
    capabilities: int = CAPABILITY_RING
    versions: tuple[int, ...] = (PROTOCOL_VERSION,)
    software: str = ""
    paced: Paced = NONE_PACED
    published: int = 0

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

    def encode_body(self) -> bytes:
        """The bytes that the signature covers, after `SIGNED`."""
        return pack(
            (
                DESCRIPTOR_VERSION,
                self.identity,
                self.onion_key,
                self.nickname,
                self.addresses,
                self.signing,
                self.family,
                self.bandwidth,
                self.capabilities,
                self.versions,
                self.software,
                self.paced,
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
    values = unpack_version_untrusted(
        body, _BODY, DESCRIPTOR_MAX, version=DESCRIPTOR_VERSION, otherwise=Reason.DESCRIPTOR_VERSION
    )
    plain = RelayDescriptor(*values)
    descriptor = replace(plain, addresses=addresses_of(plain.addresses), paced=Paced._make(plain.paced))
    if not good_nickname(descriptor.nickname):
        raise ProtocolError(Reason.DESCRIPTOR_NICKNAME)
    if not in_order(descriptor.addresses) or not all(map(_is_canonical, descriptor.addresses)):
        raise ProtocolError(Reason.DESCRIPTOR_ADDRESS)
    if any(links & (links - 1) for links in descriptor.paced):  # a power of two has one bit
        raise ProtocolError(Reason.DESCRIPTOR_PACED)
    family: list[bytes] = list(descriptor.family)
    if not strictly_rising(family) or descriptor.identity in family:
        raise ProtocolError(Reason.DESCRIPTOR_FAMILY)
    if not strictly_rising(descriptor.versions):
        raise ProtocolError(Reason.DESCRIPTOR_VERSIONS)
    return descriptor


def good_nickname(nickname: str) -> bool:
    """Whether a relay can have this name: 1 to 19 letters, digits and dashes."""
    return _NICKNAME.fullmatch(nickname) is not None


def addresses_of(rows: Iterable[tuple[int, str, int]]) -> tuple[Address, ...]:
    """Addresses from their rows on the wire, unchecked."""
    return tuple(map(Address._make, rows))


def in_order(addresses: Sequence[Address]) -> bool:
    """Whether the addresses are sorted, each is there once, and all are of a known kind."""
    return addresses[0].kind >= IPV4 and (len(addresses) == 1 or strictly_rising(addresses))


def _is_canonical(address: Address) -> bool:
    """Whether the host is of its kind and in its one form, and there is a port. An onion service's name is
    not looked into."""
    if address.port == 0 or Address.of(address.host, address.port) != address:
        return False
    if address.kind == ONION:
        return _ONION_HOST.fullmatch(address.host) is not None
    return canonical_host(address.host) == address.host


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
