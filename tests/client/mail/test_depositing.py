"""One PUT: over which circuit, what it says, and how it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.depositing import Deposit, deposit, recall
from onionshh.core.base.patience import PUT_ANSWER_SECONDS, PUT_SECONDS
from onionshh.errors import NetworkUnreachable
from onionshh.net.circuits import CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from tests.client.mail.postal import bend, mailbox_of, place, places_of, sealed
from tests.client.world import QUIET, small
from tests.inside import inside

BOX = w.Mailbox(w.INBOX, bytes(range(32)), 7)
PUT = Deposit(BOX, bytes(32), 5000, b"v" * 5328, b"n" * 16, 96)


def test_the_next_revision_erases_and_needs_no_proof() -> None:
    erased = PUT.erased
    assert (erased.value, erased.effort, erased.nonce, erased.revision) == (b"", 0, bytes(16), 1)
    assert (erased.item_id, erased.mailbox, erased.expires) == (PUT.item_id, BOX, 5000)
    assert replace(PUT, revision=3).erased.revision == 4


def test_no_secret_is_shown() -> None:
    assert repr(bytes(32)) not in repr(PUT)
    assert "vvv" not in repr(PUT)


async def test_what_is_left_is_erased_by_a_recall(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays = inside(node), bend(net)
        box = mailbox_of(context)
        relay = places_of(context, box)[0][0]
        row = context.view.relay(relay)
        assert row is not None
        (item,) = sealed(box, context.clock.wall() + 3600)
        put = Deposit(box, item.seed, item.expires, item.value)
        assert await deposit(context, put, row) == w.Kept(w.DEAR, 96)
        await place(context, [item], relay)
        assert relays[relay].kept == 1
        assert await recall(context, put, row) == w.Kept(w.STORED)
        assert relays[relay].kept == 0
        assert await deposit(context, put, row) == w.Kept(w.STALE)
        assert not any(circuit.purpose == "mailbox" for circuit in context.circuits.circuits)


async def test_no_answer_and_a_wrong_answer_are_failures(autojump_clock: MockClock) -> None:
    async with small(6, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays = inside(node), bend(net)
        box = mailbox_of(context)
        relay = places_of(context, box)[0][0]
        row = context.view.relay(relay)
        assert row is not None
        (item,) = sealed(box, context.clock.wall() + 3600)
        put = Deposit(box, item.seed, item.expires, item.value)
        relays[relay].on_put = lambda put: w.Kept(77)
        with pytest.raises(CircuitFailed) as raised:
            await deposit(context, put, row)
        assert raised.value.reason == Reason.MAILBOX_SHAPE
        assert context.drops.by_name() == {"mailbox-shape": 1}
        relays[relay].silent = True
        before = trio.current_time()
        with pytest.raises(CircuitFailed) as raised:
            await deposit(context, put, row)
        assert raised.value.reason == Reason.ANSWER_TIMEOUT
        assert PUT_ANSWER_SECONDS <= trio.current_time() - before < PUT_SECONDS
        for running in list(net.relays):
            await running.stop()
        before = trio.current_time()
        with pytest.raises((CircuitFailed, NetworkUnreachable)):
            await deposit(context, put, row)
        assert trio.current_time() - before <= PUT_SECONDS
