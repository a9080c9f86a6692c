"""At which addresses a relay is asked: its own first, others only once it answered there (SPEC 8). Pure.

A descriptor may name any public address, and so may name a stranger's machine. What shows that an address is
the relay's own is that its descriptor came from there, or that somebody proved its keys there. Each interval
every relay is asked at its own addresses. After that, those that answered are asked at their other addresses,
so that nobody without a relay at work can have a stranger's machine knocked at. A host of which nothing shows
whose it is gets one such knock per interval, whoever names it, on whatever port.

The disk does not say where a descriptor came from. So after a restart a relay that is not listed has no
address of its own until it publishes again. It is asked at its first address as if that were a stranger's. An
onion service counts as its own if a relay has nothing else: whoever has tor can knock there without us.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from onionshh.core.base.addresses import host_group
from onionshh.core.base.params import Params
from onionshh.directory.entry import Entry
from onionshh.wire.descriptor import Address, RelayDescriptor, only_over_tor


def not_there(address: Address) -> str:
    """All that is told of an address that is not the relay's own, if it did not answer there. Who listens at
    a stranger's machine is nobody's business."""
    return f"it did not answer at {address}"


def home(addresses: Sequence[Address], source: str) -> Address | None:
    """The address that a descriptor came from. `source`: an IP address, in its one form."""
    return next((address for address in addresses if address.host == source), None)


def own(entry: Entry, params: Params) -> tuple[Address, ...]:
    """The addresses that are the relay's own: all of them, if the network does not ask for that."""
    addresses = entry.newest.addresses
    if not params.advertised_ip_rule or only_over_tor(addresses):
        return addresses
    proven = entry.checked.addresses if entry.checked is not None else ()
    return tuple(address for address in addresses if address == entry.home or address in proven)


def elsewhere(entries: Iterable[Entry], params: Params, turn: int) -> tuple[RelayDescriptor, ...]:
    """The relays to ask at addresses that are not their own, each with these addresses: one for each host.
    Those that name the same host take turns. `turn`: the number of this interval."""
    claims: dict[str, list[tuple[Entry, Address]]] = {}
    for entry in entries:
        for address in _others(entry, params):
            claims.setdefault(host_group(address.host), []).append((entry, address))
    asked: dict[bytes, tuple[RelayDescriptor, list[Address]]] = {}
    for claimants in claims.values():
        claimants.sort(key=lambda claim: (claim[0].newest.identity, claim[1]))
        entry, address = claimants[turn % len(claimants)]
        asked.setdefault(entry.newest.identity, (entry.newest, []))[1].append(address)
    return tuple(replace(newest, addresses=tuple(sorted(addresses))) for newest, addresses in asked.values())


def _others(entry: Entry, params: Params) -> Sequence[Address]:
    """Where it may be asked besides its own addresses."""
    ours = own(entry, params)
    if not ours:
        return entry.newest.addresses[:1]
    if entry.checked is None or not entry.answered:
        return ()
    return [address for address in entry.newest.addresses if address not in ours]
