"""What the client's tests share: small networks in virtual time, a running endpoint, a visitor's tools.

Every network is in memory with a seed; its wall clock follows trio's, so with `autojump_clock` it waits for
nothing. `Stranger` speaks the visitor's part by hand, to send what no visitor of ours would send.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import trio

from onionshh import testing
from onionshh.client.assemble import assembled
from onionshh.client.endpoint import Endpoint
from onionshh.client.node import Node
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import find
from onionshh.core.circuit.purpose import Purpose
from onionshh.core.delivery.record import new_whisper
from onionshh.core.endpoint.introduce import Introduction
from onionshh.crypto.identity import decode_address_untrusted
from onionshh.ids import AuthKey, RelayId
from onionshh.net.clocks import Clock
from onionshh.net.store import DataDirectory, RunBlocking, run_inline
from onionshh.reasons import Reason
from onionshh.wire import messages as m
from onionshh.wire.endpoint import IntroducerEntry, Outer
from tests.client.hostile import replaceable, shown
from tests.inside import inside, parts

T = TypeVar("T")

WALL = 1_790_000_000 // 86400 * 86400 + 36_000
"""Ten hours into a day: the period's second half is far, its grace over."""

PATIENCE_SECONDS = 120.0
THREADS_SECONDS = 0.005

QUIET = {
    "client_padding_min_ms": 60_000,
    "client_padding_max_ms": 380_000,
    "relay_padding_seconds": 600,
    "link_dead_seconds": 1200,
}
"""For `small`, where hours pass and links are not what is looked at: the time would be spent on padding."""


def small(
    relays: int = 5, *, seed: int = 1, wall: int = WALL, **params: int
) -> AbstractAsyncContextManager[testing.Network]:
    """A network of few relays in virtual time. `params`: consensus parameters; the interval is a minute, so
    that time which passes costs little. What its relays serve can be replaced (`tests.client.hostile`)."""
    return testing.network(
        relays,
        params={"interval_seconds": 60, **params},
        wall_start=wall,
        seed=seed,
        mount=replaceable,
    )


@asynccontextmanager
async def hosted(
    net: testing.Network,
    name: str = "host",
    *,
    identity: str = "identity",
    introducers: int = 2,
    inbox: bool = True,
) -> AsyncIterator[tuple[Node, Endpoint]]:
    """A node of its own and an endpoint on it that is reachable."""
    async with net.join(name) as node:
        async with node.host(net.folder / identity, introducers=introducers, inbox=inbox) as endpoint:
            with trio.fail_after(PATIENCE_SECONDS):
                await endpoint.reachable()
            yield node, endpoint


class WrongClock(Clock):
    """A machine's clock that can be set: `shift` seconds ahead of everybody's."""

    def __init__(self, net: testing.Network, shift: int = 0) -> None:
        super().__init__(net.clock.wall())
        self.shift = shift

    def wall(self) -> int:
        return super().wall() + self.shift


class Disk:
    """A disk that can take its time: while it is held, whatever wants it waits."""

    def __init__(self) -> None:
        self._free = trio.Event()
        self._free.set()

    def hold(self) -> None:
        self._free = trio.Event()

    def release(self) -> None:
        self._free.set()

    async def __call__(self, function: Callable[[], T], /) -> T:
        await self._free.wait()
        return await run_inline(function)


@asynccontextmanager
async def joined(
    net: testing.Network, name: str, clock: Clock, run_blocking: RunBlocking = run_inline
) -> AsyncIterator[Node]:
    """A node with a clock and a disk of its own."""
    async with assembled(
        net.file,
        folder=DataDirectory(net.folder / name),
        source=net.source(name),
        dialer=net.dialer(name),
        clock=clock,
        random_bytes=testing.seeded(len(name)),
        run_blocking=run_blocking,
    ) as context:
        yield Node(context)


async def until(true: Callable[[], bool], seconds: float = PATIENCE_SECONDS) -> None:
    """Wait for a condition; TooSlowError when it does not come true."""
    step = 0.05
    with trio.fail_after(seconds):
        while not await _after_threads(true):
            await trio.sleep(step)
            step = min(1.0, 1.2 * step)


async def _after_threads(true: Callable[[], bool]) -> bool:
    """Whether it is true, now or once threads have worked for a moment. Virtual time stands still meanwhile:
    it does not wait for them."""
    limiter = trio.to_thread.current_default_thread_limiter()
    end = time.perf_counter() + THREADS_SECONDS
    while not true() and limiter.borrowed_tokens and time.perf_counter() < end:
        await trio.lowlevel.checkpoint()
    return true()


async def echo(endpoint: Endpoint) -> None:
    """Answer every whisper with its own body, until cancelled."""
    async for whisper in endpoint:
        await whisper.reply(whisper.body)


