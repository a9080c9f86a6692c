"""Which receipts a contact that whispers for days remembers."""

from __future__ import annotations

import gc

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client.delivery import known as known_file
from onionshh.client.delivery.known import KnownReceipts
from onionshh.client.receipt import Outcome, Receipt, nobody_waits, nothing_to_recall
from onionshh.core.delivery import kept
from onionshh.ids import WhisperId
from tests.client.world import hosted, small
from tests.inside import behind, inside


def name(number: int) -> WhisperId:
    return WhisperId(number.to_bytes(16, "big"))


def add(known: KnownReceipts, number: int, *, final: bool = True) -> Receipt:
    outcome = Outcome(name(number).hex())
    if final:
        outcome.conclude("delivered")
    receipt = Receipt(outcome, nobody_waits, lambda answer: None, nothing_to_recall)
    known.add(name(number), outcome, receipt)
    return receipt


def found(known: KnownReceipts, many: int) -> list[int]:
    gc.collect()
    return [number for number in range(many) if known.receipt(name(number)) is not None]


def test_where_an_outbox_lasts_the_last_ones_are_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_file, "RECENT_MOST", 4)
    known = KnownReceipts(lasts=True)
    for number in range(20):
        add(known, number)
    assert found(known, 20) == [16, 17, 18, 19]


def test_without_one_all_are_known_up_to_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known_file, "RECENT_MOST", 4)
    monkeypatch.setattr(known_file, "RECEIPTS_MOST", 10)
    known = KnownReceipts(lasts=False)
    for number in range(20):
        add(known, number)
    assert found(known, 20) == list(range(10, 20))


def test_what_is_not_final_and_what_the_program_holds_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    """And neither keeps the others."""
    monkeypatch.setattr(known_file, "RECENT_MOST", 4)
    known = KnownReceipts(lasts=True)
    add(known, 0, final=False)
    held = add(known, 1)
    for number in range(2, 30):
        add(known, number)
    kept_there = found(known, 30)
    assert kept_there[:2] == [0, 1]
    assert len(kept_there) <= 2 + 4 + 1
    assert known.receipt(name(1)) is held
    outcome = known.outcome(name(1))
    assert outcome is not None
    outcome.conclude("delivered")
    assert [receipt.id for receipt in known.pending()] == [name(0).hex()]
    known.forget(name(1))
    assert known.receipt(name(1)) is None
    assert known.outcome(name(1)) is None


@pytest.mark.parametrize("contact_name", [None, "press"])
async def test_a_contact_finds_older_receipts_on_its_disk(
    contact_name: str | None, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(known_file, "RECENT_MOST", 4)
    monkeypatch.setattr(kept, "ANSWERED_MOST", 4)
    async with small(5) as net, hosted(net) as (host, endpoint), net.join("visitor") as node:
        inside(host).nursery.start_soon(endpoint.serve, echo)
        async with node.contact(endpoint.address, name=contact_name) as contact:
            ids = []
            for number in range(12):
                receipt = contact.send(b"%d" % number)
                assert await receipt.reply() == b"%d" % number
                ids.append(receipt.id)
            for id in reversed(ids):
                again = contact.receipt(id)
                assert again is not None
                assert again.status == "delivered"
                assert await again.reply() == b"%d" % ids.index(id)


async def test_a_reply_that_comes_once_more_much_later_is_not_shown_again(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a letter that was left while the first copy was on its way, and is read after many others."""
    monkeypatch.setattr(known_file, "RECENT_MOST", 4)
    monkeypatch.setattr(kept, "ANSWERED_MOST", 4)
    async with small(5) as net, hosted(net) as (host, endpoint), net.join("visitor") as node:
        inside(host).nursery.start_soon(endpoint.serve, echo)
        async with node.contact(endpoint.address, name="press") as contact, trio.open_nursery() as nursery:
            shown: list[bytes] = []

            @nursery.start_soon
            async def iterate() -> None:
                async for whisper in contact:
                    shown.append(whisper.body)
                    await whisper.done()

            first = contact.send(b"0")
            assert await first.reply() == b"0"
            first_id = WhisperId(bytes.fromhex(first.id))
            del first
            for number in range(1, 12):
                assert await contact.ask(b"%d" % number) == b"%d" % number
            correspondence = behind(contact)
            gc.collect()
            assert correspondence.folder is not None
            stored = correspondence.folder.outbox.find(first_id)
            assert stored is not None
            assert stored.answer is not None
            assert correspondence.sessions is not None
            session = correspondence.sessions.current
            assert session is not None
            with trio.move_on_after(60):
                await correspondence.mailed(session, stored.answer)
            await trio.sleep(30)
            assert shown == []
            nursery.cancel_scope.cancel()


async def echo(whisper: onionshh.Whisper) -> bytes:
    return whisper.body
