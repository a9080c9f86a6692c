"""Descriptors that a node fetched, shared by its contacts: no address is looked up twice in a row (SPEC 10).

This links nothing on the network: ring relays are asked less often, and introducers learn no more.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onionshh.wire.endpoint import EndpointDescriptor

DESCRIPTORS_MOST = 256


@dataclass(frozen=True, slots=True)
class CheckedDescriptor:
    """A descriptor that was checked, and the period it is for."""

    descriptor: EndpointDescriptor
    period: int
    subcredential: bytes = field(repr=False)

    def overdue(self, earliest: int) -> bool:
        """Whether its introducers have expired at this time (Unix seconds). The endpoint is away: it had them
        published again otherwise. It may still take letters."""
        return earliest >= self.descriptor.expiry


class DescriptorCache:
    """Descriptors by their address's key. The one fetched longest ago is dropped first."""

    def __init__(self) -> None:
        self._found: dict[bytes, CheckedDescriptor] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, address_key: bytes, period: int, earliest: int) -> CheckedDescriptor | None:
        """The stored descriptor, if it is of this period or the one before and is not overdue."""
        held = self._found.get(address_key)
        if held is None or held.period not in (period - 1, period) or held.overdue(earliest):
            return None
        return held

    def keep(self, address_key: bytes, found: CheckedDescriptor) -> None:
        """Store a descriptor that was just fetched."""
        self.forget(address_key)
        self._found[address_key] = found
        if len(self._found) > DESCRIPTORS_MOST:
            del self._found[next(iter(self._found))]

    def forget(self, address_key: bytes) -> None:
        """This descriptor led nowhere: fetch a new one next time."""
        self._found.pop(address_key, None)
