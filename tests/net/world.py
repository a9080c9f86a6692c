"""Relays and clients on trio, each with its links, without a directory.

By default in memory and in virtual time; with `tcp=True` on loopback sockets. Whatever a test wants to be
wrong it does with its own streams (`Peer`).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

import trio
import trio.testing

from onionshh.core.base.chance import Chance
from onionshh.core.base.drops import Drops
from onionshh.core.base.params import ONE_MACHINE, Params
from onionshh.core.certificate import RelaySigner
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.link.link import Link, LinkClosed, LinkInitiator, LinkOpen, LinkResponder
from onionshh.core.link.outbox import Memory
from onionshh.core.roles import Role
from onionshh.crypto.identity import SigningKey
from onionshh.crypto.primitives import KeyPair
from onionshh.ids import RelayId
from onionshh.net.circuits import Circuit, CircuitSet
from onionshh.net.clocks import Clock
from onionshh.net.links import LinkSet
from onionshh.net.memory import MemoryNetwork
from onionshh.net.store import RunBlocking, run_inline
from onionshh.net.tcp import TcpDialer, TcpListener
from onionshh.net.throttle import Throttle
from onionshh.net.transport import Dialer, Listener, Stream, StreamBroken
from onionshh.relay.driver import SwitchDriver
from onionshh.relay.forward import Switch
from onionshh.wire.consensus import RelayRow
from simulations.world import Parrot
from tests.core.networks import row
from tests.seeded import seeded

WALL = 1_700_000_000


class Relay:
    """One relay: its row in the consensus, its switch, its links."""

    def __init__(self, world: World, number: int, roles: Iterable[Role]) -> None:
        self.world = world
        self.key = SigningKey(number.to_bytes(32, "big"))
        self.onion = KeyPair.generate(seeded(900 + number))
        self.identity = RelayId(self.key.public)
        host = "127.0.0.1" if world.tcp else f"10.{number}.0.1"
        self.listener: Listener = TcpListener(host, 0) if world.tcp else world.network.listen(host)
        self.row: RelayRow = row(
            number,
            identity=self.identity,
            onion_key=self.onion.public,
            host=host,
            port=self.listener.address[1],
        )
        self.memory = Memory(1 << 28)
        self.drops = Drops()
        self.clock = Clock(WALL)
        self.roles = tuple(roles)
        self.switch = Switch(
            identity=self.identity,
            onion_keys=lambda: [self.onion],
            knows=world.knows,
            params=lambda: world.params,
            roles=self.roles,
            memory=self.memory,
            drops=self.drops,
            random_bytes=seeded(number),
            wall=self.clock.wall,
        )
        self.driver = SwitchDriver(
            switch=self.switch,
            clock=self.clock,
            memory=self.memory,
            find=world.rows.get,
            run_blocking=world.run_blocking,
        )
        self.links = self.driver.links = LinkSet(
            dialer=world.dialer(host),
            clock=self.clock,
            sink=self.switch,
            params=lambda: world.params,
            chance=Chance(seeded(300 + number)),
            memory=self.memory,
            drops=self.drops,
            identity=lambda: RelaySigner.of(self.key),
            after_read=self.driver.after_read,
            on_tick=self.driver.tick,
            throttle=world.throttle,
        )

    @property
    def parrot(self) -> Parrot:
        (role,) = self.roles
        assert isinstance(role, Parrot)
        return role

    async def run(self) -> None:
        """Until cancelled."""
        async with self.links.running(), trio.open_nursery() as nursery:
            nursery.start_soon(self.driver.run)
            await self.links.serve(
                self.listener,
                identity=self.identity,
                onion_keys=lambda: [self.onion],
                is_relay=self.world.knows,
            )


class Client:
    """Links and circuits of someone who is no relay."""

    def __init__(self, world: World, host: str, seed: int) -> None:
        self.world = world
        self.host = host
        self.memory = Memory(1 << 28)
        self.drops = Drops()
        self.clock = Clock(WALL)
        self.circuits = CircuitSet(
            clock=self.clock,
            params=lambda: world.params,
            memory=self.memory,
            drops=self.drops,
            random_bytes=seeded(seed),
        )
        self.links = LinkSet(
            dialer=world.dialer(host),
            clock=self.clock,
            sink=self.circuits,
            params=lambda: world.params,
            chance=Chance(seeded(seed + 1)),
            memory=self.memory,
            drops=self.drops,
        )
        self.circuits.flush = self.links.flush

    async def build(self, *relays: Relay) -> Circuit:
        """A whole circuit, set-up padded."""
        port = await self.links.to(relays[0].row)
        circuit = self.circuits.start(port, Purpose.TEST, 1)
        for relay in relays:
            await circuit.add(relay.row)
        await circuit.pad()
        return circuit


class Valve(Throttle):
    """No ceiling until it is closed."""

    open = True

    def spend(self, count: int, now: float) -> float:
        return 0.0 if self.open else super().spend(count, now)


class World:
    """Everything of one test. Make relays before `running()` is entered, clients inside it."""

    def __init__(
        self,
        *,
        params: Params | None = None,
        tcp: bool = False,
        run_blocking: RunBlocking = run_inline,
        throttle: Throttle | None = None,
    ) -> None:
        self.tcp = tcp
        self.throttle = throttle
        self.run_blocking = run_blocking
        self.params = params or Params().with_overrides(ONE_MACHINE)
        self.network = MemoryNetwork()
        self.rows: dict[RelayId, RelayRow] = {}
        self.relays: list[Relay] = []
        self._scopes: dict[RelayId, trio.CancelScope] = {}
        self._clients = 0

    def dialer(self, host: str) -> Dialer:
        return TcpDialer() if self.tcp else self.network.dialer(host)

    def knows(self, identity: RelayId) -> bool:
        return identity in self.rows

    def relay(self, *roles: Role) -> Relay:
        relay = Relay(self, len(self.relays), roles or (Parrot(),))
        self.rows[relay.identity] = relay.row
        self.relays.append(relay)
        return relay

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        try:
            async with trio.open_nursery() as nursery:
                for relay in self.relays:
                    nursery.start_soon(self._run, relay)
                await trio.testing.wait_all_tasks_blocked()
                yield
                nursery.cancel_scope.cancel()
        finally:
            for relay in self.relays:
                relay.listener.close()

    async def _run(self, relay: Relay) -> None:
        with trio.CancelScope() as scope:
            self._scopes[relay.identity] = scope
            await relay.run()

    def kill(self, relay: Relay) -> None:
        """Stop one relay: its links break and nobody listens there any more."""
        relay.listener.close()
        self._scopes[relay.identity].cancel()

    def silence(self, relay: Relay) -> None:
        """Stop one relay so that connections to it are taken, and nobody answers."""
        self._scopes[relay.identity].cancel()

    @asynccontextmanager
    async def client(self, host: str | None = None) -> AsyncIterator[Client]:
        self._clients += 1
        client = Client(self, host or f"20.{self._clients}.0.1", 7000 + 10 * self._clients)
        async with client.links.running():
            yield client


class Peer:
    """A real machine on a stream of a test's own, which reads and writes only when told to."""

    def __init__(self, stream: Stream, machine: Link) -> None:
        self.stream = stream
        self.machine = machine
        self.opened: LinkOpen | None = None
        self.ended: str | None = None
        self.frames: list[bytes] = []

    def push(self, data: bytes) -> None:
        """All of it, now."""
        while data:
            sent = self.stream.send_some(data)
            if not sent:
                raise AssertionError("the stream took less than all")
            data = data[sent:]

    async def read(self) -> None:
        """One read, and what the machine answers."""
        try:
            data = await self.stream.receive_some()
        except StreamBroken:
            data = b""
        self.machine.receive_data(data, trio.current_time())
        while (event := self.machine.next_event()) is not None:
            match event:
                case LinkOpen():
                    self.opened = event
                case bytes():
                    self.frames.append(event)
                case LinkClosed(reason=reason):
                    self.ended = reason
        self.push(self.machine.data_to_send())

    async def read_until(self, done: Callable[[], object]) -> None:
        while not done():
            if self.ended:
                raise AssertionError(f"the link ended: {self.ended}")
            await self.read()

    async def ends(self) -> None:
        """Until the other side hangs up."""
        await self.read_until(lambda: self.ended)


async def dial_as_peer(
    dialer: Dialer, relay: Relay, *, identity: SigningKey | None = None, open_it: bool = True
) -> Peer:
    """A link to a relay from a stream of our own."""
    stream = await dialer.dial(relay.row.host, relay.row.port)
    machine = LinkInitiator(
        responder=relay.identity,
        onion_key=relay.onion.public,
        identity=RelaySigner.of(identity) if identity is not None else None,
        params=relay.world.params,
        chance=Chance(seeded(66)),
        now=trio.current_time(),
    )
    peer = Peer(stream, machine)
    if open_it:
        peer.push(machine.data_to_send())
        await peer.read_until(lambda: peer.opened)
    return peer


async def answer_as_peer(listener: Listener, relay: Relay) -> Peer:
    """Take one stream in a relay's place, with its keys; open once its LINK_AUTH came."""
    machine = LinkResponder(
        identity=relay.identity,
        onion_keys=[relay.onion],
        is_relay=lambda identity: False,
        earliest=0,
        params=relay.world.params,
        chance=Chance(seeded(67)),
        now=trio.current_time(),
    )
    peer = Peer(await listener.accept(), machine)
    await peer.read_until(lambda: peer.opened)
    return peer
