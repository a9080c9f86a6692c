"""A whole network in one process: for our tests and for those of a DApp.

    async with onionshh.testing.network(relays=8) as net:
        async with net.join() as node:
            ...

The authority, the relays and the nodes are the real ones. Two things are replaced: what is below a link, by
streams in memory (the default) or TCP on loopback; and HTTP to the authority, by a call. With `wall_start`
the wall clock follows trio's, so under `trio.testing.MockClock` hours pass in seconds. With `seed` every
choice is the same each time.

A program sees little of what works behind a node or an endpoint, and cannot change it. Our own tests that
must look there use `tests/inside.py`; none of that is public API.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import trio

from onionshh.client.arguments import relay_ids
from onionshh.client.assemble import assembled
from onionshh.client.node import Node
from onionshh.config import Authority as Named
from onionshh.config import NetworkFile
from onionshh.core.base.chance import Chance
from onionshh.core.base.params import default_params
from onionshh.core.roles import Role
from onionshh.directory.authority import DirectoryAuthority
from onionshh.directory.registry import Verdict
from onionshh.directory.store import AuthorityStore, create_or_open
from onionshh.errors import ProtocolError
from onionshh.ids import RandomBytes, RelayId
from onionshh.net.authority_client import DirectorySource
from onionshh.net.background import background
from onionshh.net.clocks import Clock
from onionshh.net.memory import MemoryNetwork
from onionshh.net.probe import LinkProbe
from onionshh.net.store import DataDirectory, RunBlocking, RunWhereQuick, run_inline
from onionshh.net.tcp import TcpDialer, TcpListener
from onionshh.net.transport import Dialer, Listener
from onionshh.relay.publish import About
from onionshh.relay.serve import Mounting, Relay
from onionshh.rendezvous.serve import roles

SETTLED_SECONDS = 120.0


def seeded(seed: int) -> RandomBytes:
    """A function that gives as many bytes as it is asked for, the same ones for the same `seed`. For tests:
    whoever knows the seed knows the bytes.

    ```python
    from onionshh import Identity, testing


    async def main() -> None:
        same = Identity.generate(testing.seeded(7)).address == Identity.generate(testing.seeded(7)).address
        print(same)  # True
    ```
    """
    counter = 0

    def random_bytes(n: int) -> bytes:
        nonlocal counter
        counter += 1
        return hashlib.shake_256(f"{seed}:{counter}".encode()).digest(n)

    return random_bytes


Mount = Callable[[Mounting], Sequence[Role]]
"""Makes the roles of one relay."""


class RunningRelay:
    """One relay of the network.

    - `host: str`. The IP address at which it is reached.
    - `about: About`. What it says of itself. `said: list[str]`: the lines that its operator was told.
    - `relay: Relay`. The relay itself, whose inside may change between versions. `roles: tuple[Role, ...]`:
      what is mounted on it.
    - `scope: trio.CancelScope`, `stopped: trio.Event`. What `stop` cancels, and what it waits for.
    """

    def __init__(self, relay: Relay, about: About, roles: tuple[Role, ...], said: list[str]) -> None:
        self.relay = relay
        self.about = about
        self.roles = roles
        self.said = said
        self.scope = trio.CancelScope()
        self.stopped = trio.Event()

    @property
    def host(self) -> str:
        """The IP address at which it is reached."""
        return self.about.host

    @property
    def id(self) -> str:
        """The relay's identity, 64 hex digits, as `Node.circuits` and the directory name it."""
        return self.relay.keys.relay_id.hex()

    async def stop(self) -> None:
        """End the relay as a kill would: its links break, and its circuits with them. The consensus still
        lists it for a while."""
        self.scope.cancel()
        await self.stopped.wait()


