"""What a directory makes of the certificates of signing keys (SPEC 8). Pure.

A certificate must not be over, and must not last unreasonably long. Of one relay the certificate that ends
last counts: once a descriptor under it is known, none under one that ends earlier is taken. So whoever kept a
relay's identity away can make a stolen signing key worthless here before its end, by making a later one.
"""

from __future__ import annotations

from onionshh.core.base.words import utc
from onionshh.core.certificate import CLOCK_SECONDS, MOST_SECONDS, expires_of
from onionshh.wire.descriptor import RelayDescriptor


def problem(descriptor: RelayDescriptor, wall: int) -> str:
    """Why a descriptor cannot be taken for the dates of its certificate; empty if it can, or has none."""
    if is_over(descriptor, wall):
        return (
            f"the relay's signing key ended on {utc(expires_of(descriptor.signing))}, here it is {utc(wall)};"
            " make a new one with `onionshh master sign`"
        )
    if descriptor.signing and expires_of(descriptor.signing) > wall + MOST_SECONDS + CLOCK_SECONDS:
        return (
            f"the relay's signing key would last until {utc(expires_of(descriptor.signing))}, and"
            f" {MOST_SECONDS // 86_400} days are the most; here it is {utc(wall)}: was a clock wrong?"
        )
    return ""


def is_over(descriptor: RelayDescriptor, wall: int) -> bool:
    """Whether the certificate in this descriptor has ended. One without a certificate never ends."""
    return bool(descriptor.signing) and wall >= expires_of(descriptor.signing)


def lead(descriptor: RelayDescriptor, known: RelayDescriptor) -> int:
    """How many seconds later the certificate ends than that of a known descriptor of the same relay; 0 if
    either has none. This comes before the dates of both."""
    if not descriptor.signing or not known.signing:
        return 0
    return expires_of(descriptor.signing) - expires_of(known.signing)
