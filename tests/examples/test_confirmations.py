"""A source and a journalist exchange confirmations, and are never there at the same time."""

from __future__ import annotations

import json

import trio
from trio.testing import MockClock

from tests.client.letterworld import HOUR, HOURS, slowly
from tests.client.world import small
from tests.examples import confirmations

CHECKED = {"the invoice is of May": "yes", "it was paid twice": "no"}


async def test_claims_are_confirmed_and_the_last_one_leads_elsewhere(autojump_clock: MockClock) -> None:
    with slowly(30.0):
        async with small(8, **HOURS) as net:
            async with net.join("desk") as desk, desk.host(net.folder / "identity") as endpoint:
                address = endpoint.address
                await endpoint.reachable()
                await trio.sleep(60)
            async with net.join("source") as node, node.contact(address, name="desk") as contact:
                first = await confirmations.claim(contact, "the invoice is of May")
                last = await confirmations.claim(contact, "it was paid twice", last=True)
                assert (first.status, last.status) == ("stored", "stored")
                for junk in (b"not json", b"[" * 60_000, b'{"claim": 1}', b"[]"):
                    await contact.send(junk, ttl_seconds=HOUR).stored()
                await trio.sleep(300)
            async with net.join("desk") as desk, desk.host(net.folder / "identity") as endpoint:
                found = await confirmations.confirm(endpoint, CHECKED, HOUR)
                assert len(found) == 1
            async with net.join("source") as node, node.contact(address, name="desk") as contact:
                answers = {}
                for receipt in [one for one in contact.pending() if one.id in (first.id, last.id)]:
                    with trio.fail_after(2 * HOUR):
                        reply = await receipt.reply()
                    assert reply is not None
                    answers[receipt.id] = (receipt, json.loads(reply))
                assert answers[first.id][1] == {"answer": "yes"}
                receipt, answer = answers[last.id]
                assert answer["answer"] == "no"
                assert confirmations.handed_over(*answers[first.id]) is None
                assert confirmations.handed_over(receipt, answer) == found[0]
                assert found[0].key not in repr(found[0]).encode()
