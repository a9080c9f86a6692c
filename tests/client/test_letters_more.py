"""Letters of several kinds of senders and endpoints. Whole networks in virtual time."""

from __future__ import annotations

import trio
from trio.testing import MockClock

from onionshh.client.endpoint import Endpoint
from onionshh.wire import mailbox as w
from tests.client.letterworld import (
    HOUR,
    HOURS,
    SHORT,
    Post,
    again,
    away,
    slowly,
    status_of,
    stored,
    waits_for,
)
from tests.client.mail.postal import Bent, bend
from tests.client.world import hosted, small
from tests.inside import behind, parts, seeds_of

COUNT = 12
RUNS = 18
"""More than the sessions that a contact keeps."""


async def known(post: Post, name: str) -> None:
    """This contact has a session with the endpoint."""
    async with post.node.contact(post.address, name=name) as contact:
        receipt = contact.send(b"met")
        assert await status_of(receipt) == "delivered"
        assert contact.session is not None
        await trio.sleep(10)


async def test_who_has_a_session_is_the_same_peer_by_letter(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.returned():
            await known(post, "press")
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=SHORT)
            await stored(receipt, copies=4)
        async with post.returned() as endpoint:
            await waits_for(lambda: len(post.shown) == 2)
            assert post.shown[0].peer == post.shown[1].peer
            assert len(endpoint.peers()) == 1
            assert (post.shown[1].id, post.shown[1].waited) == (receipt.id, True)


async def test_who_was_forgotten_is_a_stranger_whose_letter_arrives(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.returned():
            await known(post, "press")
            peer = post.shown[0].peer
            assert peer is not None
            await peer.forget()
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=3 * HOUR)
            await stored(receipt, copies=4)
        async with post.returned():
            await waits_for(lambda: len(post.shown) == 2)
            async with post.node.contact(post.address, name="press") as contact:
                assert await status_of(again(contact, receipt)) == "delivered"
        assert [whisper.id for whisper in post.shown[1:]] == [receipt.id]


async def test_many_letters_of_one_contact_are_one_peers(autojump_clock: MockClock) -> None:
    """More than one page of an inbox, and more receipts than one deposit for each."""
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            sent = [contact.send(b"%d" % number, ttl_seconds=2 * HOUR) for number in range(COUNT)]
            for receipt in sent:
                await stored(receipt, copies=4, seconds=HOUR)
        async with post.returned() as endpoint:
            await waits_for(lambda: len(post.shown) == COUNT)
            assert len(endpoint.peers()) == 1
            await waits_for(lambda: post.items == 4)  # one deposit has all receipts
            await trio.sleep(120)
        async with post.node.contact(post.address, name="press") as contact:
            for receipt in sent:
                assert await status_of(again(contact, receipt)) == "delivered"
            await waits_for(lambda: not post.items)
        assert {whisper.id for whisper in post.shown} == {receipt.id for receipt in sent}
        assert len(post.shown) == COUNT


async def test_strangers_remain_strangers_to_each_other(autojump_clock: MockClock) -> None:
    async with away() as post:
        for body in (b"one", b"two"):
            async with post.node.contact(post.address) as contact:
                await stored(contact.send(body, ttl_seconds=SHORT))
        async with post.returned():
            await waits_for(lambda: len(post.shown) == 2)
            one, two = (whisper.peer for whisper in post.shown)
            assert one != two


class Hoarder:
    """A relay that erases nothing, and shows everything again to whoever may read."""

    def __init__(self, bent: Bent) -> None:
        self._puts: dict[bytes, w.Put] = {}
        bent.on_put, bent.on_list = self._put, self._list
        self.lists = 0

    def _put(self, put: w.Put) -> w.Kept | None:
        if put.value:
            self._puts.setdefault(put.item_id, put)
        return w.Kept(w.STORED)

    def _list(self, asked: w.List) -> w.Items | None:
        self.lists += 1
        mine = [
            (number, put)
            for number, put in enumerate(self._puts.values(), 1)
            if put.mailbox == asked.mailbox and number > asked.after
        ]
        if asked.mode == w.HEADS:
            heads = tuple(w.Head(put.item_id, number, put.expires) for number, put in mine)
            return w.Items(w.STORED, heads[-1].number if heads else asked.after, (), heads)
        items = tuple(
            w.Item(put.item_id, put.expires, put.revision, put.signature, put.value) for _, put in mine[:3]
        )
        return w.Items(w.STORED, mine[: len(items)][-1][0] if items else asked.after, items)


