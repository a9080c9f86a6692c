"""What a contact that whispers for days remembers of what is over."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

import onionshh
from onionshh.client.delivery import sending
from onionshh.core.delivery import kept
from tests.client.world import hosted, small
from tests.inside import inside


@pytest.mark.parametrize("name", [None, "press"])
async def test_few_whispers_that_are_over_stay_in_memory(
    name: str | None, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A contact with a name finds the others on its disk. Without one its receipts are all there is."""
    monkeypatch.setattr(sending, "RECENT_MOST", 4)
    monkeypatch.setattr(kept, "ANSWERED_MOST", 4)
    async with small(5) as net, hosted(net) as (host, endpoint), net.join("visitor") as node:
        inside(host).nursery.start_soon(endpoint.serve, echo)
        async with node.contact(endpoint.address, name=name) as contact:
            sent = []
            for number in range(12):
                receipt = contact.send(b"%d" % number)
                assert await receipt.reply() == b"%d" % number
                sent.append(receipt)
            found = [contact.receipt(receipt.id) for receipt in reversed(sent)][::-1]
            assert [one is not None and one.status for one in found] == ["delivered"] * 12
            assert [one is receipt for one, receipt in zip(found, sent, strict=True)] == (
                [True] * 12 if name is None else [False] * 8 + [True] * 4
            )
            again = found[0]
            assert again is not None
            assert await again.reply() == b"0"


async def echo(whisper: onionshh.Whisper) -> bytes:
    return whisper.body
