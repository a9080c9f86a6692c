"""Follows one whisper of `onionshh whisper`: until it is delivered, stored, or given up."""

from __future__ import annotations

from math import inf
from typing import Final

import trio

from onionshh.cli.ending import when_ended
from onionshh.cli.storing import Patience, waits_for_copies
from onionshh.cli.teller import Teller
from onionshh.client.contact import Contact
from onionshh.client.node import Node
from onionshh.client.receipt import Receipt

OFFLINE: Final = "no guard answers: this machine's network is down, or the network's relays are"
INTERRUPTED: Final = "interrupted before a receipt came"
UNKEPT: Final = "interrupted before enough relays kept it"
REPLY_SOON_SECONDS: Final = 1.0
REPLY_LATE_SECONDS: Final = 5.0
"""How long a reply is waited for when the receipt came after `--wait`, while the whisper was being stored."""
IN_THE_WAY_SECONDS: Final = 5.0
LOOK_SECONDS: Final = 0.5


async def see_it_through(
    receipt: Receipt, contact: Contact, node: Node, wait: float, teller: Teller, usual: int = 0
) -> int:
    """Wait until the whisper is delivered or stored, then for a reply to what was delivered, and tell the
    teller. If a signal ends the waiting, that is told. `usual`: as in `Patience`. Returns the exit status."""
    patience = Patience(trio.current_time() + (wait or inf), usual)
    try:
        await _until_there(receipt, contact, patience, teller)
        if receipt.is_final and receipt.status in ("delivered", "sent"):
            when_ended(0)
            if wait:
                await _reply(receipt, wait, patience.end, teller)
    except trio.Cancelled:  # a signal
        why = UNKEPT if usual and receipt.proof_tries and not receipt.is_final else _why(receipt, contact)
        teller.tell(receipt, why or INTERRUPTED, interrupted=True)
        raise
    why = offline(node) or _why(receipt, contact)
    return teller.tell(receipt, why or f"no receipt came within {wait:g} s")


def offline(node: Node) -> str:
    """Why nothing leaves this machine; empty if a guard answers."""
    return "" if node.online else node.trouble or OFFLINE


def _why(receipt: Receipt, contact: Contact) -> str:
    """What is in the way, or why it ended."""
    return receipt.why if receipt.is_final else receipt.why_not_stored or receipt.why or contact.problem


async def _until_there(receipt: Receipt, contact: Contact, patience: Patience, teller: Teller) -> None:
    """Wait until the receipt is final, or the whisper is stored, or the patience is over. Say meanwhile what
    is in the way, and how far it is."""
    said = ""
    look_at = trio.current_time() + IN_THE_WAY_SECONDS
    while not receipt.is_final or waits_for_copies(receipt):
        now = trio.current_time()
        if receipt.status == "stored" or receipt.is_final:
            when_ended(0)
        elif now >= look_at:
            look_at = now + IN_THE_WAY_SECONDS
            if contact.problem != said:
                said = contact.problem
                if said:
                    teller.meanwhile(f"{said}; trying on.")
        teller.storing(receipt, patience.usual)
        until = patience.until(receipt, now)
        if until <= now:
            return
        with trio.move_on_at(min(until, look_at) if look_at > now else until):
            await (trio.sleep(LOOK_SECONDS) if receipt.is_final else receipt.changed())


async def _reply(receipt: Receipt, wait: float, end: float, teller: Teller) -> None:
    """Wait for the reply. If it does not come at once, say so, so that nobody thinks that nothing happens."""
    now = trio.current_time()
    with trio.move_on_at(end if now < end else now + REPLY_LATE_SECONDS):
        with trio.move_on_after(REPLY_SOON_SECONDS):
            await receipt.reply()
            return
        teller.meanwhile(f"{receipt.status}; waiting for a reply, {wait:g} s in all.")
        await receipt.reply()
