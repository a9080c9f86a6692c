"""What a contact hears first: without a name in memory, with one on disk."""

from __future__ import annotations

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.listening import Listening
from onionshh.errors import Closed
from tests.client.test_speaking_first import first, met, world
from tests.client.world import PATIENCE_SECONDS, QUIET, bytes_on_disk, hosted, small, until
from tests.inside import behind

BODY = b"what the endpoint says first, and nobody else"


async def test_a_contact_that_nobody_iterates_over_does_without(autojump_clock: MockClock) -> None:
    async with world() as w:
        assert behind(w.contact).listening is None
        w.peer.send(BODY)
        await trio.sleep(5)
        assert "record-unread" in w.visitor.drops()


async def test_a_contact_without_a_name_leaves_nothing_on_disk(autojump_clock: MockClock) -> None:
    async with world() as w:
        aiter(w.contact)
        assert isinstance(behind(w.contact).listening, Listening)
        receipt = w.peer.send(BODY)
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await receipt.final()).status == "delivered"
        assert BODY not in bytes_on_disk(w.net.folder / "visitor")
        assert (await first(w.contact)).body == BODY


async def test_what_a_named_contact_has_acknowledged_is_shown_after_a_restart(
    autojump_clock: MockClock,
) -> None:
    async with small(8, **QUIET) as net, hosted(net) as (_, endpoint):
        async with net.join("visitor") as visitor:
            async with visitor.contact(endpoint.address, name="friend") as contact:
                peer = await met(endpoint, contact)
                with trio.fail_after(PATIENCE_SECONDS):
                    assert (await peer.whisper(BODY)).status == "delivered"
        assert BODY in bytes_on_disk(net.folder / "visitor")
        async with net.join("visitor") as visitor:
            async with visitor.contact(endpoint.address, name="friend") as contact:
                async for whisper in contact:
                    assert whisper.body == BODY
                    answer = await whisper.reply(b"thank you")
                    break
                assert [receipt.id for receipt in contact.pending()] == [answer.id]
                with trio.fail_after(PATIENCE_SECONDS):
                    assert (await answer.final()).status == "delivered"
                late = await first(endpoint)
                assert (late.body, late.id) == (b"thank you", answer.id)
            await trio.sleep(3)
            assert BODY not in bytes_on_disk(net.folder / "visitor")


async def test_an_answer_of_an_earlier_run_is_shown_once(autojump_clock: MockClock) -> None:
    async with small(8, **QUIET) as net, hosted(net) as (_, endpoint):
        async with net.join("visitor") as visitor:
            async with visitor.contact(endpoint.address, name="friend") as contact:
                await met(endpoint, contact)
                question = contact.send(b"question")
                async for whisper in endpoint:
                    answer = await whisper.reply(BODY)
                    break
                with trio.fail_after(PATIENCE_SECONDS):
                    await answer.final()
        for run in (1, 2):
            async with net.join("visitor") as visitor:
                async with visitor.contact(endpoint.address, name="friend") as contact:
                    if run == 1:
                        late = await first(contact)
                        assert (late.body, late.in_reply_to) == (BODY, question.id)
                        await trio.sleep(2)
                    with trio.move_on_after(5) as nothing:
                        async for whisper in contact:
                            raise AssertionError(whisper)
                    assert nothing.cancelled_caught


async def test_a_loop_over_a_contact_ends_with_it(autojump_clock: MockClock) -> None:
    async with world() as w, trio.open_nursery() as nursery:
        shown = []

        @nursery.start_soon
        async def listen() -> None:
            async for whisper in w.contact:
                shown.append(whisper)  # noqa: PERF401

        w.peer.send(BODY)
        await until(lambda: bool(shown))
        w.contact.close()
        await trio.sleep(1)
        assert len(shown) == 1
        with pytest.raises(Closed):
            aiter(w.contact)
