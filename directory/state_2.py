"""Brings an authority's state of version 2 up to version 3, before anything of it is read (SPEC 8).

Version 2 did not say when each relay was last checked, since when it answers, since when it is listed or not,
and at which of its addresses it did not answer. It had no history of the last day. All that it says is kept.
The rest is known again once the relay has been checked.
"""

from __future__ import annotations

from typing import Final

from onionshh import geometry as g
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from onionshh.wire.packing import Bin, Int, ListOf, Text, fields, pack, unpack_untrusted

VERSION: Final = 2
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
        ),
        10_000,
    ),
)


def brought_up_untrusted(data: bytes) -> bytes:
    """A state of version 3 with what is in `data`, one of version 2. Raises ProtocolError.

    What is in the descriptors is checked when the result is read.
    """
    version, valid_after, random, relays = unpack_untrusted(data, _STATE, _MAX)
    if version != VERSION:
        raise ProtocolError(Reason.DOCUMENT_VERSION)
    rows = []
    for newest, checked, heard, first_seen, last_good, failures, why in relays:
        tested = 0 if failures else last_good
        turned = first_seen if checked else 0
        rows.append((newest, checked, heard, first_seen, last_good, failures, why, tested, 0, turned, ()))
    return pack((VERSION + 1, valid_after, random, rows, ()))
