"""Dials a relay at the addresses that it has, one after the other, until one answers.

Which come first depends on how we go out. Over C tor an onion service is better than an IP address: nothing
leaves tor on the way, and no exit has to allow the port. All others know nothing of onion services. Of the
others IPv4 comes first, as more machines have it. Each address but the last gets only its share of the time,
so that a dead one leaves time for the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import trio

from onionshh.net.tcp import ONLY_TOR
from onionshh.net.transport import Dialer, Stream, StreamBroken
from onionshh.wire.descriptor import ONION, Address


def in_turn(dialer: Dialer, addresses: Sequence[Address]) -> list[Address]:
    """The addresses that this dialer can try, the best one first."""
    onions = [address for address in addresses if address.kind == ONION]
    others = [address for address in addresses if address.kind != ONION]
    return [*onions, *others] if dialer.reaches_onions else others


async def dial_any(dialer: Dialer, addresses: Sequence[Address], seconds: float) -> Stream:
    """A stream to the first of the addresses that takes one. `seconds`: how long all of it may take, which
    the caller sees to. Raises StreamBroken with the reason of the last one."""
    turns = in_turn(dialer, addresses)
    why = StreamBroken(ONLY_TOR)
    for number, (host, port) in enumerate((address.host, address.port) for address in turns):
        last = number == len(turns) - 1
        with trio.move_on_after(float("inf") if last else seconds / (len(turns) + 1)):
            try:
                return await dialer.dial(host, port)
            except StreamBroken as error:
                why = error
                continue
        why = StreamBroken("it took too long")
    raise why
