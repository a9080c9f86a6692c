"""Look-ups in the current consensus and in the one before it (SPEC 6, 8, 10).

Both are kept because nodes do not change at the same moment: an EXTEND may name a relay of either. A view is
immutable and made once per consensus. It has an index by identity; everything else is computed on request.

A relay that has only an onion service is reached by nodes with C tor and by nobody else, so it can be a first
hop for these nodes and nothing more. `relays` and what follows from it leave such relays out. Whoever draws
anything but guards never meets one.
"""

from __future__ import annotations

import ipaddress

from onionshh.core.base.params import Params
from onionshh.ids import RelayId
from onionshh.wire.consensus import GUARD, RING, Consensus, RelayRow
from onionshh.wire.descriptor import Address

_IPV4_PREFIX_BITS = 16
_IPV6_PREFIX_BITS = 32


class View:
    """Look-ups in one consensus and the one before it."""

    __slots__ = (
        "_by_id",
        "_previous_by_id",
        "_random",
        "_subnets",
        "consensus",
        "params",
        "period",
        "previous",
        "relays",
    )

    def __init__(self, consensus: Consensus, previous: Consensus | None = None) -> None:
        self.consensus = consensus
        self.previous = previous
        self.params = Params.from_pairs_untrusted(consensus.params)
        self.period = self.params.period_of(consensus.valid_after)
        self._by_id: dict[bytes, RelayRow] = {row.identity: row for row in consensus.relays}
        self._previous_by_id: dict[bytes, RelayRow] = (
            {row.identity: row for row in previous.relays} if previous is not None else {}
        )
        self.relays = tuple(row for row in consensus.relays if not row.only_over_tor)
        """The current relays that everyone reaches, sorted by identity."""
        self._random = {row.period: row for row in consensus.shared_random}
        self._subnets: dict[tuple[Address, ...], frozenset[bytes]] = {}

    def relay(self, identity: RelayId | bytes) -> RelayRow | None:
        """A relay of the current consensus."""
        return self._by_id.get(identity)

    def any_relay(self, identity: RelayId | bytes) -> RelayRow | None:
        """A relay of the current consensus, or else of the previous one."""
        return self._by_id.get(identity) or self._previous_by_id.get(identity)

    def with_flag(self, flag: int) -> tuple[RelayRow, ...]:
        """The relays of `relays` that have this flag bit, sorted by identity."""
        return tuple(row for row in self.relays if row.flags & flag)

    def entries(self, *, over_tor: bool) -> tuple[RelayRow, ...]:
        """The relays that may become a node's guards, sorted by identity. `over_tor`: the node has C tor, and
        so it reaches onion services, too."""
        rows = self.consensus.relays if over_tor else self.relays
        return tuple(row for row in rows if row.flags & GUARD)

    def shared_random(self, period: int) -> bytes | None:
        """The random value of a period. None before it is published, and after about seven days (SPEC 10)."""
        row = self._random.get(period)
        return row.value if row is not None else None

    def ring_relays(self, period: int) -> tuple[RelayRow, ...]:
        """The relays of a period's ring, sorted by identity. Empty without the period's random value.

        A relay must be listed well before the period's random value is known. Otherwise someone could choose
        its identity to be next to a given endpoint (SPEC 10). An age of 0 switches the rule off.
        """
        row = self._random.get(period)
        if row is None:
            return ()
        age = self.params.ring_age_seconds
        if age == 0:
            return self.with_flag(RING)
        latest = row.published - age
        return tuple(r for r in self.relays if r.flags & RING and r.first_seen <= latest)

    def same_group(self, a: RelayRow, b: RelayRow) -> bool:
        """Whether two relays must not share a path: same relay, same family, or same subnet (SPEC 6).

        Two relays are a family only if each names the other. Otherwise anyone could claim any relay.
        """
        if a.identity == b.identity:
            return True
        if a.family and a.identity in b.family and b.identity in a.family:
            return True
        return bool(self.params.subnet_rule) and not self._subnets_of(a).isdisjoint(self._subnets_of(b))

    def _subnets_of(self, row: RelayRow) -> frozenset[bytes]:
        """The subnets of all addresses of a relay: two relays that have one in common are too near."""
        subnets = self._subnets.get(row.addresses)
        if subnets is None:
            subnets = self._subnets[row.addresses] = frozenset(subnet_of(one.host) for one in row.addresses)
        return subnets


def subnet_of(host: str) -> bytes:
    """The bytes that all hosts of one subnet share: IPv4 /16, IPv6 /32. Other text is its own subnet."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.encode()
    bits = _IPV4_PREFIX_BITS if address.version == 4 else _IPV6_PREFIX_BITS
    return bytes((address.version,)) + address.packed[: bits // 8]
