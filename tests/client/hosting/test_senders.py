"""Who one is, shown to one endpoint in one session (SPEC 12). Whole networks in virtual time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.endpoint import Endpoint
from onionshh.client.hosting.senders import CHECK_SECONDS, CHECKS_A_MINUTE
from onionshh.client.node import Node
from onionshh.core.session.proof import Proof
from onionshh.reasons import Reason
from tests.client.hostile import lying_rings
from tests.client.world import PATIENCE_SECONDS, blinded, period_now, small


@asynccontextmanager
async def two(
    *, senders: bool = True
) -> AsyncIterator[tuple[testing.Network, Node, Node, Endpoint, Endpoint]]:
    """A node that hosts somebody, and an endpoint elsewhere that asks who its visitors are."""
    async with small(9) as net, net.join("asks") as far, net.join("shows") as node:
        async with (
            far.host(net.folder / "far", introducers=2, senders=senders) as endpoint,
            node.host(net.folder / "near", introducers=2) as ours,
        ):
            with trio.fail_after(2 * PATIENCE_SECONDS):
                await endpoint.reachable()
                await ours.reachable()
            yield net, far, node, ours, endpoint


async def test_a_sender_shows_who_it_is(autojump_clock: MockClock) -> None:
    async with two() as (_, _, node, ours, endpoint):
        async with node.contact(endpoint.address, sender=ours) as contact, trio.open_nursery() as nursery:
            senders = []

            async def note(whisper: onionshh.Whisper) -> bytes | None:
                senders.append(whisper.sender)
                return whisper.body

            nursery.start_soon(endpoint.serve, note)
            with trio.fail_after(PATIENCE_SECONDS):
                assert await contact.ask(b"who am I?") == b"who am I?"
                await trio.sleep(70)
                receipt = contact.send(b"and now?")
                assert await receipt.reply() == b"and now?"
            assert receipt.resumed
            assert senders == [ours.address, ours.address]
            nursery.cancel_scope.cancel()


async def test_nobody_is_asked_where_nobody_asks(autojump_clock: MockClock) -> None:
    async with two(senders=False) as (_, _, node, ours, endpoint):
        async with node.contact(endpoint.address, sender=ours) as contact:
            contact.send(b"hello")
            with trio.fail_after(PATIENCE_SECONDS):
                whisper = await anext(aiter(endpoint))
            assert whisper.sender is None
            await whisper.done()


async def test_a_false_proof_shows_nobody(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    async with two() as (_, far, node, ours, endpoint):
        honest = Proof.encode

        def lie(proof: Proof) -> bytes:
            return honest(proof)[:-1] + bytes((honest(proof)[-1] ^ 1,))

        monkeypatch.setattr(Proof, "encode", lie)
        async with node.contact(endpoint.address, sender=ours) as contact:
            contact.send(b"hello")
            with trio.fail_after(PATIENCE_SECONDS):
                whisper = await anext(aiter(endpoint))
            assert whisper.sender is None
            await whisper.done()
            assert far.drops()[Reason.PROVE_WRONG] == 1


async def test_only_who_is_hosted_here_can_be_shown(autojump_clock: MockClock) -> None:
    async with two() as (_, _, node, ours, endpoint):
        stranger = onionshh.Identity.generate()
        with pytest.raises(ValueError, match="hosts now"):
            node.contact(endpoint.address, sender=stranger)
        with pytest.raises(ValueError, match=r"without a session|belong to a session|session=False"):
            node.contact(endpoint.address, sender=ours, session=False)


async def test_more_checks_than_six_a_minute_are_not_made(autojump_clock: MockClock) -> None:
    """Such a whisper is shown without a sender. So nobody makes an endpoint build circuits at will."""
    async with two() as (_, far, node, ours, endpoint):
        senders = []
        for number in range(CHECKS_A_MINUTE + 2):
            async with node.contact(endpoint.address, sender=ours) as contact:
                contact.send(b"%d" % number)
                with trio.fail_after(PATIENCE_SECONDS):
                    whisper = await anext(aiter(endpoint))
                senders.append(whisper.sender)
                await whisper.done()
        assert senders[:CHECKS_A_MINUTE] == CHECKS_A_MINUTE * [ours.address]
        assert far.drops()[Reason.PROVE_RATE] == senders.count(None) > 0


async def test_a_sender_that_cannot_be_found_is_nobody(autojump_clock: MockClock) -> None:
    """The check ends, and the whisper is shown."""
    async with two() as (net, _, node, ours, endpoint):
        async with node.contact(endpoint.address, sender=ours) as contact:
            for ring in lying_rings(net):
                key = (blinded(ours, period_now(node)), period_now(node))
                ring.lies[key] = None
            began = trio.current_time()
            contact.send(b"hello")
            with trio.fail_after(PATIENCE_SECONDS):
                whisper = await anext(aiter(endpoint))
            assert whisper.sender is None
            assert trio.current_time() - began < CHECK_SECONDS + 10
            await whisper.done()
