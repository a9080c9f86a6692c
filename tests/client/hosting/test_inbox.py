"""The inbox of an endpoint: letters that were left while it was away are whispers like others (SPEC 14)."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from tests.client.world import QUIET, hosted, small, until
from tests.inside import inside, parts

DAY = 86_400


async def test_a_whisper_that_was_left_is_shown_and_answered(autojump_clock: MockClock) -> None:
    async with small(8, **QUIET) as net, net.join("visitor") as visitor:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
        async with visitor.contact(address, name="friend") as contact:
            receipt = contact.send(b"are you there?", ttl_seconds=DAY)
            with trio.fail_after(600):
                await receipt.stored()
            assert receipt.status == "stored"
            async with hosted(net) as (_, endpoint):
                with trio.fail_after(1500):
                    whisper = await anext(aiter(endpoint))
                assert (whisper.body, whisper.waited, whisper.id) == (b"are you there?", True, receipt.id)
                assert whisper.peer is not None
                await whisper.reply(b"now I am")
                with trio.fail_after(3 * 3600):
                    assert await receipt.reply() == b"now I am"
                assert receipt.status == "delivered"
