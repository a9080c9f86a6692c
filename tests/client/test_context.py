"""What the parts of a node share: what is in force without a consensus, and that all of it ends."""

from __future__ import annotations

from dataclasses import fields

import pytest
import trio
from trio.testing import MockClock

from onionshh import testing
from onionshh.client.context import Context
from onionshh.config import Authority
from onionshh.errors import Closed, NoDirectory
from onionshh.net.authority_client import DirectoryUnreachable
from tests.client.world import small, until
from tests.inside import inside


async def test_without_a_valid_consensus_the_last_parameters_hold_and_there_is_no_view(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def silent(self: testing.LocalSource, authority: Authority) -> bytes:
        raise DirectoryUnreachable("connection refused")

    async with small(4, interval_seconds=10, valid_seconds=30, cookies=7) as net, net.join() as node:
        context = inside(node)
        assert (context.params.cookies, len(context.view.relays)) == (7, 4)
        assert context.params is context.view.params
        for relay in list(net.relays):
            await relay.stop()
        monkeypatch.setattr(testing.LocalSource, "consensus", silent)
        await until(lambda: context.keeper.current is None, 300)
        assert context.params.cookies == 7
        with pytest.raises(NoDirectory):
            context.view  # noqa: B018


async def test_everything_of_a_node_ends_with_it(autojump_clock: MockClock) -> None:
    async with small(3) as net:
        async with net.join() as node:
            context = inside(node)
            context.check_open()
            context.nursery.start_soon(trio.sleep_forever)
        with pytest.raises(Closed, match="This node is closed"):
            context.check_open()
        assert not context.nursery.child_tasks


async def test_no_two_nodes_share_anything(autojump_clock: MockClock) -> None:
    async with small(3) as net, net.join() as one, net.join() as other:
        mine, theirs = inside(one), inside(other)
        shared = {
            part.name for part in fields(Context) if getattr(mine, part.name) is getattr(theirs, part.name)
        }
        assert shared <= {"clock", "run_blocking", "run_long"}, "the machine's"
