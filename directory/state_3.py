"""Brings an authority's state of version 3 up to version 4, before anything of it is read (SPEC 8).

Version 3 did not say at which of its addresses a relay did not answer, and why. All that it says is kept. The
rest is known again once the relay has been checked.
"""

from __future__ import annotations

from typing import Final

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.packing import Bin, Int, ListOf, Text, fields, pack, unpack_untrusted

VERSION: Final = 3
_MAX = 64 * 1024 * 1024
_DESCRIPTOR_MAX = 4096

_STATE = fields(
    Int(255),  # version
    Int(),  # last valid-after
    ListOf(fields(Int(), Bin(g.HASH), Int()), 24),
    ListOf(
        fields(
            Bin(most=_DESCRIPTOR_MAX),  # newest descriptor
            Bin(most=_DESCRIPTOR_MAX),  # the one that answered; empty for none
            Int(),  # heard
            Int(),  # first seen
            Int(),  # last good check
            Int(),  # failures in a row
            Text(1000),  # why the last check failed
            Int(),  # last check
            Int(),  # answers since
            Int(),  # listed or not since
        ),
        10_000,
    ),
    ListOf(fields(Int(), Int(), Int(), Int(), Int(), Int()), 289),
)


def brought_up_untrusted(data: bytes) -> bytes:
    """A state of version 4 with what is in `data`, one of version 3. Raises ProtocolError.

    What is in the descriptors is checked when the result is read.
    """
    version, valid_after, random, relays, history = unpack_untrusted(data, _STATE, _MAX)
    if version != VERSION:
        raise ProtocolError(Reason.DOCUMENT_VERSION)
    return pack((VERSION + 1, valid_after, random, [(*relay, ()) for relay in relays], history))
