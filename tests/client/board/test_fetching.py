"""One period's mailbox, read from several relays at once: a value from one of them, checked, and nobody held
up by another."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.board.arriving import Arriving
from onionshh.client.board.fetching import CLAIM_SECONDS, Fetching
from onionshh.client.board.store import BoardStore
from onionshh.client.mail.deposits import SealedItem
from onionshh.core.mailbox.item import check_list_untrusted
from onionshh.errors import CryptoError, ProtocolError
from onionshh.net.circuits import Circuit, CircuitFailed
from onionshh.reasons import Reason
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from tests.client.board.boards import (
    ALICE,
    BOX,
    HOUR,
    PERIOD,
    TOPIC,
    context_without_network,
    item_of,
    tables_in,
    written,
)
from tests.client.world import WALL
from tests.core.networks import relay_id, row

EXPIRES = WALL + HOUR


class Relay:
    """A relay that has these items, at the other end of a circuit. `slow`: the seconds before it gives
    values. `bend`: changes its answers."""

    def __init__(self, number: int, items: Sequence[SealedItem]) -> None:
        self.row = row(number)
        self.binding = b"binding %d" % number
        self.items = [item_of(item) for item in items]
        self.slow = 0.0
        self.bend: Callable[[w.List, w.Items], w.Items] = lambda wanted, page: page
        self.asked: list[tuple[int, int]] = []
        """Mode and number of each LIST."""

    async def ask(self, message_type: int, body: bytes, answer: int, seconds: float) -> bytes:
        assert (message_type, answer) == (m.LIST, m.ITEMS)
        wanted = w.List.decode_untrusted(body)
        check_list_untrusted(wanted, self.binding, self.row.identity)
        self.asked.append((wanted.mode, wanted.after))
        await trio.sleep(self.slow if wanted.mode == w.VALUES else 0.1)
        behind = list(enumerate(self.items, 1))[wanted.after :]
        if wanted.mode == w.HEADS:
            heads = tuple(w.Head(item.item_id, number, item.expires) for number, item in behind)
            page = w.Items(w.STORED, max([wanted.after, *(head.number for head in heads)]), heads=heads)
        else:
            three = tuple(item for _, item in behind[:3])
            page = w.Items(w.STORED, wanted.after + len(three), items=three)
        return self.bend(wanted, page).encode()

    @property
    def values(self) -> list[int]:
        """The numbers after which values were asked for."""
        return [after for mode, after in self.asked if mode == w.VALUES]


class Board:
    """A board, and the mailbox of its present period."""

    def __init__(self, store: BoardStore) -> None:
        context = context_without_network()
        self.arriving = Arriving(context, TOPIC, store)
        self.fetching = Fetching(context, TOPIC, PERIOD, self.arriving)
        self._store = store

    async def ask(self, relay: Relay, after: int = 0, wait: int = 0) -> w.Items:
        return await self.fetching.ask(cast(Circuit, relay), relay.row, after, wait)

    async def bodies(self) -> list[bytes]:
        await self.arriving.release()
        return sorted(one.post.body for one in await self._store.after(0, 1000, 0))


@asynccontextmanager
async def board_in(folder: Path) -> AsyncIterator[Board]:
    async with tables_in(folder) as tables:
        yield Board(tables.store)


def posts(count: int) -> list[SealedItem]:
    made = [written(None, 0, b"%03d" % number, expires=EXPIRES) for number in range(count)]
    return [item for items in made for item in items]


def all_of(count: int) -> list[bytes]:
    return [b"%03d" % number for number in range(count)]


async def test_a_page_of_heads_and_the_values_that_are_not_known(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        assert board.fetching.mailbox == BOX
        relay = Relay(1, posts(7))
        page = await board.ask(relay)
        assert (len(page.heads), page.next) == (7, 7)
        assert relay.asked == [(w.HEADS, 0), (w.VALUES, 0), (w.VALUES, 3), (w.VALUES, 6)]
        assert await board.bodies() == all_of(7)
        assert (await board.ask(relay, 7)).heads == ()
        assert (await board.ask(relay, 2)).next == 7
        assert len(relay.values) == 3
        other = Relay(2, posts(9))
        await board.ask(other)
        assert other.values == [7]
        assert await board.bodies() == all_of(9)


async def test_relays_share_the_work(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        relays = [Relay(number, posts(30)) for number in range(4)]
        for relay in relays:
            relay.slow = 1.0
        relays[3].items.reverse()  # in another order
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            for relay in relays:
                nursery.start_soon(board.ask, relay)
        assert trio.current_time() - began < 10  # one relay alone would take as long
        assert await board.bodies() == all_of(30)
        asked = [len(relay.values) for relay in relays]
        assert 10 <= sum(asked) <= 14
        assert min(asked) >= 1


async def test_a_relay_that_gives_nothing_holds_the_others_up_once(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        silent, good = Relay(1, posts(6)), Relay(2, posts(6))
        silent.slow = 1000.0
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(board.ask, silent)
            await trio.sleep(0.2)
            await board.ask(good)
            assert trio.current_time() - began < CLAIM_SECONDS + 3
            assert await board.bodies() == all_of(6)
            nursery.cancel_scope.cancel()


async def test_a_relay_that_fails_frees_what_it_was_to_give(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        bad, good = Relay(1, posts(3)), Relay(2, posts(3))
        bad.slow = 1.0
        bad.bend = lambda wanted, page: page if wanted.mode == w.HEADS else w.Items(w.FULL)
        began = trio.current_time()

        async def fails() -> None:
            with pytest.raises(CircuitFailed):
                await board.ask(bad)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(fails)
            await trio.sleep(0.2)
            await board.ask(good)
        assert trio.current_time() - began < 2
        assert await board.bodies() == all_of(3)


async def test_a_relay_cannot_put_its_own_value_under_somebodys_id(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    mine, (hers,) = written(ALICE, 1, b"mine", expires=EXPIRES), written(None, 0, b"hers", expires=EXPIRES)
    good = item_of(mine[0])
    for forged in (
        replace(good, value=hers.value),
        replace(good, signature=item_of(hers).signature),
        replace(good, expires=EXPIRES + 1),
        replace(good, revision=1),
    ):
        async with board_in(tmp_path) as board:
            liar = Relay(1, mine)
            liar.items = [forged]
            with pytest.raises(CryptoError):
                await board.ask(liar)
            assert await board.bodies() == []
            await board.ask(Relay(2, mine))
            assert await board.bodies() == [b"mine"]
        (tmp_path / "board.db").unlink()


async def test_false_heads_lead_nowhere(autojump_clock: MockClock, tmp_path: Path) -> None:
    async with board_in(tmp_path) as board:
        liar, real = Relay(1, posts(3)), posts(3)

        def nothing(wanted: w.List, page: w.Items) -> w.Items:
            if wanted.mode == w.VALUES:
                return w.Items(w.STORED, wanted.after)
            heads = tuple(w.Head(item.item_id, 5 + n, EXPIRES) for n, item in enumerate(real))
            return w.Items(w.STORED, 9, heads=heads)

        liar.bend = nothing
        assert (await board.ask(liar)).next == 9
        assert len(liar.values) <= 3
        assert await board.bodies() == []

        def false_ends(wanted: w.List, page: w.Items) -> w.Items:
            return replace(page, heads=tuple(replace(head, expires=7) for head in page.heads))

        liar.bend = false_ends
        await board.ask(liar)
        assert await board.bodies() == all_of(3)


@pytest.mark.parametrize("given", [(2, 1), (1, 1), (0,), (3, 4, 4)])
async def test_numbers_that_do_not_rise_are_refused(
    autojump_clock: MockClock, tmp_path: Path, given: tuple[int, ...]
) -> None:
    async with board_in(tmp_path) as board:
        liar, real = Relay(1, posts(3)), posts(3)
        heads = tuple(w.Head(item.item_id, n, EXPIRES) for item, n in zip(real, given, strict=False))
        liar.bend = lambda wanted, page: w.Items(w.STORED, 9, heads=heads)
        with pytest.raises(ProtocolError) as caught:
            await board.ask(liar)
        assert caught.value.reason == Reason.MAILBOX_SHAPE
        assert liar.values == []


async def test_a_relay_gives_junk_that_members_left_and_goes_on(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    async with board_in(tmp_path) as board:
        items = posts(3)
        items[1] = replace(items[1], seed=b"j" * 32)
        await board.ask(Relay(1, items))
        assert await board.bodies() == [b"000", b"002"]
        again = Relay(2, items)
        await board.ask(again)
        assert again.values == []


def test_the_relays_have_rows_of_their_own() -> None:
    assert row(1).identity == relay_id(1)
