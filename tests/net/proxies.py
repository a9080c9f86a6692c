"""A SOCKS5 proxy for tests: a real one on loopback, and scripts that answer wrongly."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import trio

Script = Callable[[trio.SocketStream], object]


@dataclass
class Asked:
    """What a client asked a proxy for."""

    user: bytes
    password: bytes
    kind: int
    host: str
    port: int


@dataclass
class Proxy:
    """A proxy that passes on. `names`: where the names that it knows lead. `login`: what it wants."""

    names: Mapping[str, tuple[str, int]] = field(default_factory=dict)
    login: tuple[bytes, bytes] | None = None
    any_login: bool = False
    refuse: int = 0
    asked: list[Asked] = field(default_factory=list)
    port: int = 0

    @property
    def via(self) -> str:
        return f"socks5://127.0.0.1:{self.port}"

    async def serve(self, client: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError, trio.ClosedResourceError, EOFError, OSError):
            async with client:
                await self._serve(client)

    async def _serve(self, client: trio.SocketStream) -> None:
        _, count = await exactly(client, 2)
        methods = await exactly(client, count)
        wanted = 2 if self.login or (self.any_login and 2 in methods) else 0
        if wanted not in methods:
            await client.send_all(b"\x05\xff")
            return
        await client.send_all(bytes((5, wanted)))
        user = password = b""
        if wanted:
            _, size = await exactly(client, 2)
            user = await exactly(client, size)
            password = await exactly(client, (await exactly(client, 1))[0])
            right = self.login in (None, (user, password))
            await client.send_all(b"\x01\x00" if right else b"\x01\x01")
            if not right:
                return
        _, _, _, kind = await exactly(client, 4)
        if kind == 3:
            host = (await exactly(client, (await exactly(client, 1))[0])).decode()
        else:
            raw = await exactly(client, 4 if kind == 1 else 16)
            host = ".".join(map(str, raw)) if kind == 1 else "::1"
        port = int.from_bytes(await exactly(client, 2), "big")
        self.asked.append(Asked(user, password, kind, host, port))
        if self.refuse or (kind == 3 and host not in self.names):
            await client.send_all(bytes((5, self.refuse or 4, 0, 1)) + bytes(6))
            return
        try:
            far = await trio.open_tcp_stream(*self.names.get(host, (host, port)))
        except OSError:
            await client.send_all(bytes((5, 5, 0, 1)) + bytes(6))
            return
        # A name in the answer, which is allowed, and byte by byte.
        for byte in b"\x05\x00\x00\x03\x04here\x00\x01":
            await client.send_all(bytes((byte,)))
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(_pump, client, far)
            await _pump(far, client)
            nursery.cancel_scope.cancel()


async def _pump(one: trio.SocketStream, other: trio.SocketStream) -> None:
    with suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        async for data in one:
            await other.send_all(data)


async def exactly(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = await stream.receive_some(size - len(data))
        if not part:
            raise EOFError
        data += bytes(part)
    return data


@asynccontextmanager
async def listening(serve: Callable[[trio.SocketStream], object]) -> AsyncIterator[int]:
    """Serve every connection to a free port of loopback, whose number it gives."""
    async with trio.open_nursery() as nursery:
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, serve, listeners)  # type: ignore[arg-type]
        yield listeners[0].socket.getsockname()[1]
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def running(proxy: Proxy) -> AsyncIterator[Proxy]:
    async with listening(proxy.serve) as proxy.port:
        yield proxy
