"""One PUT: leaves one item at one relay, or erases it there (SPEC 14).

Each PUT goes over a circuit of its own with three relays between and a pinned second hop, because whoever
knows the mailbox knows which relays keep it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.core.base.patience import PUT_ANSWER_SECONDS, PUT_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.mailbox.item import make_put
from onionshh.core.mailbox.work import NO_PROOF
from onionshh.crypto.identity import SigningKey
from onionshh.errors import ProtocolError
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from onionshh.wire.mailbox import Kept, Mailbox

CIRCUITS_MOST: Final = 3
"""For one PUT. It is tried again later anyway."""


@dataclass(frozen=True, slots=True)
class Deposit:
    """What one PUT says. `seed`: that of the item's one-time key. An empty value erases the item."""

    mailbox: Mailbox
    seed: bytes = field(repr=False)
    expires: int
    value: bytes = field(repr=False)
    nonce: bytes = field(default=NO_PROOF, repr=False)
    effort: int = 0
    revision: int = 0

    @property
    def item_id(self) -> bytes:
        """The public key of its one-time key."""
        return SigningKey(self.seed).public

    @property
    def erased(self) -> Deposit:
        """The next revision, which erases the item and needs no proof."""
        return replace(self, value=b"", nonce=NO_PROOF, effort=0, revision=self.revision + 1)


async def deposit(context: Context, put: Deposit, row: RelayRow) -> Kept:
    """Send one PUT to one relay and wait for its answer. Raises CircuitFailed, also when there is no answer
    in time or one that no relay may give, and NetworkUnreachable."""
    message = make_put(
        SigningKey(put.seed),
        put.mailbox,
        expires=put.expires,
        revision=put.revision,
        value=put.value,
        effort=put.effort,
        nonce=put.nonce,
    ).encode()
    async with context.shared.mailbox_turns:
        with trio.move_on_after(PUT_SECONDS):  # offline, a circuit would be waited for without end
            circuit = await context.pool.to(Purpose.MAILBOX, row, tries=CIRCUITS_MOST)
            try:
                return Kept.decode_untrusted(await circuit.ask(m.PUT, message, m.KEPT, PUT_ANSWER_SECONDS))
            except ProtocolError as error:
                context.drops.count(error.reason)
                raise CircuitFailed(error.reason) from error
            finally:
                circuit.close(Reason.FINISHED)
    raise CircuitFailed(Reason.ANSWER_TIMEOUT)


async def recall(context: Context, put: Deposit, row: RelayRow) -> Kept:
    """Erase at one relay what this deposit left there. Raises as `deposit`."""
    return await deposit(context, put.erased, row)