def bytes_on_disk(folder: Path) -> bytes:
    """Everything in every file below a folder, SQLite's side files included."""
    return b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


@asynccontextmanager
async def hosted_on(
    net: testing.Network, disk: Disk, introducers: int = 2
) -> AsyncIterator[tuple[Node, Endpoint]]:
    """As `hosted`, on this disk."""
    async with joined(net, "host", net.clock, disk) as node:
        async with node.host(net.folder / "identity", introducers=introducers) as endpoint:
            with trio.fail_after(PATIENCE_SECONDS):
                await endpoint.reachable()
            yield node, endpoint


@asynccontextmanager
async def killed(
    net: testing.Network, name: str = "host", *, identity: str = "identity", introducers: int = 2
) -> AsyncIterator[tuple[Node, Endpoint]]:
    """As `hosted`, but when the block ends what is on disk is what was there before anything was cleaned
    up: as after a kill."""
    folder = net.folder / name
    async with hosted(net, name, identity=identity, introducers=introducers) as pair:
        yield pair
        kept = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    for path in [one for one in folder.rglob("*") if one.is_file()]:
        path.unlink()
    for path, data in kept.items():
        path.write_bytes(data)
        path.chmod(0o600)


class Stranger:
    """Introductions by hand, as somebody who knows the address and keeps to no rule."""

    def __init__(self, node: Node, address: str) -> None:
        self.context = inside(node)
        self._key = decode_address_untrusted(address)

    async def find(self) -> CheckedDescriptor:
        """The descriptor, fetched anew."""
        return await find(self.context, self._key)

    def introduction(
        self,
        found: CheckedDescriptor,
        entry: IntroducerEntry,
        *,
        rendezvous_point: bytes | None = None,
        legs: int = 1,
        body: bytes = b"",
        expires: int | None = None,
        record: bytes | None = None,
        random_bytes: Callable[[int], bytes] | None = None,
    ) -> Introduction:
        """One introduction; with `body` a whisper rides along, with `record` these very bytes."""
        context = self.context
        points = [row.identity for row in context.view.relays[:legs]]
        if rendezvous_point is not None:
            points[0] = RelayId(rendezvous_point)
        if record is None and body:
            record = new_whisper(
                body,
                expires=context.clock.wall() + 600 if expires is None else expires,
                privacy_class=1,
                random_bytes=context.chance.bytes,
            ).encode()
        return Introduction(
            auth_key=AuthKey(entry.auth_key),
            period=found.period,
            subcredential=found.subcredential,
            rendezvous_key=found.descriptor.rendezvous_key,
            seal_key=found.descriptor.seal_key,
            rendezvous_points=points,
            privacy_class=1,
            record=record or b"",
            random_bytes=random_bytes or context.chance.bytes,
        )

    async def send(self, entry: IntroducerEntry, message: bytes) -> int:
        """INTRODUCE1 over the wire, through the introducer; its answer."""
        row = self.context.view.any_relay(RelayId(entry.relay_id))
        if row is None:
            raise LookupError("the introducer left the network")
        circuit = await self.context.builder.build(Purpose.INTRODUCE, last=row.identity)
        try:
            return m.status_untrusted(await circuit.ask(m.INTRODUCE1, message, m.INTRODUCE_ACK, 10.0))
        finally:
            circuit.close(Reason.FINISHED)


def altered(message: bytes, **changes: int | bytes) -> bytes:
    """An INTRODUCE1 with some of its fields replaced."""
    return replace(m.Introduce.decode_untrusted(message), **changes).encode()  # type: ignore[arg-type]


async def dropped(
    node: Node, reason: Reason, action: Callable[..., Awaitable[object]], *arguments: object
) -> None:
    """`action` makes the node drop something for this reason: once, and nothing for another reason."""
    before = dict(node.drops())
    await action(*arguments)
    await until(lambda: node.drops() != before, 30)
    await trio.sleep(1)
    new = {name: count - before.get(name, 0) for name, count in node.drops().items()}
    found = {name: count for name, count in new.items() if count}
    if found != {reason: 1}:
        raise AssertionError(f"dropped {found}, not one {reason}")


def blinded(endpoint: Endpoint, period: int, period_seconds: int = 86_400) -> bytes:
    """The key under which an endpoint is published in a period."""
    return parts(endpoint).identity.blind(period, period_seconds).public


def on_ring(net: testing.Network, endpoint: Endpoint, period: int) -> dict[str, int]:
    """Which running relays show the endpoint's descriptor of a period: their ids, hex, and its revision."""
    key = blinded(endpoint, period, net.relays[0].relay.params().period_seconds)
    found = {running.id: shown(running, key, period) for running in net.relays}
    return {
        name: Outer.decode_untrusted(document).revision
        for name, document in found.items()
        if document is not None
    }


def period_now(node: Node) -> int:
    """The period of the consensus a node has in hand."""
    return inside(node).view.period
