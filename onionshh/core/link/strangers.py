"""Links that others opened, by address: how many an address may have, and how fast it may open them.

`core/base/addresses.py` defines what counts as one address, for example an IPv6 /64. When no more links can
be accepted, the address with the most links loses one.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

from onionshh.core.base.addresses import host_group
from onionshh.core.base.buckets import Buckets
from onionshh.core.base.holders import Holders
from onionshh.core.base.params import Params
from onionshh.reasons import Reason

T = TypeVar("T")

ADDRESSES_MOST = 4096
LOOKED_AT_MOST = 128
"""How many links are compared to find the idlest one when room is needed."""


class Strangers(Generic[T]):
    """Link objects by host (text without a port). `params` returns the present limits."""

    def __init__(self, params: Callable[[], Params]) -> None:
        self._params = params
        self._links: Holders[T] = Holders()
        self._rates: Buckets[str] | None = None
        self.addresses = 0
        """How many addresses have links here."""

    def refusal(self, host: str, now: float) -> Reason | None:
        """Why one more link from this host is refused; None if it is accepted."""
        params = self._params()
        rates = self._rates
        if rates is None:
            rates = self._rates = Buckets(params.link_rate, params.link_burst, ADDRESSES_MOST)
        rates.rate, rates.burst = params.link_rate, params.link_burst
        address = host_group(host)
        if params.links_per_ip and self._links.count(address) >= params.links_per_ip:
            return Reason.LINKS_PER_ADDRESS
        return None if rates.take(address, now) else Reason.LINK_RATE

    def add(self, host: str, link: T) -> None:
        """The link was accepted."""
        address = host_group(host)
        self.addresses += not self._links.count(address)
        self._links.add(address, link)

    def remove(self, host: str, link: T) -> None:
        """The link has ended. KeyError if it was never added."""
        address = host_group(host)
        self._links.remove(address, link)
        self.addresses -= not self._links.count(address)

    def of_the_largest(self) -> Iterable[T]:
        """Links of the largest holder, at most `LOOKED_AT_MOST`, to find the idlest among them."""
        return itertools.islice(self._links.of_the_largest(), LOOKED_AT_MOST)
