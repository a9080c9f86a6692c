"""What a relay's descriptor must keep to before anything else is asked (SPEC 8). Pure.

Each rule answers with a sentence for the relay's operator, empty if the descriptor keeps to it.
"""

from __future__ import annotations

import ipaddress

from onionshh.core.base.params import Params
from onionshh.core.base.words import utc
from onionshh.directory.entry import CLOCK_SECONDS

DESCRIPTOR_LIFE_SECONDS = 24 * 3600


def address_problem(host: str, source: str, params: Params) -> str:
    """Why a relay that posts from the IP address `source` may not advertise this host."""
    address = ipaddress.ip_address(host)
    if address.is_unspecified or address.is_multicast:
        return f"{host} is not an address that a relay can be reached at"
    if params.private_address_rule and not address.is_global:
        return (
            f"{host} is not reachable from the internet; advertise a public address"
            " (networks of private addresses set the parameter private_address_rule=0)"
        )
    if params.advertised_ip_rule and source != host:
        return (
            f"this came from {source} but advertises {host}; a relay announces itself from the address it"
            " advertises (--bind, --advertise)"
        )
    return ""


def date_problem(published: int, wall: int) -> str:
    """Why a descriptor of that date may not come at this time, both in Unix seconds."""
    ahead = published - wall
    if -DESCRIPTOR_LIFE_SECONDS <= ahead <= CLOCK_SECONDS:
        return ""
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"the relay's clock is about {abs(ahead)} seconds {way} the directory's: the descriptor is of"
        f" {utc(published)}, here it is {utc(wall)}; set right whichever is wrong"
    )
