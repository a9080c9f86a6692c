"""A whole network in one process: for our tests and for those of a DApp.

    async with onionshh.testing.network(relays=8) as net:
        async with net.join() as node:
            ...

The real authority, the real relays and real nodes; only what is below a link is replaced, by streams in
memory (the default) or TCP on loopback, and the HTTP to the authority, by a call. With `wall_start` the wall
clock follows trio's, so under `trio.testing.MockClock` hours pass in seconds; with `seed` every choice is the
same each time.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import trio

from onionshh.client.node import Node
from onionshh.client.node import node as make_node
from onionshh.config import Authority as Named
from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import default_params
from onionshh.core.roles import Role
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.registry import Verdict
from onionshh.directory.store import create_or_open
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.authority_client import DirectorySource
from onionshh.net.background import background
from onionshh.net.clocks import Clock
from onionshh.net.memory import MemoryNetwork
from onionshh.net.probe import probe
from onionshh.net.store import DataDirectory, RunBlocking, RunWhereQuick, run_inline
from onionshh.net.tcp import TcpDialer, TcpListener
from onionshh.net.transport import Dialer, Listener
from onionshh.relay.publish import About
from onionshh.relay.serve import Mounting, Relay
from onionshh.rendezvous.serve import roles
from onionshh.wire.descriptor import RelayDescriptor

SETTLED_SECONDS = 120.0


def seeded(seed: int) -> RandomBytes:
    """Bytes that the seed determines, as many as are asked for."""
    counter = 0

    def random_bytes(n: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}:{counter}".encode()).digest(n)

    return random_bytes


class RunningRelay:
    """One relay of the network. `stop` ends it as a kill would; `host` is its address."""

    def __init__(self, relay: Relay, host: str) -> None:
        self.relay = relay
        self.host = host
        self.scope = trio.CancelScope()
        self.stopped = trio.Event()

    @property
    def id(self) -> str:
        """Its identity, hex, as `Node.circuits` and the directory name it."""
        return self.relay.keys.relay_id.hex()

    async def stop(self) -> None:
        """End it; its links break, its circuits with them."""
        self.scope.cancel()
        await self.stopped.wait()


class Network:
    """What `network` yields. `relays` are the running ones, `folder` holds everything on disk."""

    def __init__(
        self,
        *,
        file: NetworkFile,
        authority: DirectoryAuthority,
        folder: Path,
        clock: Clock,
        random_bytes: RandomBytes,
        run_blocking: RunBlocking,
        nursery: trio.Nursery,
        memory: MemoryNetwork | None,
    ) -> None:
        self.file = file
        self.authority = authority
        self.folder = folder
        self.clock = clock
        self.memory = memory
        self.relays: list[RunningRelay] = []
        self._random_bytes = random_bytes
        self._run_blocking = run_blocking
        self._nursery = nursery
        self._nodes = 0
        self._names = 0

    async def add_relay(self, *, family: tuple[str, ...] = ()) -> RunningRelay:
        """One more relay, running; listed with one of the next consensuses."""
        self._names += 1
        name = f"relay{self._names}"
        host = f"10.0.{self._names // 250}.{self._names % 250 + 1}"
        listener: Listener = self.memory.listen(host) if self.memory else TcpListener("127.0.0.1", 0)
        about = About(name, listener.address[0], listener.address[1], _ids(family))
        relay = Relay(
            network=self.file,
            source=self.source(host),
            dialer=self.dialer(host),
            listener=listener,
            folder=DataDirectory(self.folder / name),
            about=about,
            clock=self.clock,
            chance=Chance(self._random_bytes),
            mount=_mount,
            say=lambda line: None,
        )
        running = RunningRelay(relay, host)

        async def run(task_status: trio.TaskStatus[None]) -> None:
            with running.scope:
                try:
                    await relay.run(task_status=task_status)
                finally:
                    listener.close()
                    running.stopped.set()
                    if running in self.relays:
                        self.relays.remove(running)

        await self._nursery.start(run)
        self.relays.append(running)
        return running

    async def settled(self) -> None:
        """Until the consensus lists every running relay and each of them knows all the others."""
        with trio.fail_after(SETTLED_SECONDS + 3 * self.authority.params.interval_seconds):
            while not self._settled():
                await trio.sleep(0.2)

    def _settled(self) -> bool:
        ids = {one.relay.keys.relay_id for one in self.relays}
        return all(
            view is not None and ids <= {row.identity for row in view.relays}
            for view in (one.relay.keeper.view for one in self.relays)
        )

    @asynccontextmanager
    async def join(self, name: str | None = None, *, own_relays: Collection[str] = ()) -> AsyncIterator[Node]:
        """A node of this network. `name`: its data folder, the same name the same folder; else a new one.
        `own_relays`: as for `onionshh.join`."""
        self._nodes += 1
        name = name or f"node{self._nodes}"
        async with make_node(
            self.file,
            folder=DataDirectory(self.folder / name),
            source=self.source(name),
            dialer=self.dialer(name),
            clock=self.clock,
            random_bytes=self._random_bytes,
            run_blocking=self._run_blocking,
            own_relays=frozenset(_ids(own_relays)),
        ) as node:
            yield node

    def source(self, host: str) -> DirectorySource:
        """The authority as that host asks it, with no HTTP in between."""
        return LocalSource(self.authority, host)

    def dialer(self, host: str) -> Dialer:
        """What that host dials with."""
        return self.memory.dialer(host) if self.memory else TcpDialer()


class LocalSource:
    """The authority asked by a call in place of HTTP. `host`: who asks."""

    def __init__(self, authority: DirectoryAuthority, host: str) -> None:
        self._authority = authority
        self._host = host

    async def consensus(self, authority: Named) -> bytes:
        await trio.lowlevel.checkpoint()
        return self._authority.document

    async def publish(self, authority: Named, descriptor: bytes) -> str | None:
        await trio.lowlevel.checkpoint()
        try:
            answer = self._authority.submit_untrusted(descriptor, self._host)
        except ProtocolError as error:
            return error.reason
        return None if answer.verdict is Verdict.ACCEPTED else answer.why

    async def status(self, authority: Named, relay: RelayId) -> dict[str, object]:
        await trio.lowlevel.checkpoint()
        return self._authority.told(relay)

    def date(self, authority: Named) -> int | None:
        return self._authority.clock.wall()


@asynccontextmanager
async def network(
    relays: int = 8,
    *,
    transport: Literal["memory", "loopback"] = "memory",
    params: Mapping[str, int] | None = None,
    wall_start: int | None = None,
    seed: int | None = None,
) -> AsyncIterator[Network]:
    """A network with so many relays, all listed when the block begins.

    `params`: consensus parameters in place of the one-machine defaults. `wall_start`: Unix seconds at which
    the wall clock starts and follows trio's. Files lie in a temporary folder that goes with the block.
    """
    random_bytes = os.urandom if seed is None else seeded(seed)
    clock = Clock(wall_start)
    memory = MemoryNetwork() if transport == "memory" else None
    run_blocking: RunBlocking = RunWhereQuick() if wall_start is None else run_inline
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onionshh-")))
        store = stack.enter_context(
            create_or_open(
                folder / "authority",
                folder / "network.toml",
                url="http://authority.invalid",
                random_bytes=random_bytes,
                name="testing",
            )
        )
        chosen = default_params(one_machine=True).with_overrides(params or {})
        dialer: Dialer = memory.dialer("authority") if memory else TcpDialer()

        async def check(descriptor: RelayDescriptor) -> str | None:
            return await probe(
                descriptor, dialer=dialer, clock=clock, params=chosen, chance=Chance(random_bytes)
            )

        authority = DirectoryAuthority(
            store,
            params=chosen,
            clock=clock,
            probe=check,
            random_bytes=random_bytes,
            run_blocking=run_blocking,
        )
        nursery = await stack.enter_async_context(background())
        await nursery.start(lambda task_status: authority.run(task_status=task_status))
        net = Network(
            file=store.network,
            authority=authority,
            folder=folder,
            clock=clock,
            random_bytes=random_bytes,
            run_blocking=run_blocking,
            nursery=nursery,
            memory=memory,
        )
        for _ in range(relays):
            await net.add_relay()
        await net.settled()
        yield net


def _mount(mounting: Mounting) -> tuple[Role, ...]:
    return roles(mounting.relay_id, mounting.params, mounting.view)


def _ids(family: Collection[str]) -> tuple[RelayId, ...]:
    return tuple(RelayId(bytes.fromhex(one)) for one in family)
