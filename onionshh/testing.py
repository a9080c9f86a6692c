"""A whole network in one process: for our tests and for those of a DApp.

    async with onionshh.testing.network(relays=8) as net:
        async with net.join() as node:
            ...

The real authority, the real relays and real nodes; only what is below a link is replaced, by streams in
memory (the default) or TCP on loopback, and the HTTP to the authority, by a call. With `wall_start` the wall
clock follows trio's, so under `trio.testing.MockClock` hours pass in seconds; with `seed` every choice is the
same each time.

What a program sees of a node or an endpoint shows little and lets nothing be changed. `inside(node)` and
`parts(endpoint)` give what works behind them, for tests that must look there; none of it is public API.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Literal

import trio

from onionshh.client.assemble import assembled
from onionshh.client.context import Context
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.hosting import Parts
from onionshh.client.node import Node
from onionshh.config import Authority as Named
from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import default_params
from onionshh.core.roles import Role
from onionshh.directory.authority import Authority
from onionshh.directory.registry import Verdict
from onionshh.directory.store import create_or_open
from onionshh.errors import Closed, ProtocolError
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

SETTLED_SECONDS = 120.0


def seeded(seed: int) -> RandomBytes:
    """Bytes that the seed determines, as many as are asked for."""
    counter = 0

    def random_bytes(n: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}:{counter}".encode()).digest(n)

    return random_bytes


def inside(node: Node) -> Context:
    """What the parts of a node share."""
    return node._context


def parts(endpoint: Endpoint) -> Parts:
    """What works behind an endpoint, also once it is closed. Closed before it was entered."""
    if endpoint._hosting is None:
        raise Closed("This endpoint was never entered.")
    return endpoint._hosting.parts


Mount = Callable[[Mounting], Sequence[Role]]
"""Makes the roles of one relay."""


class RunningRelay:
    """One relay of the network. `stop` ends it as a kill would; `about` is what it says of itself, `roles`
    are what is mounted on it, `said` is what its operator was told."""

    def __init__(self, relay: Relay, about: About, roles: tuple[Role, ...], said: list[str]) -> None:
        self.relay = relay
        self.about = about
        self.roles = roles
        self.said = said
        self.scope = trio.CancelScope()
        self.stopped = trio.Event()

    @property
    def host(self) -> str:
        """Its address."""
        return self.about.host

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
        authority: Authority,
        folder: Path,
        clock: Clock,
        random_bytes: RandomBytes,
        run_blocking: RunBlocking,
        nursery: trio.Nursery,
        memory: MemoryNetwork | None,
        mount: Mount,
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
        self._mount = mount
        self._nodes = 0
        self._names = 0

    async def add_relay(
        self, *, family: tuple[str, ...] = (), again: RunningRelay | None = None
    ) -> RunningRelay:
        """One more relay, running; listed with one of the next consensuses. `again`: one that was stopped,
        with its keys and at its host, on another port."""
        self._names += again is None
        name = f"relay{self._names}" if again is None else again.about.nickname
        host = f"10.0.{self._names // 250}.{self._names % 250 + 1}" if again is None else again.host
        listener: Listener = self.memory.listen(host) if self.memory else TcpListener("127.0.0.1", 0)
        mounted: list[Role] = []
        said: list[str] = []

        def mount(mounting: Mounting) -> Sequence[Role]:
            mounted.extend(self._mount(mounting))
            return mounted

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
            mount=mount,
            say=said.append,
        )
        running = RunningRelay(relay, about, tuple(mounted), said)

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
        async with assembled(
            self.file,
            folder=DataDirectory(self.folder / name),
            source=self.source(name),
            dialer=self.dialer(name),
            clock=self.clock,
            random_bytes=self._random_bytes,
            run_blocking=self._run_blocking,
            own_relays=frozenset(_ids(own_relays)),
        ) as context:
            yield Node(context)

    def source(self, host: str) -> DirectorySource:
        """The authority as that host asks it, with no HTTP in between."""
        return LocalSource(self.authority, host)

    def dialer(self, host: str) -> Dialer:
        """What that host dials with."""
        return self.memory.dialer(host) if self.memory else TcpDialer()


class LocalSource:
    """The authority asked by a call in place of HTTP. `host`: who asks."""

    def __init__(self, authority: Authority, host: str) -> None:
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


def usual_roles(mounting: Mounting) -> tuple[Role, ...]:
    """The roles that a relay of `onionshh relay` has."""
    return roles(mounting.relay_id, mounting.params, mounting.view)


@asynccontextmanager
async def network(
    relays: int = 8,
    *,
    transport: Literal["memory", "loopback"] = "memory",
    params: Mapping[str, int] | None = None,
    wall_start: int | None = None,
    seed: int | None = None,
    mount: Mount = usual_roles,
) -> AsyncIterator[Network]:
    """A network with so many relays, all listed when the block begins.

    `params`: consensus parameters in place of the one-machine defaults. `wall_start`: Unix seconds at which
    the wall clock starts and follows trio's. `mount` makes each relay's roles. Files lie in a temporary
    folder that goes with the block.
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
        check = partial(probe, dialer=dialer, clock=clock, params=chosen, chance=Chance(random_bytes))
        authority = Authority(
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
            mount=mount,
        )
        for _ in range(relays):
            await net.add_relay()
        await net.settled()
        yield net


def _ids(family: Collection[str]) -> tuple[RelayId, ...]:
    return tuple(RelayId(bytes.fromhex(one)) for one in family)
