"""How many circuits a client may make, per link and per address, and how many echoes a circuit gets
(SPEC 17). A client is any peer that has not proved to be a relay."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final
from weakref import WeakKeyDictionary

from onionshh.core.base.buckets import Buckets, TokenBucket
from onionshh.core.base.classes import FLASH, TALK
from onionshh.core.base.params import Params
from onionshh.core.circuit.circuit import ROUND_CELLS, SETUP_ROUNDS
from onionshh.core.link.port import LinkPort

ADDRESSES_MOST = 4096

SETUP_ECHOES: Final = SETUP_ROUNDS * ROUND_CELLS
ECHOES: Final = MappingProxyType({FLASH.number: SETUP_ECHOES, TALK.number: SETUP_ECHOES})
"""How many echoes a relay gives on one circuit, by the number of the circuit's class: as many as set-up
needs. A class with cover traffic will need more. A class that this version does not know gets no more than
the others."""


def echoes_of(privacy_class: int) -> int:
    """How many echoes a circuit gets, by the class that its handshake said (SPEC 4)."""
    return ECHOES.get(privacy_class, SETUP_ECHOES)


class CreateLimits:
    """Token buckets by link and by address. A rate of 0 means no limit."""

    def __init__(self) -> None:
        self._by_link: WeakKeyDictionary[LinkPort, TokenBucket] = WeakKeyDictionary()
        self._by_address: Buckets[str] | None = None

    def allow(self, port: LinkPort, params: Params, now: float) -> bool:
        """Take one CREATE from both buckets; False when either is empty."""
        link = self._by_link.get(port)
        if link is None:
            link = self._by_link[port] = TokenBucket(params.create_rate, params.create_burst)
        if self._by_address is None:
            self._by_address = Buckets(params.create_ip_rate, params.create_burst, ADDRESSES_MOST)
        # A later consensus may have other numbers.
        link.rate, link.burst = params.create_rate, params.create_burst
        self._by_address.rate, self._by_address.burst = params.create_ip_rate, params.create_burst
        return link.take(now) and self._by_address.take(port.host, now)
