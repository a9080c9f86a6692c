"""Which peers' mailboxes an endpoint reads, and what it takes from them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from trio.testing import MockClock

from onionshh.client.hosting.pair_inbox import SESSIONS_MOST, PairInbox
from onionshh.client.mail.part_store import PartsInMemory
from onionshh.core.delivery.record import RECEIPT, Record, new_whisper
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
        self.taken: list[tuple[Record, Session | None]] = []

    def known(self) -> list[Session]:
        return self.sessions

    async def mailed(self, record: Record, session: Session | None) -> None:
        self.taken.append((record, session))


async def test_kept_peers_come_first_and_many_others_only_while_the_inbox_is_crowded(
    autojump_clock: MockClock,
) -> None:
    async with small(3, **QUIET) as net, net.join("host") as node:
        peers, crowded = Peers(), [False]
        made = PairInbox(inside(node), peers, lambda: crowded[0], PartsInMemory(inside(node)))
        assert list(made.sessions()) == peers.sessions[::10] + peers.sessions[1:9]
        crowded[0] = True
        assert list(made.sessions()[:10]) == peers.sessions[::10]
        assert len(made.sessions()) == SESSIONS_MOST


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
