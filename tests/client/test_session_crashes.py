"""A database that dies after any of its syncs, in the midst of sessions (SPEC 12): nothing is lost that a
receipt acknowledged, nothing is delivered twice, and no tag is used twice. Whole networks in virtual time.

One conversation goes on over many deaths. Each time the disk takes one commit more before it dies, so the
deaths fall between all writes: tags that are spent and burned, first rows of sessions, keys that are renewed,
whispers of both sides.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.receipt import Receipt
from onionshh.core.session import session as session_machine
from onionshh.errors import BadData, Closed, Full
from tests.client.dying import DyingDisk
from tests.client.recorded import noting
from tests.client.world import PATIENCE_SECONDS, QUIET, small
from tests.inside import parts

QUIET_SECONDS = 65.0
"""After this time no lane is open."""
DEATHS = 16
"""One exchange takes fewer commits than this."""


class Talk:
    """What both programs said and heard."""

    def __init__(self) -> None:
        self.handled: Counter[bytes] = Counter()
        """Bodies with which a program has finished, as it knows itself."""
        self.said: dict[bytes, Receipt] = {}
        self.delivered: set[bytes] = set()

    async def read(self, holder: Endpoint | Contact) -> None:
        """A program that handles what comes, until its disk fails."""
        with suppress(Closed):
            async for whisper in holder:
                try:
                    if whisper.body.startswith(b"ask"):
                        await whisper.reply(b"answer to " + whisper.body)
                    else:
                        await whisper.done()
                except (BadData, Closed):
                    return
                self.handled[whisper.body] += 1

    def say(self, speaker: object, body: bytes) -> None:
        """Send it, if the disk takes it."""
        with suppress(BadData, Closed, Full):
            self.said[body] = speaker.send(body, ttl_seconds=86_400)  # type: ignore[attr-defined]

    def look(self) -> None:
        """Note what was delivered by now."""
        self.delivered |= {body for body, receipt in self.said.items() if receipt.status == "delivered"}

    def check(self) -> None:
        """Each body that a receipt acknowledged was handled, and none twice."""
        self.look()
        assert {body: count for body, count in self.handled.items() if count > 1} == {}
        assert self.delivered <= set(self.handled)


async def talk_until_dead(
    over: trio.Event, talk: Talk, disk: DyingDisk, endpoint: Endpoint, contact: Contact
) -> None:
    """Both speak, pause until no circuit is left, and speak again. Some of it fits into one cell."""
    for _ in range(40):
        number = b"%d" % len(talk.said)
        for body in (b"short " + number, b"ask " + number, b"long " + number + bytes(300)):
            talk.say(contact, body)
        for peer in endpoint.peers()[:1]:
            talk.say(peer, b"first " + number)
        for _ in range(3):
            await trio.sleep(QUIET_SECONDS / 3)
            if disk.dead:
                await trio.sleep(disk.commits % 2 * QUIET_SECONDS)  # it goes on with a full disk, or ends
                over.set()
                return
    over.set()


async def talk_well(talk: Talk, endpoint: Endpoint, contact: Contact) -> None:
    """With a disk that works, both are heard, the session goes on, and its keys are renewed."""
    for number in range(3):
        body = b"last %d" % number + bytes(300)  # too long for one cell: only over a circuit are keys renewed
        talk.say(contact, body)
        with trio.fail_after(PATIENCE_SECONDS):
            assert (await talk.said[body].final()).status == "delivered"
        await trio.sleep(QUIET_SECONDS)
    (peer, *_) = endpoint.peers()
    talk.say(peer, b"first last")
    with trio.fail_after(PATIENCE_SECONDS):
        assert (await talk.said[b"first last"].final()).status == "delivered"
    assert parts(endpoint).peers.known()[0].chains.epoch > 0


async def test_an_endpoint_may_die_after_any_sync(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_machine, "REFRESH_TAGS", 1)
    disk, talk = DyingDisk(monkeypatch, "endpoint.db"), Talk()
    async with small(6, **QUIET) as net, net.join("visitor") as visitor, net.join("host") as host:
        seen = noting(net)
        async with host.host(net.folder / "identity", introducers=2, inbox=False) as endpoint:
            address = endpoint.address
        async with (
            visitor.contact(address, name="n", way_back=True, store=False) as contact,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(talk.read, contact)
            for number in range(1, DEATHS):
                async with host.host(net.folder / "identity", introducers=2, inbox=False) as endpoint:
                    with trio.fail_after(PATIENCE_SECONDS):
                        await endpoint.reachable()
                    async with trio.open_nursery() as inner:
                        inner.start_soon(talk.read, endpoint)
                        over = trio.Event()
                        disk.dies_after(number, net.folder / "host" / "endpoints")
                        inner.start_soon(talk_until_dead, over, talk, disk, endpoint, contact)
                        await over.wait()
                        inner.cancel_scope.cancel()
                    talk.look()
                assert disk.dead
                disk.restore()
            async with host.host(net.folder / "identity", introducers=2, inbox=False) as endpoint:
                nursery.start_soon(talk.read, endpoint)
                receipts = [r for b, r in talk.said.items() if not b.startswith(b"first")]
                with trio.fail_after(4000):
                    for receipt in receipts:
                        assert (await receipt.final()).status == "delivered"
                await talk_well(talk, endpoint, contact)
                talk.check()
                tags = Counter(message.tag for message in seen.resumed)
                assert set(tags.values()) == {1}
                nursery.cancel_scope.cancel()


async def test_a_contact_may_die_after_any_sync(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_machine, "REFRESH_TAGS", 1)
    disk, talk = DyingDisk(monkeypatch, "contact.db"), Talk()
    async with (
        small(6, **QUIET) as net,
        net.join("visitor") as visitor,
        net.join("host") as host,
        host.host(net.folder / "identity", introducers=2) as endpoint,
        trio.open_nursery() as nursery,
    ):
        seen = noting(net)
        with trio.fail_after(PATIENCE_SECONDS):
            await endpoint.reachable()
        nursery.start_soon(talk.read, endpoint)
        for number in range(1, DEATHS):
            async with visitor.contact(endpoint.address, name="n", way_back=True) as contact:
                async with trio.open_nursery() as inner:
                    inner.start_soon(talk.read, contact)
                    over = trio.Event()
                    disk.dies_after(number, net.folder / "visitor" / "contacts")
                    inner.start_soon(talk_until_dead, over, talk, disk, endpoint, contact)
                    await over.wait()
                    inner.cancel_scope.cancel()
                talk.look()
            assert disk.dead
            disk.restore()
        async with visitor.contact(endpoint.address, name="n", way_back=True) as contact:
            nursery.start_soon(talk.read, contact)
            with trio.fail_after(4000):
                for receipt in contact.pending():
                    assert (await receipt.final()).status == "delivered"
            await talk_well(talk, endpoint, contact)
            for body, receipt in talk.said.items():
                if not body.startswith(b"first"):
                    again = contact.receipt(receipt.id)
                    assert again is not None, body
                    assert again.status == "delivered", body
                    assert talk.handled[body] == 1, body
            talk.check()
            tags = Counter(message.tag for message in seen.resumed)
            assert set(tags.values()) == {1}
        nursery.cancel_scope.cancel()
