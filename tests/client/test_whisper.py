"""What a program sees of a whisper that arrived, whoever holds it, and how a loop finishes them."""

from __future__ import annotations

import pytest

from onionshh.client.peer import Peer
from onionshh.client.receipt import Outcome, Receipt
from onionshh.client.whisper import Iteration, Whisper
from onionshh.core.delivery.incoming import Taken
from onionshh.core.delivery.record import HandedOver
from onionshh.errors import BadData, Closed, TooLarge
from onionshh.ids import WhisperId

QUESTION = WhisperId(b"q" * 16)


def taken(number: int, in_reply_to: WhisperId = QUESTION) -> Taken:
    return Taken(WhisperId(bytes([number]) * 16), b"body", 5.0, 600, 2, None, in_reply_to)


class Holder:
    """Holds these whispers, and notes what becomes of them."""

    def __init__(self, *held: Taken) -> None:
        self.held = list(held)
        self.finished: list[tuple[WhisperId, bytes | None]] = []
        self.back: list[WhisperId] = []
        self.broken: Exception | None = None

    async def next(self) -> tuple[Taken, int] | None:
        return (self.held.pop(0), 3) if self.held else None

    async def finish(self, whisper_id: WhisperId) -> None:
        self._finish(whisper_id, None)

    async def reply(self, taken: Taken, body: bytes) -> Receipt:
        self._finish(taken.whisper_id, body)
        return Receipt(Outcome("answer"))

    def let_go(self, whisper_id: WhisperId) -> None:
        self.back.append(whisper_id)

    def peer_of(self, taken: Taken) -> Peer | None:
        return None

    def sender_of(self, taken: Taken) -> str | None:
        return None

    def _finish(self, whisper_id: WhisperId, body: bytes | None) -> None:
        if self.broken is not None:
            raise self.broken
        self.finished.append((whisper_id, body))


def test_what_it_shows() -> None:
    given = taken(1)
    whisper = Whisper(Holder(), given, 3)
    assert (whisper.id, whisper.in_reply_to) == ("01" * 16, QUESTION.hex())
    assert (whisper.body, whisper.received_at, whisper.expires_at, whisper.shown) == (b"body", 5.0, 600, 3)
    assert whisper.peer is None
    assert repr(whisper) == "<Whisper of 4 bytes>"
    assert Whisper(Holder(), taken(1, WhisperId(bytes(16))), 1).in_reply_to == ""


def test_the_key_is_that_of_the_record_it_came_in() -> None:
    given = taken(1)
    assert Whisper(Holder(), given, 1).derive_key("x", 40) == HandedOver.of(given.record).key("x", 40)
    with pytest.raises(ValueError, match="1 to 64"):
        Whisper(Holder(), given, 1).derive_key("x", 65)


async def test_a_loop_finishes_each_whisper_when_it_asks_for_the_next() -> None:
    holder = Holder(taken(1), taken(2), taken(3))
    async for whisper in Iteration(holder):
        if whisper.id == "02" * 16:
            await whisper.reply(b"yes")
    assert holder.finished == [(taken(n).whisper_id, b"yes" if n == 2 else None) for n in (1, 2, 3)]
    assert holder.back == []


async def test_a_loop_ends_when_its_holder_is_closed() -> None:
    holder = Holder(taken(1), taken(2))
    shown = []
    async for whisper in Iteration(holder):
        shown.append(whisper)
        holder.broken = Closed("over")
    assert len(shown) == 1


async def test_after_an_error_it_is_not_finished() -> None:
    holder = Holder()
    whisper = Whisper(holder, taken(1), 1)
    holder.broken = BadData("full")
    with pytest.raises(BadData):
        await whisper.reply(b"yes")
    with pytest.raises(BadData):
        await whisper.done()
    with pytest.raises(TooLarge):
        await whisper.reply(bytes(65_536))
    holder.broken = None
    await whisper.done()
    await whisper.done()
    assert holder.finished == [(taken(1).whisper_id, None)]
    with pytest.raises(Closed):
        await whisper.reply(b"yes")


async def test_what_is_let_go_goes_back_once() -> None:
    holder = Holder()
    whisper = Whisper(holder, taken(1), 1)
    whisper.let_go()
    whisper.let_go()
    assert holder.back == [taken(1).whisper_id]
    with pytest.raises(Closed):
        await whisper.reply(b"yes")