class Network:
    """What the block of `testing.network` gets.

    - `relays: list[RunningRelay]`. The relays that run.
    - `folder: Path`. Where all files of this network lie; it is removed when the block ends.
    - `file: NetworkFile`. The network file, as `join` would read it.
    - `clock: Clock`. The clock of everything in this network.
    - `authority: Authority`, `memory: MemoryNetwork | None`. What the network is made of, whose inside may
      change between versions.

    ```python
    from onionshh import testing
    from trio.testing import MockClock


    async def test_a_relay_less(autojump_clock: MockClock) -> None:
        async with testing.network(relays=6, wall_start=1_790_000_000, seed=1) as net, net.join() as node:
            added = await net.add_relay()
            await net.settled()
            print(len(net.relays), added in net.relays)  # 7 True
            await net.relays[0].stop()
            print(len(net.relays), len(added.id))  # 6 64
            print(node.status().relays >= 6)  # True
    ```

    A test of your own, with pytest-trio:

    ```python
    import onionshh
    import trio
    from onionshh import testing
    from trio.testing import MockClock


    async def test_echo(autojump_clock: MockClock) -> None:
        async with testing.network(wall_start=1_790_000_000, seed=1) as net, net.join("host") as host:
            async with host.host(net.folder / "identity") as endpoint, trio.open_nursery() as nursery:
                nursery.start_soon(endpoint.serve, echo)
                async with net.join("visitor") as visitor, visitor.contact(endpoint.address) as contact:
                    assert await contact.ask(b"hello") == b"hello"
                nursery.cancel_scope.cancel()


    async def echo(whisper: onionshh.Whisper) -> bytes:
        return whisper.body
    ```
    """

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
        """Start one more relay, and return it. The directory lists it in one of its next consensuses: wait
        for `settled`. `family`: the ids of relays that have the same owner; they count where both name each
        other. `again`: one that was stopped, which comes back with its keys and at its host, on another port.
        """
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
            listeners=[listener],
            folder=DataDirectory(self.folder / name),
            about=about,
            clock=self.clock,
            chance=Chance(self._random_bytes),
            mount=mount,
            say=said.append,
            run_blocking=self._run_blocking,
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
        """Wait until the consensus lists every running relay and each of them knows all the others. Raises
        trio.TooSlowError after 120 s and three consensus intervals."""
        with trio.fail_after(SETTLED_SECONDS + 3 * self.authority.params.interval_seconds):
            while not self._settled():
                await trio.sleep(0.2)

    def _settled(self) -> bool:
        ids = {running.relay.keys.relay_id for running in self.relays}
        return all(
            view is not None and ids <= {row.identity for row in view.relays}
            for view in (running.relay.keeper.view for running in self.relays)
        )

    @asynccontextmanager
    async def join(self, name: str | None = None, *, own_relays: Collection[str] = ()) -> AsyncIterator[Node]:
        """A node of this network, as `onionshh.join` makes one. `name`: the name of its data folder in
        `folder`; the same name is the same folder, and without a name it is a new one. `own_relays`: as in
        `onionshh.join`."""
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
            own_relays=relay_ids("own_relays", own_relays),
        ) as context:
            yield Node(context)

    def source(self, host: str) -> DirectorySource:
        """The authority as that host asks it, without HTTP in between: what `join` uses for a node."""
        return LocalSource(self.authority, host)

    def dialer(self, host: str) -> Dialer:
        """What that host makes connections with: what `join` uses for a node."""
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


def usual_roles(mounting: Mounting) -> tuple[Role, ...]:
    """The roles that a relay of `onionshh relay` has."""
    return roles(mounting.relay_id, mounting.params, mounting.view, mounting.wall, mounting.folder)


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
    """A whole network in this process. The block gets a `Network`, in which every relay is listed already.

    - `relays`: how many relays.
    - `transport`: what links run over, "memory" or "loopback" (TCP on 127.0.0.1).
    - `params`: consensus parameters (SPEC 8), by name, that are to differ from those of a one-machine
      network.
    - `wall_start`: Unix seconds. With it the wall clock starts there and follows trio's clock, so that under
      `trio.testing.MockClock` hours pass in seconds and nothing waits for real. Without it the wall clock is
      the system's.
    - `mount`: makes each relay's roles. Without it they are those of `onionshh relay`.
    - `seed`: with it every choice is the same in each run.

    Files lie in a temporary folder, which is removed when the block ends. Raises ValueError for a parameter
    that does not exist or is out of its range.
    """
    random_bytes = os.urandom if seed is None else seeded(seed)
    clock = Clock(wall_start)
    memory = MemoryNetwork() if transport == "memory" else None
    run_blocking: RunBlocking = RunWhereQuick() if wall_start is None else run_inline
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="onionshh-")))
        store = stack.enter_context(_authority_store(folder, random_bytes))
        chosen = default_params(one_machine=True).with_overrides(params or {})
        dialer: Dialer = memory.dialer("authority") if memory else TcpDialer()
        check = LinkProbe(dialer=dialer, clock=clock, chance=Chance(random_bytes))
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
            mount=mount,
        )
        for _ in range(relays):
            await net.add_relay()
        await net.settled()
        yield net


def _authority_store(folder: Path, random_bytes: RandomBytes) -> AbstractContextManager[AuthorityStore]:
    return create_or_open(
        folder / "authority",
        folder / "network.toml",
        url="http://authority.invalid",
        random_bytes=random_bytes,
        name="testing",
    )


def _ids(family: Collection[str]) -> tuple[RelayId, ...]:
    return tuple(RelayId(bytes.fromhex(member)) for member in family)
