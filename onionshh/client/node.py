"""A node: one membership in a network, under which endpoints are hosted and contacts made.

This is what a program sees of it; `assemble.py` puts together what works behind it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from onionshh.client.assemble import assembled
from onionshh.client.contact import Contact
from onionshh.client.context import Context
from onionshh.client.identities import Identity
from onionshh.client.one_machine import find_network
from onionshh.core.base.classes import INTRODUCTION_HOPS, check_hops, privacy_class, reveals
from onionshh.crypto.identity import IdentityKeys, decode_address_untrusted, encode_address
from onionshh.errors import WrongLoop
from onionshh.ids import RelayId
from onionshh.net.authority_client import HttpSource
from onionshh.net.clocks import Clock
from onionshh.net.memory_folder import InMemory
from onionshh.net.network_file import read_network_file
from onionshh.net.store import DataDirectory
from onionshh.net.tcp import TcpDialer

if TYPE_CHECKING:
    from onionshh.client.endpoint import Endpoint

INTRODUCERS_DEFAULT = 6
INTRODUCERS_MOST = 20


@dataclass(frozen=True, slots=True)
class CircuitInfo:
    """One circuit, for debugging. `path`: the relays' nicknames, first hop first; `age_seconds` since its
    CREATE."""

    purpose: str
    path: tuple[str, ...]
    relays: tuple[str, ...]
    """The relays' identities, hex, in the same order."""
    age_seconds: float
    reveals: str
    """What this path shows to whom, in a sentence (SPEC 1)."""


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """`guards_up`: guards to which a link is open; `relays` of the consensus in hand, and its age, None
    without one; `circuits` of all kinds; `drops` by reason."""

    online: bool
    guards_up: int
    relays: int
    consensus_age_seconds: int | None
    circuits: int
    drops: dict[str, int]


class Node:
    """Made by `join`. Hosts any number of endpoints and makes any number of contacts."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def host(
        self,
        identity: IdentityKeys | Path | str,
        *,
        introducers: int = INTRODUCERS_DEFAULT,
        give_up_after: int | None = None,
    ) -> Endpoint:
        """An endpoint to be entered with `async with`. `identity`: an `Identity`, or the path of its file,
        created if absent. `introducers`: how many are wanted, 1 to 20. `give_up_after`: a whisper that was
        shown so often and never finished is set aside, for `Endpoint.given_up`; None: it is shown again each
        time.

        Raises BadData; on entering DataInUse when it is hosted already from this data folder.
        """
        if not 1 <= introducers <= INTRODUCERS_MOST:
            raise ValueError(f"introducers must be from 1 to {INTRODUCERS_MOST}, not {introducers}.")
        if give_up_after is not None and give_up_after < 1:
            raise ValueError(f"give_up_after must be 1 or more, not {give_up_after}.")
        self._context.check_open()
        if not isinstance(identity, IdentityKeys):
            identity = Identity.load_or_create(identity, self._context.chance.bytes)
        # Whoever only visits needs neither a database nor the rest of what hosting takes.
        from onionshh.client.endpoint import Endpoint

        return Endpoint(self._context, identity, introducers, give_up_after)

    def contact(
        self, address: str, *, privacy: str = "talk", hops: int | None = None, background: bool = False
    ) -> Contact:
        """A contact to be entered with `async with`. `privacy`: flash or talk (SPEC 16). `hops`: relays
        between us and the rendezvous point, 0 to 3; None lets the class draw. With 0 that relay sees our
        address, with 1 our guard sees which relay it is. `background`: much is sent and nobody waits for it;
        it leaves room on the way for what other contacts say, always, so that its pace tells nothing of them.

        Raises BadAddress, ValueError.
        """
        self._context.check_open()
        key = decode_address_untrusted(address)
        return Contact(
            self._context,
            encode_address(key),
            key,
            privacy_class(privacy),
            check_hops(hops),
            background=background,
        )

    def circuits(self) -> list[CircuitInfo]:
        """Every circuit of this node, oldest first."""
        circuits = sorted(self._context.circuits.circuits, key=lambda circuit: circuit.made_at)
        return [
            CircuitInfo(
                circuit.purpose,
                tuple(row.nickname for row in circuit.path),
                tuple(row.identity.hex() for row in circuit.path),
                round(circuit.age_seconds, 3),
                reveals(len(circuit.path) - 1),
            )
            for circuit in circuits
        ]

    @property
    def online(self) -> bool:
        """Whether a guard answers; without one nothing of ours reaches the network (SPEC 6)."""
        return self._context.builder.online

    def status(self) -> NodeStatus:
        """Numbers of this moment."""
        context = self._context
        view = context.keeper.view
        age = None if view is None else max(0, context.clock.best() - view.consensus.valid_after)
        return NodeStatus(
            online=self.online,
            guards_up=context.builder.guards_up,
            relays=0 if view is None else len(view.relays),
            consensus_age_seconds=age,
            circuits=len(context.circuits.circuits),
            drops=self.drops(),
        )

    def drops(self) -> dict[str, int]:
        """What this node dropped or refused so far, by reason."""
        return dict(self._context.drops.counts)


@asynccontextmanager
async def join(
    network: str | Path | None = None,
    *,
    data_dir: str | Path | None,
    wait_seconds: float = 0.0,
    bind: str | None = None,
    own_relays: Iterable[str] = (),
    introduction_hops: int = INTRODUCTION_HOPS,
) -> AsyncIterator[Node]:
    """Join a network. `network`: path of its network file; by itself that of ONIONSHH_NETWORK, else of the
    network that `onionshh network` runs on this machine. `data_dir`: folder for guards, the consensus and
    endpoints, shared by any number of nodes. None: all of it in memory, nothing on disk; then each start
    draws other guards, which over time shows more of you than keeping them does, and what an endpoint
    acknowledged and did not finish is gone when it closes. `wait_seconds`: how long to try again while no
    directory answers or the clocks differ. `bind`: local IP address of every outgoing connection.
    `own_relays`: identities (hex) of relays that you run, which are then never on a path.
    `introduction_hops`: relays between us and an introducer or ring relay, 0 to 3, for those who know why:
    with 1 our guard learns whom we ask, with 0 whom we ask learns our address.

    Raises BadNetworkFile, NoDirectory, ClockWrong, BadData, ValueError; WrongLoop outside trio.
    """
    try:
        trio.lowlevel.current_task()
    except RuntimeError:
        raise WrongLoop(
            "onionshh runs under trio, and this is another event loop or none: use trio.run(main)."
        ) from None
    async with assembled(
        read_network_file(find_network() if network is None else network),
        folder=InMemory() if data_dir is None else DataDirectory(data_dir),
        wait_seconds=wait_seconds,
        source=HttpSource(bind),
        dialer=TcpDialer(bind),
        clock=Clock(),
        own_relays=frozenset(RelayId(bytes.fromhex(relay)) for relay in own_relays),
        introduction_hops=introduction_hops,
    ) as context:
        yield Node(context)
