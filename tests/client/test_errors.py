"""What goes wrong is told in one error or one sentence, and nothing is done in a weaker way instead."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpcore
import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from onionshh.client.hosting.hosting import DATABASE_FILE
from onionshh.core.base.patience import RENDEZVOUS_SECONDS
from onionshh.crypto.identity import IdentityKeys
from onionshh.net.authority_client import HttpSource
from onionshh.net.clocks import Clock
from tests.client.hostile import HostileIntroducer, mount
from tests.client.world import WALL, hosted, small
from tests.inside import inside, parts
from tests.seeded import seeded

NOBODY = IdentityKeys.generate(seeded(99)).address
QUIET = dict(interval_seconds=60)


async def test_no_such_endpoint_and_an_endpoint_that_is_silent_are_told_apart(
    autojump_clock: MockClock,
) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor:
        async with visitor.contact(NOBODY) as contact:
            started = trio.current_time()
            receipt = await contact.whisper(b"hello", ttl_seconds=600)
            assert (receipt.status, receipt.hops, receipt.round_trip_seconds) == ("expired", None, None)
            assert trio.current_time() - started == pytest.approx(600)  # it may be about to start
            assert receipt.why.startswith("no endpoint is published under this address")
            assert contact.problem == receipt.why
            with pytest.raises(onionshh.NotDelivered, match="no endpoint is published") as caught:
                await contact.ask(b"hello")
            assert caught.value.status in ("queued", "expired")  # both end at that moment
            assert caught.value.why == receipt.why

        async with hosted(net) as (_, endpoint):
            for running in net.relays:  # each says that it passes introductions on, and does not
                mount(running, HostileIntroducer(running))
            async with visitor.contact(endpoint.address) as contact:
                receipt = await contact.whisper(b"hello", ttl_seconds=4 * RENDEZVOUS_SECONDS)
                assert (receipt.status, receipt.why) == (
                    "expired",
                    "the endpoint is there, but does not answer",
                )
                with pytest.raises(onionshh.NotDelivered, match="does not answer") as caught:
                    await contact.ask(b"hello", timeout_seconds=2 * RENDEZVOUS_SECONDS)
                assert "does not answer" in caught.value.why


async def test_a_whisper_that_is_answered_too_late_expires_on_time(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        assert net.memory is not None
        async with visitor.contact(endpoint.address) as contact:
            net.memory.cut("host")
            for ttl in (0.5, 30.0):
                started = trio.current_time()
                receipt = await contact.whisper(b"hello", ttl_seconds=ttl)
                assert receipt.status == "expired"
                assert receipt.why
                assert trio.current_time() - started == pytest.approx(ttl, abs=0.01)


async def test_an_endpoint_that_gives_no_reply(autojump_clock: MockClock) -> None:
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            with pytest.raises(onionshh.NotDelivered, match="no reply came in time") as caught:
                await contact.ask(b"hello", timeout_seconds=5)
            assert caught.value.status == "delivered"


async def test_hops_that_cannot_be_had_fail_with_the_number_of_relays_it_takes(
    autojump_clock: MockClock,
) -> None:
    """Never fewer than asked for: nothing is sent at all."""
    async with small(3, **QUIET) as net, net.join("visitor") as visitor, net.join() as node:
        async with (
            node.host(net.folder / "identity", introducers=1) as endpoint,
            visitor.contact(endpoint.address, hops=3) as contact,
        ):
            await trio.sleep(30)
            assert endpoint.reachability.why == "a path takes 4 relays, and the network has 3"
            receipt = await contact.whisper(b"hello")
            assert (receipt.status, receipt.hops) == ("failed", None)
            assert receipt.why.startswith("the path needs 4 relays, but no more than 3 of those known fit")
            with pytest.raises(onionshh.NotDelivered, match="needs 4 relays"):
                await contact.ask(b"hello")
            assert "rendezvous" not in {one.purpose for one in visitor.circuits()}
            assert len(parts(endpoint).peers.receiving.receiver.inbox) == 0


async def test_waiting_for_a_reply_that_no_path_can_bring_costs_nothing(autojump_clock: MockClock) -> None:
    """The network shrinks under a conversation: the wait goes on, at leisure, until it has grown again."""
    async with (
        small(4, interval_seconds=5) as net,
        net.join("visitor") as visitor,
        hosted(net) as (_, endpoint),
    ):
        async with visitor.contact(endpoint.address, hops=3) as contact:
            answers: list[bytes | None] = []

            async def wait() -> None:
                answers.append(await receipt.reply())

            receipt = await contact.whisper(b"question")
            async with trio.open_nursery() as nursery:
                nursery.start_soon(wait)
                await net.relays[0].stop()
                await trio.sleep(60)
                assert "needs 4 relays" in contact.problem
                assert not answers
                await net.add_relay()
                await net.settled()
                whisper = await anext(aiter(endpoint))
                await whisper.reply(b"answer")
                with trio.fail_after(200):
                    while not answers:
                        await trio.sleep(1)
            assert answers == [b"answer"]


async def test_a_network_too_small_for_any_introduction_says_so(autojump_clock: MockClock) -> None:
    async with small(2, **QUIET) as net, net.join() as node:
        async with node.contact(NOBODY, hops=1) as contact:
            receipt = await contact.whisper(b"hello")
            assert receipt.status == "failed"
            assert receipt.why.startswith("the path needs 3 relays")


async def test_what_is_too_large_is_refused_before_anything_is_sent(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        async with visitor.contact(endpoint.address) as contact:
            too_large = bytes(65_536)
            with pytest.raises(onionshh.TooLarge, match="at most 65535 bytes; this one has 65536"):
                contact.send(too_large)
            with pytest.raises(onionshh.TooLarge):
                await contact.whisper(too_large)
            with pytest.raises(onionshh.TooLarge):
                await contact.ask(too_large)
            for wrong in ("text", bytearray(5), None):
                with pytest.raises(TypeError, match="A whisper is bytes"):
                    contact.send(wrong)  # type: ignore[arg-type]
            for ttl in (0, -1, 7 * 86400 + 1, float("nan")):
                with pytest.raises(ValueError, match="TTL"):
                    contact.send(b"", ttl_seconds=ttl)
            await trio.sleep(20)
            purposes = {one.purpose for one in visitor.circuits()}
            assert purposes <= {"ready", "consensus"}  # nothing was asked of anybody
            assert len(parts(endpoint).peers.receiving.receiver.inbox) == 0

            # And so with replies: the whisper can still be answered.
            receipt = contact.send(b"question")
            whisper = await anext(aiter(endpoint))
            with pytest.raises(onionshh.TooLarge):
                await whisper.reply(too_large)
            await whisper.reply(bytes(65_535))
            assert await receipt.reply() == bytes(65_535)


WRONG = [
    ("", "text is empty"),
    ("hello", 'begins with "shh1"'),
    (NOBODY[:-1] + ("q" if NOBODY[-1] != "q" else "p"), "a character is wrong or missing"),
    (NOBODY[:-3], "3 missing"),
    (NOBODY[:10] + NOBODY[10:].upper(), "case"),
    ("A1LQFN3A", "shh1"),
    (NOBODY + "q", "1 too many"),
    (NOBODY.replace("shh1", "shh1é", 1), "plain letters"),
]


async def test_a_wrong_address_is_refused_with_what_is_wrong(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join() as node:
        for address, why in WRONG:
            with pytest.raises(onionshh.BadAddress, match=why) as caught:
                node.contact(address)
            assert isinstance(caught.value, onionshh.Error)
            assert isinstance(caught.value, ValueError)
            assert "\n" not in str(caught.value)


async def test_wrong_options_are_refused(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join() as node:
        for hops in (-1, 4, 1.0, "2", True):
            with pytest.raises(ValueError, match="hops must be 0, 1, 2 or 3"):
                node.contact(NOBODY, hops=hops)  # type: ignore[arg-type]
        for name in ("hush", "dark"):
            with pytest.raises(ValueError, match="not available in this version"):
                node.contact(NOBODY, privacy=name)
        with pytest.raises(ValueError, match="does not exist; choose flash or talk"):
            node.contact(NOBODY, privacy="loud")


@pytest.mark.parametrize(
    "hours, said", [(-3, "behind"), (3, "ahead of"), (-100, "behind"), (100, "ahead of")]
)
async def test_a_clock_that_is_wrong_by_hours(hours: int, said: str, autojump_clock: MockClock) -> None:
    """The network's time is signed, so it is our own clock that is wrong, and by how much."""
    async with small(3, interval_seconds=600, valid_seconds=3600) as net:
        wrong = replace_clock(net, WALL + hours * 3600)
        before = trio.current_time()
        with pytest.raises(onionshh.ClockWrong, match=said) as caught:
            async with wrong:
                raise AssertionError("joined")
        assert abs(caught.value.offset_seconds - hours * 3600) < 700
        assert f"{abs(hours)} hours" in str(caught.value) or f"{abs(hours) - 1} hours" in str(caught.value)
        assert trio.current_time() - before < 30


