"""A conversation that pauses, and what is needed to go on with it by hand."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio

from onionshh import testing
from onionshh.client.contact import Contact
from onionshh.client.context import Context
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.client.session.keeper import SessionKeeper
from onionshh.client.session.resuming import Door, MeetingTerms
from onionshh.core.circuit.purpose import meeting_kind
from onionshh.core.delivery.record import Record, new_whisper
from onionshh.core.session.session import Session
from onionshh.ids import AuthKey, RelayId
from onionshh.testing import RunningRelay
from tests.client.hostile import by_id
from tests.client.world import PATIENCE_SECONDS, QUIET, hosted, small
from tests.inside import behind, inside, parts

IDLE_SECONDS = 65.0
TERMS = MeetingTerms(1, meeting_kind(2, 1, of_session=True))
STANDING = {"ready", "consensus", "stub"}


@dataclass
class Paused:
    """Both sides know the session, and no circuit of it is left. `got`: what the endpoint's program had."""

    net: testing.Network
    host: Node
    endpoint: Endpoint
    visitor: Node
    contact: Contact
    got: Counter[bytes] = field(default_factory=Counter)

    @property
    def context(self) -> Context:
        return inside(self.visitor)

    @property
    def keeper(self) -> SessionKeeper:
        sessions = behind(self.contact).sessions
        assert sessions is not None
        return sessions.keeper

    @property
    def session(self) -> Session:
        sessions = behind(self.contact).sessions
        assert sessions is not None
        assert sessions.current is not None
        return sessions.current

    @property
    def door(self) -> Door:
        entry = parts(self.endpoint).introducers.entries[0]
        return Door(RelayId(entry.relay_id), AuthKey(entry.auth_key))

    @property
    def doorkeeper(self) -> RunningRelay:
        """The relay of the door."""
        return by_id(self.net, self.door.relay.hex())

    def record(self, body: bytes) -> Record:
        context = self.context
        return new_whisper(
            body, expires=context.clock.wall() + 600, privacy_class=1, random_bytes=context.chance.bytes
        )

    def held(self) -> Counter[str]:
        """The visitor's circuits that belong to somebody, by purpose."""
        return Counter(one.purpose for one in self.visitor.circuits() if one.purpose not in STANDING)

    async def read(self) -> None:
        async for whisper in self.endpoint:
            self.got[whisper.body] += 1


@asynccontextmanager
async def paused(*, way_back: bool = False, name: str | None = None) -> AsyncIterator[Paused]:
    async with (
        small(7, **QUIET) as net,
        hosted(net) as (host, endpoint),
        net.join("visitor") as visitor,
        visitor.contact(endpoint.address, way_back=way_back, name=name) as contact,
        trio.open_nursery() as nursery,
    ):
        made = Paused(net, host, endpoint, visitor, contact)
        nursery.start_soon(made.read)
        with trio.fail_after(PATIENCE_SECONDS):
            await contact.whisper(b"hello")
        await trio.sleep(IDLE_SECONDS)
        yield made
        nursery.cancel_scope.cancel()
