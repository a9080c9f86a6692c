"""At which addresses a relay is asked: its own first, others only once it answered there (SPEC 8). Pure.

A descriptor may name any public address, and so may name a stranger's machine. What shows that an address is
the relay's own is that its descriptor came from there, or that somebody proved its keys there. Each interval
every relay is asked at its own addresses. After that, those that answered are asked at their other addresses,
so that nobody without a relay at work can have a stranger's machine knocked at. A host of which nothing shows
whose it is gets one such knock per interval, whoever names it, on whatever port. All that name it take turns.

The disk does not say where a descriptor came from. So after a restart a relay that is not listed has no
address of its own until it publishes again. It is asked at its first address as if that were a stranger's. An
onion service counts as its own if a relay has nothing else: whoever has tor can knock there without us.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from math import inf

from onionshh.core.base.addresses import host_group
from onionshh.core.base.params import Params
from onionshh.directory.entry import Entry
from onionshh.ids import RelayId
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


class Waiting:
    """Who waits to be asked at which host. A relay waits since it named the host, or was last asked there.
    Whoever has waited longest goes first. So before a relay's turn each that waited before goes once at most,
    whatever it names from then on. Kept is only what known relays name now. After a restart all wait anew.
    """

    def __init__(self) -> None:
        self._since: dict[tuple[str, RelayId], int] = {}
        """By host and relay, from which turn on it waits."""
        self._turn = 0

    def __len__(self) -> int:
        return len(self._since)

    def next(self, entries: Collection[Entry], params: Params) -> tuple[RelayDescriptor, ...]:
        """It is the next turn: the relays to ask at addresses that are not their own, each with these
        addresses, one for each host. `entries`: all relays that may be asked at all."""
        self._turn += 1
        self._keep(entries)
        claims: dict[str, list[tuple[Entry, Address]]] = {}
        for entry in entries:
            for address in _others(entry, params):
                host = host_group(address.host)
                claims.setdefault(host, []).append((entry, address))
                self._since.setdefault((host, entry.newest.identity), self._turn)
        asked: dict[RelayId, tuple[RelayDescriptor, list[Address]]] = {}
        for host, claimants in claims.items():
            entry, address = min(claimants, key=lambda claim: self._order(host, *claim))
            self._since[host, entry.newest.identity] = self._turn + 1
            asked.setdefault(entry.newest.identity, (entry.newest, []))[1].append(address)
        return tuple(
            replace(newest, addresses=tuple(sorted(addresses))) for newest, addresses in asked.values()
        )

    def _keep(self, entries: Collection[Entry]) -> None:
        """Forget those that name the host no longer. One that only misses a check keeps its place."""
        named = {
            (host_group(address.host), entry.newest.identity)
            for entry in entries
            for address in entry.newest.addresses
        }
        self._since = {claim: since for claim, since in self._since.items() if claim in named}

    def _order(self, host: str, entry: Entry, address: Address) -> tuple[int, float, RelayId, Address]:
        """Of those that wait equally long, the one first that has been listed for longest."""
        identity = entry.newest.identity
        return self._since[host, identity], entry.first_seen or inf, identity, address


def _others(entry: Entry, params: Params) -> Sequence[Address]:
    """Where it may be asked besides its own addresses."""
    ours = own(entry, params)
    if not ours:
        return entry.newest.addresses[:1]
    if entry.checked is None or not entry.answered:
        return ()
    return [address for address in entry.newest.addresses if address not in ours]
