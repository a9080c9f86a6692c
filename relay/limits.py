"""How many circuits those who are no relay may make: per link and per address (SPEC 17)."""

from __future__ import annotations

from weakref import WeakKeyDictionary

from onionshh.core.buckets import Buckets, TokenBucket
from onionshh.core.params import Params
from onionshh.core.sink import LinkPort

ADDRESSES_MOST = 4096


class CreateLimits:
    """Token buckets by link and by address. A rate of 0 is off."""

    def __init__(self) -> None:
        self._by_link: WeakKeyDictionary[LinkPort, TokenBucket] = WeakKeyDictionary()
        self._by_address: Buckets[str] | None = None

    def allow(self, port: LinkPort, params: Params, now: float) -> bool:
        """Take one CREATE from both buckets."""
        link = self._by_link.get(port)
        if link is None:
            link = self._by_link[port] = TokenBucket(params.create_rate, params.create_burst)
        if self._by_address is None:
            self._by_address = Buckets(params.create_ip_rate, params.create_burst, ADDRESSES_MOST)
        # A later consensus may have other numbers.
        link.rate, link.burst = params.create_rate, params.create_burst
        self._by_address.rate, self._by_address.burst = params.create_ip_rate, params.create_burst
        return link.take(now) and self._by_address.take(port.host, now)
