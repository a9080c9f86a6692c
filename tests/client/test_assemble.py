"""What `join` does before there is a node: in memory alone, and while no directory answers yet."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.assemble import assembled
from onionshh.client.identities import Identity
from onionshh.client.node import Node
from onionshh.config import Authority
from onionshh.ids import RelayId
from onionshh.net.authority_client import DirectorySource
from onionshh.net.memory_folder import InMemory
from onionshh.net.store import run_inline
from tests.client.world import echo, hosted, small
from tests.seeded import seeded

QUIET = dict(interval_seconds=300)


class Late:
    """A directory that answers from a moment on."""

    def __init__(self, source: DirectorySource, after_seconds: float) -> None:
        self._source = source
        self._from = trio.current_time() + after_seconds
        self.asked = 0

    async def consensus(self, authority: Authority) -> bytes:
        self.asked += 1
        if trio.current_time() < self._from:
            raise onionshh.NoDirectory("down")
        return await self._source.consensus(authority)

    async def publish(self, authority: Authority, descriptor: bytes) -> str | None:
        return await self._source.publish(authority, descriptor)

    async def status(self, authority: Authority, relay: RelayId) -> dict[str, object]:
        return await self._source.status(authority, relay)

    def date(self, authority: Authority) -> int | None:
        return None


@asynccontextmanager
async def joined(
    net: testing.Network, source: DirectorySource, wait_seconds: float = 0.0
) -> AsyncIterator[Node]:
    async with assembled(
        net.file,
        folder=InMemory(),
        source=source,
        dialer=net.dialer("memory"),
        clock=net.clock,
        wait_seconds=wait_seconds,
        random_bytes=seeded(3),
        run_blocking=run_inline,
    ) as context:
        yield Node(context)


async def test_a_directory_that_is_down_is_waited_for_and_no_longer_than_wanted(
    autojump_clock: MockClock,
) -> None:
    async with small(3, **QUIET) as net:
        late = Late(net.source("memory"), 20)
        before = trio.current_time()
        with pytest.raises(onionshh.NoDirectory):
            async with joined(net, late):
                raise AssertionError("joined")
        assert trio.current_time() - before < 1
        with pytest.raises(onionshh.NoDirectory):
            async with joined(net, late, 10):
                raise AssertionError("joined")
        assert trio.current_time() - before <= 11
        async with joined(net, late, 60) as node:
            assert node.status().relays == 3
        assert trio.current_time() - before < 40
        assert late.asked < 30


async def test_in_memory_everything_works_and_nothing_is_written(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Hosting and visiting; the same endpoint twice at once is refused as on disk."""
    async with small(5, **QUIET) as net, hosted(net) as (_, other):
        opened: list[object] = []
        really = os.open

        def watched(path: str | Path, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
            opened.append(path)
            return really(path, flags, mode, dir_fd=dir_fd)

        async with joined(net, net.source("memory")) as node, trio.open_nursery() as nursery:
            monkeypatch.setattr(os, "open", watched)
            identity = Identity.generate(seeded(4))
            async with node.host(identity, introducers=2, inbox=False) as endpoint:
                await endpoint.reachable()
                nursery.start_soon(echo, endpoint)
                nursery.start_soon(echo, other)
                with pytest.raises(onionshh.DataInUse):
                    async with node.host(identity):
                        raise AssertionError("twice")
                for address in (endpoint.address, other.address):
                    async with node.contact(address) as contact:
                        assert await contact.ask(b"hello") == b"hello"
                nursery.cancel_scope.cancel()
        assert not [one for one in opened if "host" not in str(one)]
