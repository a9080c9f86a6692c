"""Deposits and lists by hand, over real circuits to one relay: for tests of whole networks and benchmarks."""

from __future__ import annotations

import os

from onionshh.client.context import Context
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.mailbox.item import ItemKey, make_list, make_put
from onionshh.core.mailbox.work import NO_PROOF, Search, put_task
from onionshh.crypto.identity import SigningKey
from onionshh.ids import RandomBytes
from onionshh.net.circuits import Circuit
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from onionshh.wire.consensus import RelayRow

ANSWER_SECONDS = 60.0


def deposit(
    context: Context,
    mailbox: w.Mailbox,
    value: bytes,
    *,
    effort: int,
    expires: int,
    key: ItemKey | None = None,
    random_bytes: RandomBytes = os.urandom,
) -> w.Put:
    """A signed PUT with a proof of this effort. `expires`: Unix seconds."""
    key = key or ItemKey.generate(random_bytes)
    shared = context.view.shared_random(mailbox.period)
    if shared is None:
        raise LookupError("no random value for this period")
    nonce = NO_PROOF
    if effort:
        search = Search(put_task(shared, mailbox, key.public, expires, value), effort, random_bytes)
        while not search.look(1000):
            pass
        nonce = search.nonce
    return make_put(key, mailbox, expires=expires, revision=0, value=value, effort=effort, nonce=nonce)


async def circuit_to(context: Context, row: RelayRow) -> Circuit:
    """A circuit that takes the answers of mailboxes."""
    circuit = await context.builder.build(Purpose.INTRODUCE, last=row.identity)
    circuit.accept(m.KEPT, m.ITEMS)
    return circuit


async def put(circuit: Circuit, deposit: w.Put) -> w.Kept:
    """One PUT on a circuit to its relay."""
    body = await circuit.ask(m.PUT, deposit.encode(), m.KEPT, ANSWER_SECONDS)
    return w.Kept.decode_untrusted(body)


async def put_once(context: Context, row: RelayRow, deposit: w.Put) -> w.Kept:
    """One PUT over a circuit of its own."""
    circuit = await circuit_to(context, row)
    try:
        return await put(circuit, deposit)
    finally:
        circuit.close(Reason.FINISHED)


async def ask(
    circuit: Circuit,
    row: RelayRow,
    mailbox: w.Mailbox,
    owner: SigningKey,
    *,
    mode: int = w.HEADS,
    after: int = 0,
    wait: int = 0,
) -> w.Items:
    """One LIST on a circuit to its relay, whose row this is."""
    asked = make_list(
        mailbox,
        mode=mode,
        after=after,
        wait=wait,
        binding=circuit.binding,
        relay_id=row.identity,
        sign=owner.sign,
    )
    body = await circuit.ask(m.LIST, asked.encode(), m.ITEMS, wait + ANSWER_SECONDS)
    return w.Items.decode_untrusted(body, mode)


async def ask_once(
    context: Context,
    row: RelayRow,
    mailbox: w.Mailbox,
    owner: SigningKey,
    *,
    mode: int = w.HEADS,
    after: int = 0,
    wait: int = 0,
) -> w.Items:
    """One LIST over a circuit of its own."""
    circuit = await circuit_to(context, row)
    try:
        return await ask(circuit, row, mailbox, owner, mode=mode, after=after, wait=wait)
    finally:
        circuit.close(Reason.FINISHED)
