"""Which peers' mailboxes an endpoint reads, and what it takes from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.hosting.pair_inbox import OTHERS_MOST, SESSIONS_MOST, PairInbox
from onionshh.client.mail.pair_reading import PairReading
from onionshh.client.mail.part_store import PartsInMemory
from onionshh.client.mail.reading import MailboxReader, NoRoom, Read
from onionshh.core.delivery.record import RECEIPT, Record, new_whisper
from onionshh.core.mailbox.pair import FROM_VISITOR, pair_mailbox
from onionshh.core.session.session import Session
from onionshh.errors import ProtocolError
from onionshh.reasons import Reason
from tests.client.world import QUIET, small
from tests.inside import inside
from tests.seeded import seeded


class Peers:
    """A hundred sessions, every tenth of them kept."""

    def __init__(self) -> None:
        self.sessions = [
            Session.started(bytes((number,)) * 32, introduced=False, period=20, wall=0)
            for number in range(100)
        ]
        for session in self.sessions[::10]:
            session.marks.kept = True
        for number, session in enumerate(self.sessions):
            session.history.started_at = 1000 - number  # the ones that began last come first
        self.taken: list[tuple[Record, Session | None]] = []

    def known(self) -> list[Session]:
        return self.sessions

    def session_of(self, session_id: bytes) -> Session | None:
        return next((one for one in self.sessions if one.session_id == session_id), None)

    async def mailed(self, record: Record, session: Session | None) -> None:
        self.taken.append((record, session))


async def test_kept_peers_come_first_then_those_that_began_first_and_everyone_has_a_turn(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(self: MailboxReader, *, missing: bool = False) -> Read:
        await trio.lowlevel.checkpoint()
        return Read(0, 6, 6)

    monkeypatch.setattr(MailboxReader, "read", nothing)
    async with small(3, **QUIET) as net, net.join("host") as node:
        peers, crowded = Peers(), [False]
        made = PairInbox(inside(node), peers, lambda: crowded[0], PartsInMemory(inside(node)))
        kept = peers.sessions[::10]
        others = [one for one in reversed(peers.sessions) if one not in kept]
        assert list(made.sessions()) == kept + others[:OTHERS_MOST]
        await made.read()
        await trio.sleep(1)
        assert list(made.sessions()) == kept + others[OTHERS_MOST : 2 * OTHERS_MOST]
        crowded[0] = True
        assert len(made.sessions()) == SESSIONS_MOST
        assert list(made.sessions()[:10]) == kept
        await made.read()
        await trio.sleep(1)
        assert made.sessions()[10 : 10 + 90 - OTHERS_MOST - 54] == others[OTHERS_MOST + 54 :]


async def test_a_flood_of_new_sessions_and_mailboxes_that_do_not_answer_keep_nobody_out(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: set[bytes] = set()

    async def in_vain(self: MailboxReader, *, missing: bool = False) -> Read:
        await trio.lowlevel.checkpoint()
        asked.add(self.mailbox.name)
        raise NoRoom

    monkeypatch.setattr(MailboxReader, "read", in_vain)
    async with small(3, **QUIET) as net, net.join("host") as node:
        context, peers = inside(node), Peers()
        period = context.view.period
        peers.sessions = [
            Session.started(b"%32d" % number, introduced=False, period=period, wall=number)
            for number in range(4 * OTHERS_MOST)
        ]
        made = PairInbox(context, peers, lambda: False, PartsInMemory(context))
        for turn in range(4):
            await made.read()
            peers.sessions += [
                Session.started(b"%d %30d" % (turn, number), introduced=False, period=period, wall=0)
                for number in range(64)
            ]
            await trio.sleep(3600)
        keys = [session.mail.key_of(period) for session in peers.sessions[: 4 * OTHERS_MOST]]
        assert asked == {pair_mailbox(key, FROM_VISITOR, period).name for key in keys if key is not None}


async def test_no_mailbox_between_two_turns_is_passed_over(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Peers have their turns days apart when there are many."""
    asked: list[int] = []
    period = [0]

    async def counted(self: MailboxReader, *, missing: bool = False) -> Read:
        await trio.lowlevel.checkpoint()
        asked.append(self.mailbox.period)
        return Read(0, 6, 6)

    monkeypatch.setattr(MailboxReader, "read", counted)
    monkeypatch.setattr(PairReading, "periods", lambda self, often: (period[0],))
    async with small(3, **QUIET) as net, net.join("host") as node:
        context, peers = inside(node), Peers()
        first = context.view.period
        peers.sessions = [Session.started(b"s" * 32, introduced=False, period=first, wall=0)]
        made = PairInbox(context, peers, lambda: False, PartsInMemory(context))
        for period[0] in (first, first + 3):
            await made.read()
        assert asked == [first, first + 3, first + 2, first + 1, first]


async def test_earlier_periods_are_read_with_the_first_reading_and_again_if_no_relay_answered(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    answers = [0]

    async def counted(self: MailboxReader, *, missing: bool = False) -> Read:
        await trio.lowlevel.checkpoint()
        asked.append(self.mailbox.period)
        return Read(0, answers[0], 6)

    monkeypatch.setattr(MailboxReader, "read", counted)
    async with small(3, **QUIET) as net, net.join("host") as node:
        context, peers = inside(node), Peers()
        period = context.view.period
        peers.sessions = [Session.started(b"s" * 32, introduced=False, period=period - 3, wall=0)]
        made = PairInbox(context, peers, lambda: False, PartsInMemory(context))
        for answered in (0, 6, 6):
            answers[0] = answered
            await made.read()
        whole = [period, period - 1, period - 2, period - 3]
        assert asked in (whole * 2 + [period], whole * 2 + [period, period - 1])


async def test_only_whispers_are_taken(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        context, peers = inside(node), Peers()
        made = PairInbox(context, peers, lambda: False, PartsInMemory(context))
        expires = context.clock.best() + 4000
        record = new_whisper(b"x", expires=expires, privacy_class=1, random_bytes=seeded(4))
        await made.bring(peers.sessions[3], record)
        assert peers.taken == [(record, peers.sessions[3])]
        with pytest.raises(ProtocolError) as raised:
            await made.bring(peers.sessions[3], replace(record, kind=RECEIPT))
        assert raised.value.reason is Reason.PAIR_SHAPE


async def test_what_comes_of_a_session_that_is_over_is_a_strangers(autojump_clock: MockClock) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        context, peers = inside(node), Peers()
        made = PairInbox(context, peers, lambda: False, PartsInMemory(context))
        over = peers.sessions.pop()
        expires = context.clock.best() + 4000
        record = new_whisper(b"x", expires=expires, privacy_class=1, random_bytes=seeded(4))
        await made.bring(over, record)
        assert peers.taken == [(record, None)]
