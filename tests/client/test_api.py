"""The Python API as a program uses it: many endpoints and contacts in one node, many tasks on each."""

from __future__ import annotations

import gc
from collections import Counter
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.core.base.classes import CLASSES
from onionshh.core.base.params import Params
from onionshh.core.circuit.conversation import Conversation
from onionshh.core.delivery import inbox, sender
from onionshh.crypto.identity import IdentityKeys
from onionshh.reasons import Reason
from tests.client.delivery.test_joined import of_visitor
from tests.client.world import WALL, Disk, Stranger, echo, hosted, hosted_on, small, until
from tests.inside import parts
from tests.seeded import seeded

QUIET = dict(interval_seconds=300)
NOBODY = IdentityKeys.generate(seeded(99)).address


async def test_several_endpoints_and_contacts_in_one_node(autojump_clock: MockClock) -> None:
    """Also a node that whispers to itself."""
    async with small(5, **QUIET) as net, net.join() as one, net.join() as two:
        async with (
            one.host(net.folder / "a", introducers=2) as a,
            one.host(str(net.folder / "b"), introducers=2) as b,
            two.host(IdentityKeys.generate(seeded(5)), introducers=2) as c,
            trio.open_nursery() as nursery,
        ):
            endpoints = {"a": a, "b": b, "c": c}
            assert len({endpoint.address for endpoint in endpoints.values()}) == 3
            for name, endpoint in endpoints.items():
                assert endpoint.address.startswith("shh1")
                assert len(endpoint.address) == 63

                async def serve(name: str = name, endpoint: onionshh.Endpoint = endpoint) -> None:
                    async for whisper in endpoint:
                        await whisper.reply(name.encode() + whisper.body)

                nursery.start_soon(serve)
                await endpoint.reachable()
            for node in (one, two):
                async with (
                    node.contact(a.address) as to_a,
                    node.contact(b.address, privacy="flash") as to_b,
                    node.contact(c.address, hops=0) as to_c,
                    node.contact(a.address, privacy="talk", hops=1) as to_a_again,
                ):
                    for contact, name in ((to_a, "a"), (to_b, "b"), (to_c, "c"), (to_a_again, "a")):
                        assert contact.address == endpoints[name].address
                        assert await contact.ask(b" says hello") == name.encode() + b" says hello"
            nursery.cancel_scope.cancel()