def replace_clock(net: testing.Network, wall: int) -> AbstractAsyncContextManager[onionshh.Node]:
    """A join with a clock of its own."""

    @asynccontextmanager
    async def joined() -> AsyncIterator[onionshh.Node]:
        kept, net.clock = net.clock, Clock(wall)
        try:
            async with net.join() as node:
                yield node
        finally:
            net.clock = kept

    return joined()


async def test_a_clock_that_is_a_little_wrong_does_no_harm(autojump_clock: MockClock) -> None:
    async with small(4, valid_seconds=3600) as net, hosted(net) as (_, endpoint):
        for minutes in (-9, 30):
            async with replace_clock(net, net.clock.wall() + 60 * minutes) as visitor:
                async with visitor.contact(endpoint.address) as contact:
                    receipt = await contact.whisper(b"hello", ttl_seconds=3600)
                    assert receipt.status == "delivered", receipt.why


async def test_no_directory(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net:
        url = net.file.authorities[0].url
        other = replace(net.file, authorities=(replace(net.file.authorities[0], key=bytes(32)),))
        net.file, good = other, net.file
        with pytest.raises(onionshh.NoDirectory, match=f"directory {url} serves is not of this network"):
            async with net.join():
                raise AssertionError("joined")
        net.file = good
        net.source = lambda host: HttpSource(network=Down())  # type: ignore[method-assign]
        with pytest.raises(onionshh.NoDirectory, match=r"No directory answers .*refused.*; check that"):
            async with net.join():
                raise AssertionError("joined")


class Down(httpcore.AsyncConnectionInterface):
    """Nobody listens there."""

    async def handle_async_request(self, request: httpcore.Request) -> httpcore.Response:
        await trio.lowlevel.checkpoint()
        raise httpcore.ConnectError("connection refused")


async def test_our_network_is_down(autojump_clock: MockClock) -> None:
    """It waits and says why; the whisper expires with that reason, and what comes later goes out later."""
    async with small(5, **QUIET) as net, net.join("visitor") as visitor, hosted(net) as (_, endpoint):
        assert net.memory is not None
        async with visitor.contact(endpoint.address) as contact:
            assert (await contact.whisper(b"before")).status == "delivered"
            net.memory.cut("visitor")
            receipt = await contact.whisper(b"hello", ttl_seconds=60)
            assert receipt.status == "expired"
            assert receipt.why
            assert not visitor.online
            net.memory.heal("visitor")
            assert (await contact.whisper(b"after")).status == "delivered"
            assert visitor.online


async def test_everything_is_closed_after_its_block(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("visitor") as visitor:
        async with net.join("host") as node:
            async with node.host(net.folder / "identity", introducers=1) as endpoint:
                await endpoint.reachable()
                async with visitor.contact(endpoint.address) as contact:
                    receipts = [await contact.whisper(body) for body in (b"one", b"two")]
                    waiting = contact.send(b"three " * 5000)
                assert (waiting.status, waiting.why) == (
                    "failed",
                    "the contact was closed before a receipt came",
                )
                iteration = aiter(endpoint)
                whisper = await anext(iteration)
                unfinished = [whisper, await anext(aiter(endpoint))]
                assert receipts[0].status == "delivered"
            with pytest.raises(onionshh.Closed):
                await endpoint.reachable()
            with pytest.raises(onionshh.Closed):
                endpoint.reachability  # noqa: B018
            with pytest.raises(onionshh.Closed):
                endpoint.reachability_changes()
            with pytest.raises(onionshh.Closed):
                aiter(endpoint)
            for one in unfinished:
                assert one is not None
                with pytest.raises(onionshh.Closed):
                    await one.reply(b"late")
                with pytest.raises(onionshh.Closed):
                    await one.done()
            with pytest.raises(StopAsyncIteration):
                await anext(iteration)
            with pytest.raises(onionshh.Closed, match="entered once"):
                await endpoint.__aenter__()
            never_entered = node.host(net.folder / "identity")
            with pytest.raises(onionshh.Closed):
                await never_entered.reachable()
            unused = node.contact(NOBODY)
            with pytest.raises(onionshh.Closed):
                unused.send(b"")
        for call in (lambda: contact.send(b""), lambda: node.host("x"), lambda: node.contact(NOBODY)):
            with pytest.raises(onionshh.Closed):
                call()
        for awaited in (contact.whisper, contact.ask):
            with pytest.raises(onionshh.Closed):
                await awaited(b"")
        with pytest.raises(onionshh.Closed, match="entered once"):
            await contact.__aenter__()
        for late in (never_entered, unused):
            with pytest.raises(onionshh.Closed):
                await late.__aenter__()


async def test_an_iteration_ends_when_its_endpoint_closes(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, net.join("host") as node:
        ended = trio.Event()

        async def read(endpoint: onionshh.Endpoint) -> None:
            async for _ in endpoint:
                raise AssertionError("nobody whispered")
            ended.set()

        async with trio.open_nursery() as nursery:
            async with node.host(net.folder / "identity", introducers=1) as endpoint:
                nursery.start_soon(read, endpoint)
                await trio.sleep(5)
                assert not ended.is_set()
            with trio.fail_after(1):
                await ended.wait()


async def test_one_identity_is_hosted_once(autojump_clock: MockClock) -> None:
    async with small(4, **QUIET) as net, hosted(net) as (node, endpoint):
        second = node.host(net.folder / "identity")
        with pytest.raises(onionshh.DataInUse, match="in use"):
            await second.__aenter__()
        async with node.host(net.folder / "another", introducers=1) as other:
            assert other.address != endpoint.address
        assert endpoint.reachability.reachable


Damage = Callable[[Path], Path]


def damage_identity(folder: Path) -> Path:
    return folder / "identity"


def damage_guards(folder: Path) -> Path:
    return folder / "host" / "guards"


def damage_layer_two(folder: Path) -> Path:
    return folder / "host" / "guards-layer-two"


def damage_database(folder: Path) -> Path:
    return next((folder / "host").rglob(DATABASE_FILE))


@pytest.mark.parametrize("which", [damage_identity, damage_guards, damage_layer_two, damage_database])
async def test_a_damaged_file_is_named_and_left_alone(which: Damage, autojump_clock: MockClock) -> None:
    """Guards above all are never drawn anew because their file is damaged."""
    async with small(4, **QUIET) as net:
        async with hosted(net) as (_, endpoint):
            address = endpoint.address
        path = which(net.folder)
        good = path.read_bytes()
        path.write_bytes(b"damaged" * 100)
        with pytest.raises(onionshh.BadData, match=str(path)):
            async with hosted(net):
                raise AssertionError("hosted")
        assert path.read_bytes() == b"damaged" * 100
        path.write_bytes(good)
        async with hosted(net) as (_, endpoint):  # and nothing is held that would hinder it now
            assert endpoint.address == address


async def test_a_damaged_file_leaves_the_node_able_to_host(autojump_clock: MockClock) -> None:
    """The same node, after the person has restored the file."""
    async with small(4, **QUIET) as net:
        async with hosted(net):
            pass
        path = damage_database(net.folder)
        good = path.read_bytes()
        async with net.join("host") as node:
            path.write_bytes(b"damaged")
            with pytest.raises(onionshh.BadData, match=DATABASE_FILE):
                await node.host(net.folder / "identity", introducers=1).__aenter__()
            path.write_bytes(good)
            async with node.host(net.folder / "identity", introducers=1) as endpoint:
                with trio.fail_after(60):
                    await endpoint.reachable()


async def test_a_damaged_consensus_is_fetched_anew(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net:
        async with net.join("node"):
            pass
        for name in ("consensus", "consensus-previous"):
            (net.folder / "node" / name).write_bytes(b"damaged")
        async with net.join("node") as node:
            assert len(inside(node).view.relays) == 3


@pytest.mark.parametrize(
    "text, why",
    [
        (None, "There is no network file at"),
        ("", "network"),
        ("this is no TOML [", "network"),
        ("\xff", "network"),
        ('version = 9\nname = "x"\n', "version"),
    ],
)
async def test_a_bad_network_file_gets_one_sentence(text: str | None, why: str, tmp_path: Path) -> None:
    path = tmp_path / "network.toml"
    if text is not None:
        path.write_bytes(text.encode("latin-1"))
    with pytest.raises(onionshh.BadNetworkFile, match=why) as caught:
        async with onionshh.join(path, data_dir=tmp_path / "data"):
            raise AssertionError("joined")
    assert "\n" not in str(caught.value)


async def test_a_data_folder_that_cannot_be_used_is_named(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net:
        (net.folder / "taken").write_bytes(b"")
        with pytest.raises(onionshh.BadData, match="taken"):
            async with net.join("taken"):
                raise AssertionError("joined")
