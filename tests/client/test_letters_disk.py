"""Letters, and a disk that dies after its n-th commit, for every n. Nothing that was accepted or
acknowledged is lost, and nothing that was finished is shown twice. Whole networks in virtual time."""

from __future__ import annotations

from contextlib import suppress

import pytest
import trio
from trio.testing import MockClock

import onionshh
from onionshh.client.hosting import inbox
from onionshh.client.mail import waiting
from onionshh.errors import BadData, Closed
from tests.client.dying import DyingDisk
from tests.client.letterworld import HOUR, Post, again, away, status_of, stored

TTL = 6 * HOUR
DEAD_SECONDS = 200.0
"""How long the program goes on with the dead disk, before it is killed."""
MOST = 80
NEVER = 1_000_000


async def leave(post: Post, name: str) -> onionshh.Receipt:
    """A named contact leaves its name as a whisper, and closes."""
    async with post.node.contact(post.address, name=name) as contact:
        receipt = contact.send(name.encode(), ttl_seconds=TTL)
        await stored(receipt)
        return receipt


async def have_reply(post: Post, name: str, receipt: onionshh.Receipt) -> None:
    """The contact comes back. It finds that its whisper was delivered, and the reply."""
    async with post.node.contact(post.address, name=name) as contact:
        found = again(contact, receipt)
        with trio.fail_after(2 * HOUR):
            assert await found.reply() == name.upper().encode()
        assert await status_of(found) == "delivered"
        assert contact.pending() == []


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Mailboxes are read more often, so that less time must pass."""
    monkeypatch.setattr(inbox, "PAUSE_SECONDS", (60.0, 90.0))
    monkeypatch.setattr(waiting, "PAUSE_SECONDS", 60.0)


class Program:
    """An endpoint's program: what it was shown, and what it has finished."""

    def __init__(self, post: Post) -> None:
        self._post = post
        self.finished: list[bytes] = []

    async def run(self, disk: DyingDisk | None = None, seconds: float = 400.0) -> None:
        """Run for so long, or for a while on a disk that has died."""
        with suppress(BadData, Closed):
            async with self._post.returned(reads=False) as endpoint, trio.open_nursery() as nursery:
                nursery.start_soon(self._read, endpoint)
                with trio.move_on_after(seconds):
                    while disk is None or not disk.dead:
                        await trio.sleep(1)
                    await trio.sleep(DEAD_SECONDS)
                nursery.cancel_scope.cancel()

    async def _read(self, endpoint: onionshh.Endpoint) -> None:
        while True:
            try:
                async for whisper in endpoint:
                    assert whisper.body not in self.finished, "it was shown twice"
                    await whisper.reply(whisper.body.upper())
                    self.finished.append(whisper.body)
            except BadData:
                await trio.sleep(10)
            else:
                return


async def test_a_contact_may_die_after_any_of_its_commits_while_it_leaves_a_letter(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = DyingDisk(monkeypatch, "contact.db")
    async with away() as post:
        receipts = {}
        for commits in range(0, MOST, 2):  # each second one, for the time it takes
            name = f"n{commits}"
            disk.dies_after(commits, post.net.folder / "visitor")
            with suppress(BadData):
                async with post.node.contact(post.address, name=name) as contact:
                    receipts[name] = contact.send(name.encode(), ttl_seconds=TTL)
                    with trio.move_on_after(120):
                        while receipts[name].copies[0] < 4 and not disk.dead:
                            await trio.sleep(1)
                        await trio.sleep(20)
            if not disk.dead:
                break
            disk.restore()
            if name in receipts:
                async with post.node.contact(post.address, name=name) as contact:
                    await stored(again(contact, receipts[name]), copies=4)
        disk.dies_after(NEVER, post.net.folder)
        assert 6 < commits < MOST - 1
        assert post.items == 4 * len(receipts), "each under one id"
        program = Program(post)
        await program.run(seconds=900)
        assert sorted(program.finished) == sorted(name.encode() for name in receipts)
        for name, receipt in receipts.items():
            await have_reply(post, name, receipt)


async def test_a_contact_may_die_after_any_of_its_commits_while_it_reads_mail(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The endpoint is away: receipt and reply lie in the mailbox of the pair."""
    disk = DyingDisk(monkeypatch, "contact.db")
    async with away() as post:
        receipts = {f"n{number}": await leave(post, f"n{number}") for number in range(15)}
        await Program(post).run(seconds=900)
        for commits, (name, receipt) in enumerate(receipts.items()):
            disk.dies_after(
                2 * commits, post.net.folder / "visitor"
            )  # each second one, for the time it takes
            with suppress(BadData):
                async with post.node.contact(post.address, name=name) as contact:
                    found = again(contact, receipt)
                    with trio.move_on_after(1200):
                        while found.reply_body is None and not disk.dead:
                            await trio.sleep(1)
                        await trio.sleep(DEAD_SECONDS if disk.dead else 30)
            died = disk.dead
            if died:
                disk.restore()
            disk.dies_after(NEVER, post.net.folder)
            await have_reply(post, name, receipt)
            if not died:
                break
        assert 0 < commits < len(receipts) - 1
