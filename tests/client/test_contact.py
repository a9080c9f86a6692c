"""A contact as a program sees it: its address, what it takes, and what it says while nobody answers."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client.contact import Contact
from onionshh.core.delivery import sender
from onionshh.crypto.identity import IdentityKeys
from onionshh.errors import Away, BadAddress, Closed, Full, NotDelivered
from tests.client.world import hosted, small, until
from tests.seeded import seeded

ADDRESS = IdentityKeys.generate(seeded(7)).address


async def test_a_contact_has_its_address_in_the_one_form(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join() as node:
        for pasted in (ADDRESS, f" <shh://{ADDRESS.upper()}>,\n", ADDRESS.capitalize()):
            async with node.contact(pasted) as contact:
                assert contact.address == ADDRESS
        with pytest.raises(BadAddress, match="which is at place 10"):
            node.contact(f"{ADDRESS[:9]}i{ADDRESS[10:]}")


async def test_a_program_can_look_at_a_contact_and_change_nothing(autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join() as node, node.contact(ADDRESS) as contact:
        for name in ("address", "problem"):
            with pytest.raises(AttributeError):
                setattr(contact, name, "another")
        assert contact.problem == ""


async def test_a_contact_that_was_never_entered_wishes_for_no_circuits(autojump_clock: MockClock) -> None:
    async with small(5, interval_seconds=300) as net, net.join() as node:
        before = len(node.circuits())
        node.contact(ADDRESS).close()
        await trio.sleep(30)
        only_its_own = {one.purpose for one in node.circuits()}
        assert only_its_own <= {"ready", "consensus"}
        async with node.contact(ADDRESS):
            await until(lambda: len(node.circuits()) > before + 4)
        await until(lambda: len(node.circuits()) <= before + 4)


async def test_what_has_no_room_waits_with_put_and_is_refused_with_send(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sender, "WAITING_MOST", 2)
    async with small(4) as net, net.join() as node, node.contact(ADDRESS) as contact:
        first = contact.send(b"1", ttl_seconds=10)
        contact.send(b"2", ttl_seconds=50)
        with pytest.raises(Full, match="wait already"):
            contact.send(b"3")
        started = trio.current_time()
        third = await contact.put(b"3", ttl_seconds=20)
        assert trio.current_time() - started == pytest.approx(10, abs=0.1)
        assert first.status == "expired"
        assert (await third.final()).status == "expired"


@pytest.mark.parametrize("unless_away, waits", [(True, 15), (False, 60)])
async def test_a_question_may_end_as_soon_as_nobody_is_there(
    unless_away: bool, waits: float, autojump_clock: MockClock
) -> None:
    async with small(5) as net, net.join() as node, node.contact(ADDRESS) as contact:
        started = trio.current_time()
        with pytest.raises(Away if unless_away else NotDelivered, match="no endpoint is published") as caught:
            await contact.ask(b"anybody?", timeout_seconds=60, ttl_seconds=600, unless_away=unless_away)
        took = trio.current_time() - started
        assert took <= waits
        assert (took == 60) != unless_away
        assert caught.value.status == "queued"


@pytest.mark.parametrize("timeout", [0, -1, float("nan")])
async def test_a_question_needs_time(timeout: float, autojump_clock: MockClock) -> None:
    async with small(4) as net, net.join() as node, node.contact(ADDRESS) as contact:
        with pytest.raises(ValueError, match="timeout_seconds"):
            await contact.ask(b"x", timeout_seconds=timeout)


async def test_before_and_after_its_block_a_contact_takes_nothing(autojump_clock: MockClock) -> None:
    async def refuses(contact: Contact) -> None:
        with pytest.raises(Closed, match="not open"):
            contact.send(b"x")
        for wait in (contact.whisper, contact.put, contact.ask):
            with pytest.raises(Closed, match="not open"):
                await wait(b"x")

    async with small(4) as net, net.join() as node:
        contact = node.contact(ADDRESS)
        await refuses(contact)
        async with contact:
            receipt = contact.send(b"x")
        await refuses(contact)
        assert (receipt.status, receipt.why) == ("failed", "the contact was closed before a receipt came")
        with pytest.raises(Closed, match="entered once"):
            await contact.__aenter__()
        contact.close()  # once more is harmless


async def test_nothing_is_taken_on_before_the_block_has_begun(autojump_clock: MockClock) -> None:
    """A whisper that was sent while the block was being entered was never tried."""
    async with small() as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        contact = visitor.contact(endpoint.address)
        receipts: list[onionshh.Receipt] = []

        async def as_soon_as_possible() -> None:
            while not receipts:
                with suppress(onionshh.Closed):
                    receipts.append(contact.send(b"early"))
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(as_soon_as_possible)
            await trio.sleep(0)
            async with contact:
                with trio.fail_after(60):
                    while not receipts or receipts[0].status != "delivered":
                        await trio.sleep(0.1)
