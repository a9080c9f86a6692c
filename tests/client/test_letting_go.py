"""A whisper that the program gives back is shown again, whoever still refers to it."""

from __future__ import annotations

import logging

import pytest
import trio
from trio.testing import MockClock

import onionshh
from tests.client.world import hosted, small


class Keeping(logging.Handler):
    """Keeps every record, and with it each traceback and what its frames refer to."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


async def test_what_a_log_keeps_does_not_keep_a_whisper_from_being_shown_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    keeping = Keeping()
    logger = logging.getLogger("onionshh.client")
    monkeypatch.setattr(logger, "handlers", [keeping])
    monkeypatch.setattr(logger, "propagate", False)
    shown: list[int] = []

    async def fail_twice(whisper: onionshh.Whisper) -> bytes:
        shown.append(whisper.shown)
        if len(shown) <= 2:
            raise RuntimeError("not now")
        return b"at last"

    async with small() as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact, trio.open_nursery() as nursery:
            nursery.start_soon(endpoint.serve, fail_twice)
            assert await contact.ask(b"question", timeout_seconds=120) == b"at last"
            nursery.cancel_scope.cancel()
    assert shown == [1, 2, 3]
    assert len(keeping.records) == 2


async def test_one_that_is_let_go_is_shown_to_who_asks_next_though_a_variable_holds_it(
    autojump_clock: MockClock,
) -> None:
    async with small() as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            receipt = contact.send(b"question")
            async for whisper in endpoint:
                assert whisper.shown == 1
                break
            whisper.let_go()
            whisper.let_go()  # harmless
            with trio.fail_after(60):
                again = await anext(aiter(endpoint))
            assert (again.id, again.shown) == (whisper.id, 2)
            with pytest.raises(onionshh.Closed, match="was let go"):
                await whisper.reply(b"too late")
            await whisper.done()
            assert endpoint.status().unfinished == 1
            await again.reply(b"answer")
            again.let_go()
            assert await receipt.reply() == b"answer"
            assert endpoint.status().unfinished == 0
