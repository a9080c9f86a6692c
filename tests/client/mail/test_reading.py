"""A mailbox is read: each item once, erased only when it is taken, whatever single relays do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
import trio
from trio.testing import MockClock

from onionshh.client.mail.reading import (
    PAGES_MOST,
    WATCH_MOST_AGAIN_SECONDS,
    WATCH_SECONDS,
    MailboxReader,
    Read,
    read_older,
)
from onionshh.core.base.patience import CIRCUIT_SECONDS, LIST_ANSWER_SECONDS
from onionshh.core.roles import CircuitHandle, Reply, Role, RoleAction
from onionshh.errors import NetworkUnreachable
from onionshh.ids import RelayId
from onionshh.wire import mailbox as w
from onionshh.wire import messages as m
from tests.client.hostile import mount
from tests.client.mail.postal import OWNER, Bent, bend, mailbox_of, place, places_of, relay_of, sealed
from tests.client.world import QUIET, small
from tests.inside import inside

HOUR = 3600


class Taken:
    """What a reader was given. `fails`: it cannot keep the n-th."""

    def __init__(self, fails: int = 0, error: type[Exception] = OSError) -> None:
        self.items: list[w.Item] = []
        self.fails = fails
        self.error = error

    @property
    def values(self) -> list[bytes]:
        return [item.value for item in self.items]

    async def __call__(self, item: w.Item) -> None:
        await trio.sleep(0.1)
        if len(self.items) + 1 == self.fails:
            raise self.error("the disk is full")
        self.items.append(item)


def kept(relays: dict[RelayId, Bent]) -> int:
    return sum(bent.kept for bent in relays.values())


def asked(relays: dict[RelayId, Bent], mode: int) -> int:
    return sum(one.mode == mode for bent in relays.values() for _, one, _ in bent.lists)


async def test_each_item_is_fetched_once_and_then_erased_everywhere(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, b, _), (c, d, _) = places_of(context, box)
        items = sealed(box, context.clock.wall() + HOUR, 7)
        await place(context, items, a, b, c, d)
        reader = MailboxReader(context, box, OWNER.sign, taken)
        assert await reader.read() == Read(7, 6, 6)
        assert sorted(taken.values) == sorted(item.value for item in items)
        assert kept(relays) == 0
        assert asked(relays, w.VALUES) == 3  # three values each, the last of one
        assert await reader.read() == Read(0, 6, 6)
        circuits = [circuit for bent in relays.values() for _, _, circuit in bent.lists]
        assert len(set(circuits)) == 12  # one for each relay and reading
        assert not any(circuit.purpose == "mailbox" for circuit in context.circuits.circuits)


async def test_the_ways_are_long_and_their_second_hop_is_pinned(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, taken, paths = inside(node), Taken(), set()
        bend(net)
        reader = MailboxReader(context, mailbox_of(context), OWNER.sign, taken)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(reader.read)
            while nursery.child_tasks:
                for circuit in context.circuits.circuits:
                    if circuit.purpose == "mailbox":
                        paths.add(tuple(row.identity for row in circuit.path))
                await trio.lowlevel.checkpoint()
        whole = {path for path in paths if len(path) == 4}
        assert len(whole) >= 6
        pinned = {row.identity for path in whole for row in context.view.relays if row.identity == path[1]}
        assert pinned <= set(context.guard_file.second_hops(context.view))


@pytest.mark.parametrize("error", [OSError, NetworkUnreachable])
async def test_what_cannot_be_kept_stays_at_its_relays(
    autojump_clock: MockClock, error: type[Exception]
) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken(3, error)
        box = mailbox_of(context)
        (a, _, _), (c, _, _) = places_of(context, box)
        items = sealed(box, context.clock.wall() + HOUR, 5)
        await place(context, items, a, c)
        reader = MailboxReader(context, box, OWNER.sign, taken)
        with pytest.raises(error, match="full"):
            await reader.read()
        assert len(taken.items) == 2
        assert relays[a].kept >= 3
        assert relays[c].kept >= 3
        taken.fails = 0
        assert await reader.read() == Read(3, 6, 6)
        assert sorted(taken.values) == sorted(item.value for item in items)
        assert kept(relays) == 0


async def test_a_relay_cannot_put_its_own_value_under_a_real_id(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, b, _), (c, d, _) = places_of(context, box)
        (item,) = sealed(box, context.clock.wall() + HOUR)
        await place(context, [item], a, c)

        def lie(wanted: w.List) -> w.Items:
            if wanted.mode == w.HEADS:
                return w.Items(w.STORED, 9, heads=(w.Head(item.item_id, 9, item.expires),))
            forged = w.Item(item.item_id, item.expires, 0, bytes(64), bytes(len(item.value)))
            return w.Items(w.STORED, 9, items=(forged,))

        relays[b].on_list = relays[d].on_list = lie
        read = await MailboxReader(context, box, OWNER.sign, taken).read()
        assert taken.values == [item.value]
        assert read.taken == 1
        assert read.answered >= 4
        assert kept(relays) == 0


@pytest.mark.parametrize("answer", [w.Items(w.FULL), w.Items(w.REFUSED), None])
async def test_a_relay_that_does_not_answer_is_asked_again_and_no_other(
    autojump_clock: MockClock, answer: w.Items | None
) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, _, _), (c, _, _) = places_of(context, box)
        items = sealed(box, context.clock.wall() + HOUR, 2)
        await place(context, items, a, c)
        relays[a].silent = answer is None
        relays[a].on_list = lambda wanted: answer
        reader = MailboxReader(context, box, OWNER.sign, taken)
        before = trio.current_time()
        read = await reader.read()
        assert read == Read(2, 5, 6)
        assert not read.whole
        assert trio.current_time() - before < LIST_ANSWER_SECONDS + 10
        assert kept(relays) == 2
        relays[a].silent = False
        relays[a].on_list = lambda wanted: None
        asked_before = {relay: len(bent.lists) for relay, bent in relays.items()}
        read = await reader.read(missing=True)
        assert read == Read(0, 6, 6)
        assert read.whole
        again = {relay for relay, bent in relays.items() if len(bent.lists) > asked_before[relay]}
        assert again == {a}
        assert len(taken.items) == 2
        assert kept(relays) == 0


async def test_a_relay_that_hides_items_hides_them_in_vain(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, _, _), (c, _, _) = places_of(context, box)
        items = sealed(box, context.clock.wall() + HOUR, 4)
        await place(context, items, a, c)
        relays[a].on_list = lambda wanted: w.Items(w.STORED, wanted.after)
        assert (await MailboxReader(context, box, OWNER.sign, taken).read()).taken == 4

        def of_another_order(wanted: w.List) -> w.Items:
            heads = tuple(w.Head(items[0].item_id, number, 0) for number in (5, 4))
            return w.Items(w.STORED, 5, heads=heads)

        relays[a].on_list = of_another_order
        assert (await MailboxReader(context, box, OWNER.sign, taken).read()).answered == 5
        assert context.drops.by_name()["mailbox-shape"] == 1


async def test_heads_of_what_is_not_there_lead_nowhere(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        liar = relays[places_of(context, box)[0][0]]
        pages = []

        def endless(wanted: w.List) -> w.Items:
            pages.append(wanted.mode)
            first = wanted.after + 1
            if wanted.mode == w.VALUES:
                return w.Items(w.STORED, wanted.after)
            return w.Items(w.STORED, first, heads=(w.Head(bytes(32), first, 0),))

        liar.on_list = endless
        assert await MailboxReader(context, box, OWNER.sign, taken).read() == Read(0, 5, 6)
        assert len(pages) == 2 * PAGES_MOST
        assert context.drops.by_name() == {"mailbox-pages": 1}


class Slow(Bent):
    """It names many items that it does not have, and answers just in time whenever it is asked for one."""

    def __init__(self, honest: Role) -> None:
        super().__init__(honest)
        self._answers: list[tuple[float, Reply]] = []

    def handle(
        self, circuit: CircuitHandle, message_type: int, body: bytes, now: float, wall: int
    ) -> tuple[RoleAction, ...]:
        wanted = w.List.decode_untrusted(body)
        if wanted.mode == w.HEADS:
            heads = tuple(w.Head(n.to_bytes(32), n, 2**31) for n in range(1, 301))
            return (Reply(circuit, m.ITEMS, w.Items(w.STORED, 300, heads=heads).encode()),)
        late = Reply(circuit, m.ITEMS, w.Items(w.STORED, wanted.after + 1).encode())
        self._answers.append((now + LIST_ANSWER_SECONDS - 5, late))
        return ()

    def tick(self, now: float, wall: int) -> tuple[RoleAction, ...]:
        due = tuple(answer for at, answer in self._answers if at <= now)
        self._answers = [(at, answer) for at, answer in self._answers if at > now]
        return due


async def test_a_relay_that_is_slow_does_not_hold_up_the_others(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, b, _), (c, d, _) = places_of(context, box)
        items = sealed(box, context.clock.wall() + HOUR, 30)
        await place(context, items, a, c, d)
        mount(relay_of(net, b), Slow(relays[b]))
        reader = MailboxReader(context, box, OWNER.sign, taken)
        assert await reader.read() == Read(30, 5, 6)
        assert sorted(taken.values) == sorted(item.value for item in items)
        assert kept(relays) == 0


async def test_a_page_that_was_recalled_meanwhile_is_passed_over(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, _, _), _ = places_of(context, box)
        items = sealed(box, context.clock.wall() + HOUR, 4)
        await place(context, items, a)

        def nothing(wanted: w.List) -> w.Items | None:
            return None if wanted.mode == w.HEADS else w.Items(w.STORED, wanted.after)

        relays[a].on_list = nothing
        assert await MailboxReader(context, box, OWNER.sign, taken).read() == Read(0, 6, 6)


async def test_offline_a_reading_ends_without_an_error(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, taken = inside(node), Taken()
        for running in list(net.relays):
            await running.stop()
        reader = MailboxReader(context, mailbox_of(context), OWNER.sign, taken)
        before = trio.current_time()
        assert await reader.read() == Read(0, 0, 6)
        assert trio.current_time() - before <= 2 * CIRCUIT_SECONDS


async def test_older_periods_are_read_once_over_time_and_again_only_where_it_failed(
    autojump_clock: MockClock,
) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        boxes = [mailbox_of(context, before=before) for before in (0, 1)]
        silent = places_of(context, boxes[1])[0][0]
        relays[silent].on_list = lambda wanted: w.Items(w.FULL) if wanted.mailbox == boxes[1] else None
        readers = [MailboxReader(context, box, OWNER.sign, taken) for box in boxes]
        started = trio.current_time()
        with trio.move_on_after(3000):
            await read_older(context, readers, 600)
            raise AssertionError("one relay never answered")
        rounds = [(now, wanted.mailbox) for bent in relays.values() for now, wanted, _ in bent.lists]
        first = {box: min(now for now, mailbox in rounds if mailbox == box) for box in boxes}
        assert len(set(first.values())) == 2
        late = {relay for relay, bent in relays.items() for now, _, _ in bent.lists if now > started + 700}
        assert late == {silent}
        relays[silent].on_list = lambda wanted: None
        await read_older(context, readers, 600)


async def test_a_changed_signature_is_refused_by_the_relays(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, _, _), _ = places_of(context, box)
        await place(context, sealed(box, context.clock.wall() + HOUR), a)
        read = await MailboxReader(context, box, lambda message: bytes(64), taken).read()
        assert read == Read(0, 0, 6)
        other = replace(box, period=box.period + 100)
        assert await MailboxReader(context, other, OWNER.sign, taken).read() == Read(0, 0, 0)
        assert kept(relays) == 1


# A mailbox that is watched.


@asynccontextmanager
async def watching(reader: MailboxReader) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(reader.watch)
        yield
        nursery.cancel_scope.cancel()


async def test_what_comes_to_a_watched_mailbox_is_taken_within_a_second(autojump_clock: MockClock) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, b, _), (c, d, _) = places_of(context, box)
        first, *others = sealed(box, context.clock.wall() + HOUR, 4)
        await place(context, [first], a, b, c, d)
        async with watching(MailboxReader(context, box, OWNER.sign, taken)):
            await trio.sleep(2)
            assert taken.values == [first.value]
            for item, relay in zip(others, (a, c, d), strict=True):
                await trio.sleep(60)
                await place(context, [item], relay)
                await trio.sleep(1)
                assert taken.values[-1] == item.value
            await trio.sleep(1)
            assert kept(relays) == 0
            waits = [one.wait for bent in relays.values() for _, one, _ in bent.lists if one.wait]
            assert set(waits) == {WATCH_SECONDS}
            # Nobody asks again and again where nothing comes.
            before = asked(relays, w.HEADS)
            await trio.sleep(300)
            assert asked(relays, w.HEADS) - before <= 6
        await trio.sleep(1)
        assert not any(circuit.purpose == "mailbox" for circuit in context.circuits.circuits)


async def test_relays_where_too_many_wait_and_silent_ones_are_asked_later_and_later(
    autojump_clock: MockClock,
) -> None:
    async with small(8, interval_seconds=1800, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (crowded, silent, _), (c, _, _) = places_of(context, box)
        relays[crowded].on_list = lambda wanted: w.Items(w.STORED, wanted.after) if wanted.wait else None
        relays[silent].silent = True
        (lies, comes) = sealed(box, context.clock.wall() + HOUR, 2)
        await place(context, [lies], c)
        async with watching(MailboxReader(context, box, OWNER.sign, taken)):
            await trio.sleep(300)
            assert taken.values == [lies.value], "the others are read as ever"
            times = [now for now, _, _ in relays[crowded].lists]
            assert 8 < len(times) < 30
            assert times[-1] - times[-2] > WATCH_MOST_AGAIN_SECONDS / 2
            relays[silent].silent = False
            await place(context, [comes], silent)
            await trio.sleep(WATCH_SECONDS + LIST_ANSWER_SECONDS + WATCH_MOST_AGAIN_SECONDS + 5)
            assert taken.values == [lies.value, comes.value]


async def test_a_new_consensus_may_mean_other_relays_and_what_was_taken_is_not_taken_again(
    autojump_clock: MockClock,
) -> None:
    async with small(8, interval_seconds=60, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken()
        box = mailbox_of(context)
        (a, b, _), (c, _, _) = places_of(context, box)
        items = sealed(box, context.clock.wall() + HOUR, 2)
        await place(context, items[:1], a, b, c)
        async with watching(MailboxReader(context, box, OWNER.sign, taken)):
            await trio.sleep(5)
            ways = {circuit for bent in relays.values() for _, _, circuit in bent.lists}
            await context.keeper.changed()
            await trio.sleep(5)
            later = {circuit for bent in relays.values() for _, _, circuit in bent.lists}
            assert len(later - ways) >= 6
            await place(context, items[1:], b)
            await trio.sleep(2)
            assert sorted(taken.values) == sorted(item.value for item in items)


async def test_what_cannot_be_kept_ends_the_watching_and_stays_at_its_relays(
    autojump_clock: MockClock,
) -> None:
    async with small(8, interval_seconds=600, **QUIET) as net, net.join() as node:
        context, relays, taken = inside(node), bend(net), Taken(1)
        box = mailbox_of(context)
        (a, _, _), _ = places_of(context, box)
        reader = MailboxReader(context, box, OWNER.sign, taken)
        await place(context, sealed(box, context.clock.wall() + HOUR), a)
        with pytest.raises(OSError, match="full"), trio.fail_after(30):
            await reader.watch()
        assert kept(relays) == 1
        taken.fails = 0
        with trio.move_on_after(5):
            await reader.watch()
        assert len(taken.items) == 1