async def test_each_whisper_goes_to_one_of_the_tasks(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        got: dict[int, list[bytes]] = {1: [], 2: [], 3: []}

        async def read(number: int) -> None:
            async for whisper in endpoint:
                got[number].append(whisper.body)
                await trio.sleep(0.1)

        async with trio.open_nursery() as nursery:
            for number in got:
                nursery.start_soon(read, number)
            async with visitor.contact(endpoint.address) as contact:
                sent = [contact.send(b"%d" % number) for number in range(30)]
                for one in sent:
                    await one.final()
            await trio.sleep(5)
            nursery.cancel_scope.cancel()
        assert Counter(body for bodies in got.values() for body in bodies) == Counter(
            b"%d" % number for number in range(30)
        )
        assert all(len(bodies) >= 5 for bodies in got.values())
        for bodies in got.values():
            assert bodies == sorted(bodies, key=int)  # the oldest first


async def test_reply_and_done(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            iteration = aiter(endpoint)

            # A reply finishes: no second one, and done() is then nothing.
            receipt = contact.send(b"one")
            whisper = await anext(iteration)
            assert len(whisper.id) == 32
            assert abs(whisper.received_at - net.clock.wall()) <= 2
            assert "one" not in repr(whisper)
            answered = await whisper.reply(b"answer")
            with pytest.raises(onionshh.Closed, match="finished already"):
                await whisper.reply(b"second answer")
            await whisper.done()
            assert await receipt.reply() == b"answer"
            assert (await answered.final()).status == "delivered"
            assert whisper.id == receipt.id

            # done() finishes without an answer, as often as one likes.
            receipt = contact.send(b"two")
            whisper = await anext(iteration)
            await whisper.done()
            await whisper.done()
            with pytest.raises(onionshh.Closed):
                await whisper.reply(b"too late")
            assert (await receipt.final()).status == "delivered"
            with trio.move_on_after(20) as nothing:
                await receipt.reply()
            assert nothing.cancelled_caught

            # Asking for the next finishes the last; a new iteration shows only what is not finished.
            for body in (b"three", b"four"):
                await contact.whisper(body)
            three = await anext(iteration)
            assert (three.body, len(parts(endpoint).peers.receiving.receiver.inbox)) == (b"three", 2)
            four = await anext(iteration)
            assert (four.body, len(parts(endpoint).peers.receiving.receiver.inbox)) == (b"four", 1)
            with pytest.raises(onionshh.Closed):
                await three.reply(b"too late")
            with trio.move_on_after(5) as nothing:
                await anext(aiter(endpoint))  # it is shown to somebody already
            assert nothing.cancelled_caught
            await four.done()
            assert len(parts(endpoint).peers.receiving.receiver.inbox) == 0


async def test_a_whisper_nobody_holds_any_more_is_shown_again(autojump_clock: MockClock) -> None:
    """A task that ended without finishing its whisper does not take it along."""
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            receipt = await contact.whisper(b"hello")
            async for whisper in endpoint:
                assert whisper.id == receipt.id
                break
            del whisper
            with trio.fail_after(5):
                again = await anext(aiter(endpoint))
            assert (again.id, again.body) == (receipt.id, b"hello")


async def test_what_a_receipt_tells(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        assert net.memory is not None
        async with visitor.contact(endpoint.address, hops=2) as contact:
            before = trio.current_time()
            receipt = contact.send(b"hello")
            assert trio.current_time() == before
            assert (receipt.status, receipt.why, receipt.hops, receipt.is_final) == (
                "queued",
                "",
                None,
                False,
            )
            assert (receipt.connect_seconds, receipt.round_trip_seconds) == (None, None)
            assert len(bytes.fromhex(receipt.id)) == 16
            assert (await receipt.final()) is receipt
            assert (receipt.status, receipt.why, receipt.hops, receipt.is_final) == ("delivered", "", 2, True)
            assert receipt.connect_seconds is not None
            assert receipt.round_trip_seconds is not None
            assert 0 <= receipt.connect_seconds < 5
            assert 0 <= receipt.round_trip_seconds < 5

            # While the endpoint cannot answer it has been sent, and no more is known.
            net.memory.cut("host")
            await trio.sleep(1)
            receipt = contact.send(b"hello again", ttl_seconds=600)
            await trio.sleep(40)
            assert receipt.status in ("queued", "sent")
            assert receipt.why
            net.memory.heal("host")
            await receipt.final()
            assert (receipt.status, receipt.why) == ("delivered", "")
            assert receipt.round_trip_seconds is not None
            assert "hello" not in repr(receipt)
            assert contact.problem == ""


async def test_sent_at_once_over_a_circuit_that_is_there_then_delivered(autojump_clock: MockClock) -> None:
    disk = Disk()
    async with (
        small(5, **QUIET) as net,
        net.join("visitor") as visitor,
        hosted_on(net, disk) as (_, endpoint),
    ):
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"first")).status == "delivered"
            disk.hold()  # so that no receipt comes yet
            receipt = contact.send(b"hello")
            seen = [receipt.status]
            await trio.sleep(2)
            seen.append(receipt.status)
            disk.release()
            await receipt.final()
            seen.append(receipt.status)
            assert seen == ["sent", "sent", "delivered"]
            # The receipt left only after the whisper was on disk, and that took its time.
            assert receipt.round_trip_seconds is not None
            assert receipt.round_trip_seconds >= 2


async def test_at_most_so_many_wait(autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sender.WAITING_MOST == 1024
    monkeypatch.setattr(sender, "WAITING_MOST", 5)
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            taken = [contact.send(b"x") for _ in range(5)]
            with pytest.raises(onionshh.Full, match="wait already"):
                contact.send(b"one too many")
            for receipt in taken:
                assert (await receipt.final()).status == "delivered"
            assert (await contact.whisper(b"there is room again")).status == "delivered"


async def test_the_circuits_of_a_node(autojump_clock: MockClock) -> None:
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (node, endpoint):
        nicknames = {one.id: one.about.nickname for one in net.relays}
        async with visitor.contact(endpoint.address, hops=3) as contact:
            await contact.whisper(b"hello")
            await trio.sleep(5)
            circuits = visitor.circuits()
            for one in circuits:
                assert one.path == tuple(nicknames[relay] for relay in one.relays)
                assert len(set(one.relays)) == len(one.relays)
                assert 0 <= one.age_seconds < 60
                assert one.reveals
            assert [one.age_seconds for one in circuits] == sorted(
                (one.age_seconds for one in circuits), reverse=True
            )
            assert {one.purpose for one in circuits} == {"rendezvous", "ready"}
            assert [len(one.path) for one in circuits if one.purpose == "rendezvous"] == [4]
        assert {one.purpose for one in node.circuits()} >= {"introducer", "answer", "ready"}
        assert [len(one.path) for one in node.circuits() if one.purpose == "answer"] == [4]


async def test_the_hops_of_a_class_are_drawn_for_each_path(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        for name, chosen in CLASSES.items():
            seen: set[int | None] = set()
            for _ in range(40):  # all alike by chance: once in 2^39
                if len(seen) == len(chosen.hops):
                    break
                async with visitor.contact(endpoint.address, privacy=name) as contact:
                    seen.add((await contact.whisper(b"hello")).hops)
            assert seen == set(chosen.hops)


async def test_the_error_of_a_block_comes_out_as_it_was_raised(autojump_clock: MockClock) -> None:
    class Mine(Exception):
        pass

    async with small(4, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        with pytest.raises(Mine) as caught:
            async with visitor.contact(endpoint.address) as contact:
                contact.send(b"hello")
                raise Mine("contact")
        assert str(caught.value) == "contact"
        with pytest.raises(Mine, match="host"):
            async with visitor.host(net.folder / "other", introducers=1) as other:
                await other.reachable()
                raise Mine("host")
        with pytest.raises(Mine, match="join"):
            async with net.join() as node:
                async with node.contact(endpoint.address) as contact:
                    await contact.whisper(b"hello")
                    raise Mine("join")
    with pytest.raises(Mine, match="network"):
        async with small(3) as net:
            raise Mine("network")
    with pytest.raises(Mine, match="all"):
        async with testing.network(4, wall_start=WALL, seed=1) as net:
            async with net.join() as node, node.host(net.folder / "identity", introducers=1):
                async with node.contact(NOBODY):
                    raise Mine("all")


async def test_a_full_inbox_stops_the_visitor_and_lets_it_go_on(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What does not fit is not acknowledged: the visitor waits, and loses nothing."""
    monkeypatch.setattr(inbox, "WHISPERS_MOST", 3)
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            receipts = [contact.send(b"%d" % number, ttl_seconds=3600) for number in range(8)]
            await until(lambda: sum(one.is_final for one in receipts) == 3, 60)
            await trio.sleep(100)
            assert sum(one.is_final for one in receipts) == 3
            async with trio.open_nursery() as nursery:
                nursery.start_soon(echo, endpoint)
                with trio.fail_after(600):
                    for receipt in receipts:
                        assert (await receipt.final()).status == "delivered"
                nursery.cancel_scope.cancel()


async def test_two_visitors_at_once_get_their_own_answers(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join() as one, net.join() as two, hosted(net) as (_, endpoint):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(echo, endpoint)
            async with one.contact(endpoint.address) as first, two.contact(endpoint.address) as second:

                async def ask(contact: onionshh.Contact, name: bytes) -> None:
                    for number in range(10):
                        body = name + b"%d" % number
                        assert await contact.ask(body) == body

                async with trio.open_nursery() as asking:
                    for contact, name in ((first, b"one "), (second, b"two "), (first, b"three ")):
                        asking.start_soon(ask, contact, name)
            nursery.cancel_scope.cancel()


async def test_an_endpoints_introducers_do_not_learn_its_other_ones_keys(autojump_clock: MockClock) -> None:
    """Endpoints of one node share nothing that a relay sees: keys of their own at each introducer."""
    async with small(4, **QUIET) as net, net.join("visitor") as visitor, net.join() as node:
        async with node.host(net.folder / "a") as a, node.host(net.folder / "b") as b:
            keys = []
            for endpoint in (a, b):
                await endpoint.reachable()
                found = await Stranger(visitor, endpoint.address).find()
                keys += [one.auth_key for one in found.descriptor.introducers]
                keys += [found.descriptor.rendezvous_key, found.descriptor.seal_key]
            assert len(set(keys)) == len(keys)


async def test_a_background_contact_leaves_room_on_the_way(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At most a quarter of the window is under way, from the first whisper on and over every new circuit."""
    most: dict[int, int] = {}
    sent = Conversation.sent

    def watched(self: Conversation, tag: bytes) -> None:
        sent(self, tag)
        most[id(self)] = max(most.get(id(self), 0), self.unacknowledged_cells)

    monkeypatch.setattr(Conversation, "sent", watched)
    bulk = bytes(60_000)
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        for background, expected in ((True, Params().window // 4), (False, Params().window)):
            async with visitor.contact(endpoint.address, background=background) as contact:
                for _ in range(2):
                    most.clear()
                    receipts = [contact.send(bulk) for _ in range(8)]
                    with trio.fail_after(60):
                        assert {(await one.final()).status for one in receipts} == {"delivered"}
                    assert max(most.values()) == expected
                    exchange = of_visitor(contact)
                    assert exchange is not None
                    exchange.close(Reason.CLOSED)


async def test_what_a_program_let_go_is_offered_to_another_that_waits(autojump_clock: MockClock) -> None:
    async with small() as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        shown: list[bytes] = []

        async def fails() -> None:
            with suppress(KeyError):
                async for _ in endpoint:
                    await trio.sleep(5)
                    raise KeyError

        async def works() -> None:
            await trio.sleep(0.1)
            async for whisper in endpoint:
                shown.append(whisper.body)
                await whisper.done()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            nursery.start_soon(works)
            await trio.sleep(1)
            async with visitor.contact(endpoint.address) as contact:
                await contact.whisper(b"one")
                await trio.sleep(10)
                gc.collect()
                await trio.sleep(1)
            assert shown == [b"one"]
            nursery.cancel_scope.cancel()
