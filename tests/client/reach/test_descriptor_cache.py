"""A descriptor is fetched once for all contacts of a node, and again when it leads nowhere (SPEC 10)."""

from __future__ import annotations

import pytest
import trio

from onionshh.client.context import Context
from onionshh.client.reach import descriptor_cache, finder
from onionshh.client.reach.descriptor_cache import CheckedDescriptor
from onionshh.client.reach.finder import find
from onionshh.crypto.identity import decode_address_untrusted
from tests.client.world import hosted, small
from tests.inside import inside


async def test_contacts_share_what_was_fetched(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetched = 0

    async def counted(context: Context, address_key: bytes) -> CheckedDescriptor:
        nonlocal fetched
        fetched += 1
        return await find(context, address_key)

    monkeypatch.setattr(finder, "find", counted)
    async with small() as net, hosted(net) as (_, endpoint), net.join() as visitor:
        for _ in range(3):
            async with visitor.contact(endpoint.address) as contact:
                assert (await contact.whisper(b"hello")).status == "delivered"
        assert fetched == 1
        inside(visitor).descriptors.forget(decode_address_untrusted(endpoint.address))
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"
        assert fetched == 2


async def test_what_leads_nowhere_is_fetched_anew(autojump_clock: trio.testing.MockClock) -> None:
    """The endpoint lost its keys and made others: the visitor's second try knows them."""
    async with small() as net, net.join("visitor") as visitor:
        async with hosted(net, "first") as (_, endpoint), visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello")).status == "delivered"
        async with hosted(net, "second") as (_, endpoint), visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"hello again")).status == "delivered"


async def test_not_without_end(
    autojump_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(descriptor_cache, "DESCRIPTORS_MOST", 1)
    async with small() as net, net.join() as visitor, hosted(net) as (host, one):
        async with host.host(net.folder / "other", introducers=2) as other:
            await other.reachable()
            for endpoint in (one, other, one):
                async with visitor.contact(endpoint.address) as contact:
                    assert (await contact.whisper(b"hello")).status == "delivered"
        assert len(inside(visitor).descriptors) == 1
