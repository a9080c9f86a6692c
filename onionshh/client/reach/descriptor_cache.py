"""Descriptors that a node fetched, shared by its contacts: nobody is looked up twice in a row (SPEC 10).

This links nothing on the network: a ring relay is asked less, and an introducer is told no more than before.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onionshh.wire.endpoint import EndpointDescriptor

DESCRIPTORS_MOST = 256


@dataclass(frozen=True, slots=True)
class CheckedDescriptor:
    """A descriptor that was checked, and under which period it holds."""

    descriptor: EndpointDescriptor
    period: int
    subcredential: bytes = field(repr=False)


class DescriptorCache:
    """Descriptors by the address's key, the least lately fetched going first."""

    def __init__(self) -> None:
        self._found: dict[bytes, CheckedDescriptor] = {}

    def __len__(self) -> int:
        return len(self._found)

    def get(self, address_key: bytes, period: int, earliest: int) -> CheckedDescriptor | None:
        """The one at hand, while it is of this period or the one before and has not expired."""
        held = self._found.get(address_key)
        if held is None or held.period not in (period - 1, period) or earliest >= held.descriptor.expiry:
            return None
        return held

    def keep(self, address_key: bytes, found: CheckedDescriptor) -> None:
        """One that was just fetched."""
        self.forget(address_key)
        self._found[address_key] = found
        if len(self._found) > DESCRIPTORS_MOST:
            del self._found[next(iter(self._found))]

    def forget(self, address_key: bytes) -> None:
        """It led nowhere: the next one is fetched."""
        self._found.pop(address_key, None)
