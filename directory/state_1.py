"""Brings an authority's state of version 1 up to version 2, before anything of it is read (SPEC 8). What
follows, state_2.py does.

Version 1 had at most eight random rows, and relay descriptors of version 1, which name one host and port. All
that they say is kept: the last date, the random values, and since when each relay is listed. A relay's
software stays unknown until its next descriptor comes.
"""

from __future__ import annotations

from typing import Any, Final

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.descriptor import Address, RelayDescriptor
from onionshh.wire.packing import Bin, Int, ListOf, Text, fields, pack, unpack_untrusted

VERSION: Final = 1
_MAX = 64 * 1024 * 1024
_DESCRIPTOR_MAX = 4096

_STATE = fields(
    Int(255),  # version
    Int(),  # last valid-after
    ListOf(fields(Int(), Bin(g.HASH), Int()), 8),
    ListOf(
        fields(
            Bin(most=_DESCRIPTOR_MAX),  # newest descriptor
            Bin(most=_DESCRIPTOR_MAX),  # the one that answered; empty for none
            Int(),  # heard
            Int(),  # first seen
            Int(),  # last good check
            Int(),  # failures in a row
            Text(1000),  # why the last check failed
        ),
        10_000,
    ),
)
_BODY = fields(
    Int(255),  # version
    Bin(g.KEY),  # identity
    Bin(g.KEY),  # onion key
    Text(19),  # nickname
    Text(45),  # host
    Int(65535),  # port
    ListOf(Bin(g.KEY), 8),  # family
    Int(2**40),  # bandwidth
    Int(2**32 - 1),  # capabilities
    ListOf(Int(65535), 8, least=1),  # versions
    Int(),  # published
)


def brought_up_untrusted(data: bytes) -> bytes:
    """A state of version 2 with what is in `data`, one of version 1. Raises ProtocolError.

    What is in the descriptors is checked when the result is read.
    """
    version, valid_after, random, relays = unpack_untrusted(data, _STATE, _MAX)
    if version != VERSION:
        raise ProtocolError(Reason.DOCUMENT_VERSION)
    rows = [(_body(newest), _body(checked) if checked else b"", *rest) for newest, checked, *rest in relays]
    return pack((2, valid_after, random, rows))


def _body(body: bytes) -> bytes:
    """A descriptor's body of version 2, from one of version 1."""
    values: tuple[Any, ...] = unpack_untrusted(body, _BODY, _DESCRIPTOR_MAX)
    version, identity, onion_key, nickname, host, port, family, bandwidth, *rest = values
    capabilities, versions, published = rest
    if version != VERSION:
        raise ProtocolError(Reason.DOCUMENT_VERSION)
    return RelayDescriptor(
        identity=identity,
        onion_key=onion_key,
        nickname=nickname,
        addresses=(Address.of(host, port),),
        family=family,
        bandwidth=bandwidth,
        capabilities=capabilities,
        versions=versions,
        published=published,
    ).encode_body()
