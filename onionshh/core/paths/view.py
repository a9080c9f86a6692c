"""Look-ups in the current consensus and in the one before it (SPEC 6, 8, 10).

Both are kept because nodes do not change at the same moment: an EXTEND may name a relay of either. A view is
immutable and made once per consensus. It has an index by identity; everything else is computed on request.
"""

from __future__ import annotations

import ipaddress

from onionshh.core.base.params import Params
from onionshh.ids import RelayId
from onionshh.wire.consensus import RING, Consensus, RelayRow

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
        self._random = {row.period: row for row in consensus.shared_random}
        self._subnets: dict[str, bytes] = {}

    @property
    def relays(self) -> tuple[RelayRow, ...]:
        """All current relays, sorted by identity."""
        return self.consensus.relays

    def relay(self, identity: RelayId | bytes) -> RelayRow | None:
        """A relay of the current consensus."""
        return self._by_id.get(identity)

    def any_relay(self, identity: RelayId | bytes) -> RelayRow | None:
        """A relay of the current consensus, or else of the previous one."""
        return self._by_id.get(identity) or self._previous_by_id.get(identity)

    def with_flag(self, flag: int) -> tuple[RelayRow, ...]:
        """The current relays that have this flag bit, sorted by identity."""
        return tuple(row for row in self.consensus.relays if row.flags & flag)

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
        return tuple(r for r in self.consensus.relays if r.flags & RING and r.first_seen <= latest)

    def same_group(self, a: RelayRow, b: RelayRow) -> bool:
        """Whether two relays must not share a path: same relay, same family, or same subnet (SPEC 6).

        Two relays are a family only if each names the other. Otherwise anyone could claim any relay.
        """
        if a.identity == b.identity:
            return True
        if a.family and a.identity in b.family and b.identity in a.family:
            return True
        return bool(self.params.subnet_rule) and self._subnet(a.host) == self._subnet(b.host)

    def _subnet(self, host: str) -> bytes:
        """The /16 of an IPv4 address or the /32 of an IPv6 address. Other text is its own subnet."""
        subnet = self._subnets.get(host)
        if subnet is None:
            subnet = self._subnets[host] = subnet_of(host)
        return subnet


def subnet_of(host: str) -> bytes:
    """The bytes that all hosts of one subnet share: IPv4 /16, IPv6 /32."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host.encode()
    bits = _IPV4_PREFIX_BITS if address.version == 4 else _IPV6_PREFIX_BITS
    return bytes((address.version,)) + address.packed[: bits // 8]
