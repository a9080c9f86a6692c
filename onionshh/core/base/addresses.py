"""What counts as one address when strangers are limited by address (SPEC 17)."""

from __future__ import annotations

import ipaddress


def plain_host(host: str) -> str:
    """A peer's address in its one form: without a zone, mapped IPv4 as IPv4, other text unchanged."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return host
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def host_group(host: str) -> str:
    """An IPv4 address itself, or the /64 of an IPv6 address, since one machine can use a whole /64."""
    plain = plain_host(host)
    try:
        address = ipaddress.ip_address(plain)
    except ValueError:
        return plain
    if isinstance(address, ipaddress.IPv6Address):
        return str(ipaddress.IPv6Network((address.packed[:8] + bytes(8), 64)))
    return plain
