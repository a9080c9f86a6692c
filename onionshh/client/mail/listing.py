"""One LIST: asks one relay for a page of a mailbox, over a circuit of its own (SPEC 14)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import trio

from onionshh.client.context import Context
from onionshh.core.base.patience import CIRCUIT_SECONDS, LIST_ANSWER_SECONDS
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.mailbox.item import make_list
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow
from onionshh.wire.mailbox import Items, Mailbox

CIRCUITS_MOST: Final = 3

Sign = Callable[[bytes], bytes]
"""Signs with the mailbox's own key."""


async def circuit_to(context: Context, row: RelayRow) -> Circuit:
    """A circuit to a relay that keeps a mailbox. CircuitFailed, NetworkUnreachable."""
    with trio.move_on_after(CIRCUIT_SECONDS):  # offline, a circuit would be waited for without end
        return await context.pool.to(Purpose.MAILBOX, row, tries=CIRCUITS_MOST)
    raise CircuitFailed(Reason.HOP_TIMEOUT)


async def ask_page(
    circuit: Circuit, row: RelayRow, mailbox: Mailbox, sign: Sign, *, mode: int, after: int, wait: int = 0
) -> Items:
    """One page of what lies beyond `after`. `wait`: how many seconds the relay may wait for something to
    come. CircuitFailed, also when the relay gives none; ProtocolError."""
    message = make_list(
        mailbox,
        mode=mode,
        after=after,
        wait=wait,
        binding=circuit.binding,
        relay_id=row.identity,
        sign=sign,
    )
    body = await circuit.ask(m.LIST, message.encode(), m.ITEMS, wait + LIST_ANSWER_SECONDS)
    page = Items.decode_untrusted(body, mode)
    if page.status != w.STORED:
        raise CircuitFailed(Reason.MAILBOX_UNREAD)
    return page