async def test_relays_that_erase_nothing_bring_nothing_twice(autojump_clock: MockClock) -> None:
    async with away() as post:
        hoarders = [Hoarder(bent) for bent in bend(post.net).values()]
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
            await stored(receipt, copies=4)
        for _ in range(3):
            async with post.returned(replies=True):
                await trio.sleep(1800)
        async with post.node.contact(post.address, name="press") as contact:
            with trio.fail_after(2 * HOUR):
                assert await again(contact, receipt).reply() == b"HELLO"
            shown: list[bytes] = []

            async def listen() -> None:
                async for whisper in contact:
                    shown.append(whisper.body)
                    await whisper.done()

            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                await trio.sleep(HOUR)
                nursery.cancel_scope.cancel()
            assert shown == []
        assert [whisper.id for whisper in post.shown] == [receipt.id]
        assert sum(hoarder.lists for hoarder in hoarders) > 20


async def read_silently(endpoint: Endpoint, bodies: list[bytes]) -> None:
    async for whisper in endpoint:
        bodies.append(whisper.body)
        await whisper.done()


async def test_stored_is_sent_for_an_endpoint_that_sends_no_receipts(autojump_clock: MockClock) -> None:
    bodies: list[bytes] = []
    with slowly(30.0):
        async with small(8, **HOURS) as net, net.join("host") as host:
            async with host.host(net.folder / "identity", introducers=2, receipts=False) as endpoint:
                with trio.fail_after(120):
                    await endpoint.reachable()
                address = endpoint.address
            async with net.join("visitor") as visitor, visitor.contact(address) as contact:
                receipt = contact.send(b"hello", ttl_seconds=SHORT)
                assert await status_of(receipt, 600) == "sent"
                await waits_for(lambda: receipt.copies == (4, 4), 600)
            async with (
                host.host(net.folder / "identity", introducers=2, receipts=False) as endpoint,
                trio.open_nursery() as nursery,
            ):
                nursery.start_soon(read_silently, endpoint, bodies)
                await trio.sleep(1800)
                nursery.cancel_scope.cancel()
            assert bodies == [b"hello"]


async def test_receipts_for_an_endpoint_that_never_left_make_no_letter(autojump_clock: MockClock) -> None:
    """What is delivered at once leaves nothing anywhere."""
    with slowly(30.0):
        async with (
            small(8, **HOURS) as net,
            hosted(net) as (_, endpoint),
            net.join("visitor") as visitor,
            visitor.contact(endpoint.address) as contact,
        ):
            post = Post(net, endpoint.address, visitor)
            receipt = contact.send(b"hello", ttl_seconds=SHORT)
            assert await status_of(receipt, 60) == "delivered"
            await trio.sleep(HOUR)
            mail = behind(contact).mail
            assert mail is not None
            assert (post.items, receipt.copies, parts(endpoint).peers.post.owed) == (0, (0, 4), 0)


async def heard(post: Post, seconds: float) -> list[tuple[bytes, str, bool]]:
    """What the named contact is shown in a run of so many seconds."""
    shown = []
    async with post.node.contact(post.address, name="press") as contact, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def listen() -> None:
            async for whisper in contact:
                shown.append((whisper.body, whisper.in_reply_to, whisper.waited))
                await whisper.done()

        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()
    return shown


async def test_a_reply_that_nobody_waits_for_is_shown_once_from_the_mailbox(
    autojump_clock: MockClock,
) -> None:
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
            await stored(receipt, copies=4)
        async with post.returned(replies=True):
            await waits_for(lambda: post.items == 4 and bool(post.shown))
            await trio.sleep(120)
        assert await heard(post, 2 * HOUR) == [(b"HELLO", receipt.id, True)]
        assert await heard(post, HOUR) == []


async def test_a_reply_by_mail_and_live_is_shown_once(autojump_clock: MockClock) -> None:
    async with away() as post:
        async with post.node.contact(post.address, name="press") as contact:
            receipt = contact.send(b"hello", ttl_seconds=6 * HOUR)
            await stored(receipt, copies=4)
        async with post.returned(replies=True):
            await waits_for(lambda: post.items == 4 and bool(post.shown))
            await trio.sleep(120)
            shown = await heard(post, 2 * HOUR)
            assert [(body, whisper) for body, whisper, _ in shown] == [(b"HELLO", receipt.id)]
            await waits_for(lambda: not post.items)
            assert await heard(post, HOUR) == []
        assert len(post.shown) == 1


async def test_each_run_may_leave_a_letter_of_its_own(autojump_clock: MockClock) -> None:
    """As with a program that is run for each whisper. Both ends are never there together."""
    async with away() as post:
        sent = []
        for number in range(RUNS):
            async with post.node.contact(post.address, name="press") as contact:
                sent.append(contact.send(b"%d" % number, ttl_seconds=6 * HOUR))
                await stored(sent[-1])
        async with post.returned() as endpoint:
            await waits_for(lambda: len(post.shown) == RUNS)
            assert len(endpoint.peers()) == 1
            await trio.sleep(300)
        async with post.node.contact(post.address, name="press") as contact:
            for receipt in sent:
                assert await status_of(again(contact, receipt)) == "delivered"
            assert await seeds_of(contact).load() is None
        assert sorted(post.bodies) == sorted(b"%d" % number for number in range(RUNS))
