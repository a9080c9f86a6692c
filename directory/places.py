"""Which addresses a relay may name, and how many relays there may be at one (SPEC 8). Pure.

An IP address costs somebody something, so relays are counted by it. An onion service costs nothing. So relays
that have nothing else are counted as a whole, and together they weigh no more than one other relay
(`consensus.py`).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence

from onionshh.core.base.addresses import host_group
from onionshh.core.base.params import Params
from onionshh.ids import RelayId
from onionshh.wire.descriptor import ONION, Address, RelayDescriptor, only_over_tor

ONLY_OVER_TOR_MOST = 256
"""Checks over tor take long, and this many fit into one interval."""
_LEADS_ELSEWHERE = tuple(
    map(
        ipaddress.ip_network,
        ("::/96", "64:ff9b::/96", "64:ff9b:1::/48", "2001::/32", "2002::/16", "fec0::/10"),
    )
)
"""IPv6 in which an IPv4 address lies, or of one site: a gateway may lead it to a private place."""
NOT_OVER_TOR = "only reachable over tor; this directory has no --via tor"


class Places:
    """Who is at which address. `over_tor`: this directory reaches onion services."""

    def __init__(self, params: Callable[[], Params], *, over_tor: bool) -> None:
        self._params = params
        self._over_tor = over_tor
        self._by_host: dict[str, set[RelayId]] = {}
        self._only_over_tor: set[RelayId] = set()

    def add(self, descriptor: RelayDescriptor) -> None:
        """This relay is at the addresses that it names."""
        for address in descriptor.addresses:
            self._by_host.setdefault(host_group(address.host), set()).add(descriptor.identity)
        if only_over_tor(descriptor.addresses):
            self._only_over_tor.add(descriptor.identity)

    def remove(self, descriptor: RelayDescriptor) -> None:
        """This relay has gone, or has a newer descriptor."""
        self._only_over_tor.discard(descriptor.identity)
        for address in descriptor.addresses:
            group = host_group(address.host)
            there = self._by_host.get(group, set())
            there.discard(descriptor.identity)
            if not there:
                self._by_host.pop(group, None)

    def problem(self, addresses: Sequence[Address], source: str) -> str:
        """Why a relay may not have these addresses, empty if it may. `source`: where its word came from."""
        hosts = [address.host for address in addresses if address.kind != ONION]
        if len({address.kind for address in addresses}) < len(addresses):
            return "a relay has at most one address of each kind: IPv4, IPv6, onion service"
        for host in hosts:
            why = self._host_problem(host)
            if why:
                return why
        if not hosts:
            return "" if self._over_tor else NOT_OVER_TOR
        if self._params().advertised_ip_rule and source not in hosts:
            return (
                f"this came from {source} but advertises {' and '.join(hosts)}; a relay announces itself from"
                " an address that it advertises (--bind, --advertise)"
            )
        return ""

    def _host_problem(self, host: str) -> str:
        address = ipaddress.ip_address(host)
        if address.is_unspecified or address.is_multicast:
            return f"{host} is not an address that a relay can be reached at"
        elsewhere = any(
            address in network for network in _LEADS_ELSEWHERE if network.version == address.version
        )
        if self._params().private_address_rule and (elsewhere or not address.is_global):
            return (
                f"{host} is not reachable from the internet; advertise a public address"
                " (networks of private addresses set the parameter private_address_rule=0)"
            )
        return ""

    def crowd_problem(self, descriptor: RelayDescriptor, holds: Callable[[RelayId, str], bool]) -> str:
        """At most `relays_per_ip` relays per address. `holds`: whether a relay has a place at a host's group,
        or anywhere for "". One that did not answer there has none, whatever it names."""
        limit = self._params().relays_per_ip
        for address in descriptor.addresses if limit else ():
            group = host_group(address.host)
            there = self._by_host.get(group, set()) - {descriptor.identity}
            count = sum(holds(identity, group) for identity in there)
            if count >= limit:
                return f"there are {count} relays at {address.host} already, the most this network allows"
        if only_over_tor(descriptor.addresses):
            others = self._only_over_tor - {descriptor.identity}
            count = sum(holds(identity, "") for identity in others)
            if count >= ONLY_OVER_TOR_MOST:
                return f"this directory knows {count} relays that only tor reaches, the most it takes"
        return ""
