"""Descriptors a node has fetched, shared by its contacts: who is met again is not asked for again (SPEC 10).

This links nothing on the network: a ring relay is asked less, and an introducer is told no more than before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from onionshh.client.finder import Found, find

if TYPE_CHECKING:
    from onionshh.client.context import Context

KNOWN_MOST = 256


class Known:
    """Descriptors by the address's key, the least lately fetched going first."""

    def __init__(self) -> None:
        self._found: dict[bytes, Found] = {}

    async def find(self, context: Context, address_key: bytes) -> Found:
        """The one at hand while it is good, else from the ring. Raises as `finder.find`."""
        held = self._found.get(address_key)
        periods = (context.view.period - 1, context.view.period)
        if held is not None and held.period in periods and context.clock.wall() < held.descriptor.expiry:
            return held
        found = await find(context, address_key)
        self.forget(address_key)
        self._found[address_key] = found
        if len(self._found) > KNOWN_MOST:
            del self._found[next(iter(self._found))]
        return found

    def forget(self, address_key: bytes) -> None:
        """It led nowhere: the next one is fetched."""
        self._found.pop(address_key, None)
