"""One PUT: leaves one item at one relay, or erases it there (SPEC 14).

Each PUT goes over a circuit of its own with three relays between and a pinned second hop, because whoever
knows the mailbox knows which relays keep it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from onionshh import geometry as g
from onionshh.client.context import Context
from onionshh.crypto.identity import SigningKey
from onionshh.wire.consensus import RelayRow
from onionshh.wire.mailbox import Kept, Mailbox


@dataclass(frozen=True, slots=True)
class Deposit:
    """What one PUT says. `seed`: that of the item's one-time key. An empty value erases the item."""

    mailbox: Mailbox
    seed: bytes = field(repr=False)
    expires: int
    value: bytes = field(repr=False)
    nonce: bytes = field(default=bytes(g.PROOF_NONCE), repr=False)
    effort: int = 0
    revision: int = 0

    @property
    def item_id(self) -> bytes:
        """The public key of its one-time key."""
        return SigningKey(self.seed).public

    @property
    def erased(self) -> Deposit:
        """The next revision, which erases the item and needs no proof."""
        return replace(self, value=b"", nonce=bytes(g.PROOF_NONCE), effort=0, revision=self.revision + 1)


async def deposit(context: Context, put: Deposit, row: RelayRow) -> Kept:
    """Send one PUT to one relay and wait for its answer. Raises CircuitFailed, also when the relay answers
    what no relay may, and NetworkUnreachable."""
    raise NotImplementedError


async def recall(context: Context, put: Deposit, row: RelayRow) -> Kept:
    """Erase at one relay what this deposit left there. Raises as `deposit`."""
    return await deposit(context, put.erased, row)
