"""Who handles whispers may change at any moment: each is handled once, and none waits for what is over."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio
from trio.testing import MockClock

from onionshh.cli.answers import Answers
from onionshh.cli.handling import HANDLED_AT_ONCE, Handling, NotHandled, Patience, Tally
from onionshh.cli.lines import LineReader, Output
from onionshh.cli.showing import Showing, ShowingAndHolding
from onionshh.cli.taking import Taking
from onionshh.cli.voice import PeopleVoice
from onionshh.client.contact import Contact
from onionshh.client.endpoint import Endpoint
from onionshh.client.whisper import Whisper
from tests.cli.conftest import Pipe
from tests.client.world import QUIET, hosted, small, until


class Screen(PeopleVoice):
    """What was shown. It can be stuck."""

    def __init__(self) -> None:
        super().__init__(Output())
        self.shown: Counter[bytes] = Counter()
        self.free = trio.Event()
        self.free.set()

    async def show(self, whisper: Whisper) -> None:
        await self.free.wait()
        self.shown[whisper.body] += 1
        self.last = whisper.id


class Program:
    """What was handled. It can take its time, and it can fail."""

    def __init__(self) -> None:
        self.seen: Counter[bytes] = Counter()
        self.free = trio.Event()
        self.free.set()
        self.fails = False

    async def handle(self, whisper: Whisper) -> bytes:
        await self.free.wait()
        if self.fails:
            raise NotHandled("the program asks for another run")
        self.seen[whisper.body] += 1
        return whisper.body.upper()


class World:
    """An endpoint whose whispers go to a program at first, a screen, and somebody who whispers."""

    def __init__(self, endpoint: Endpoint, contact: Contact) -> None:
        self.endpoint, self.contact = endpoint, contact
        self.screen, self.program, self.tally = Screen(), Program(), Tally()
        patience = Patience()
        self.showing = Showing(self.screen, patience, self.tally)
        self.handling = Handling(self.program.handle, lambda whisper: None, patience, self.tally)
        self.taking = Taking(self.handling, patience, self.tally)

    async def finished(self, count: int) -> None:
        await until(lambda: self.tally.finished == count)
        assert self.endpoint.waiting[0] == 0


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    async with small(**QUIET) as net, hosted(net) as (_, endpoint), net.join("visitor") as visitor:
        async with trio.open_nursery() as nursery, visitor.contact(endpoint.address) as contact:
            made = World(endpoint, contact)
            nursery.start_soon(made.taking.run, endpoint)
            yield made
            nursery.cancel_scope.cancel()


async def test_each_whisper_goes_to_who_handles_them_when_it_comes(autojump_clock: MockClock) -> None:
    async with world() as it:
        assert await it.contact.ask(b"one") == b"ONE"
        it.taking.use(it.showing)
        assert (await it.contact.whisper(b"two")).status == "delivered"
        await it.finished(2)
        it.taking.use(it.handling)
        it.taking.use(it.handling)
        assert await it.contact.ask(b"three") == b"THREE"
        await it.finished(3)
        assert it.program.seen == {b"one": 1, b"three": 1}
        assert it.screen.shown == {b"two": 1}
        assert it.tally.taken == 3


async def test_a_run_that_goes_on_is_not_disturbed_and_holds_up_nobody(autojump_clock: MockClock) -> None:
    async with world() as it:
        it.program.free = trio.Event()
        running = [it.contact.send(b"run %d" % number) for number in range(HANDLED_AT_ONCE)]
        await until(lambda: it.tally.taken == HANDLED_AT_ONCE)
        waits = it.contact.send(b"waits for a place")
        await trio.sleep(5)
        assert it.tally.taken == HANDLED_AT_ONCE
        it.taking.use(it.showing)
        await until(lambda: it.screen.shown[b"waits for a place"] == 1)
        assert (await waits.final()).status == "delivered"
        it.program.free.set()
        assert [await receipt.reply() for receipt in running] == [
            b"RUN %d" % number for number in range(HANDLED_AT_ONCE)
        ]
        await it.finished(HANDLED_AT_ONCE + 1)
        assert set(it.program.seen.values()) == {1}
        assert it.screen.shown == {b"waits for a place": 1}


async def test_what_a_program_could_not_handle_is_shown_at_once(autojump_clock: MockClock) -> None:
    async with world() as it:
        it.program.fails = True
        for number in range(2 * HANDLED_AT_ONCE):
            it.contact.send(b"bad %d" % number, ttl_seconds=3600)
        await until(lambda: it.tally.kept == 2 * HANDLED_AT_ONCE)
        await trio.sleep(200)  # the next try is minutes away
        it.program.fails = False
        it.taking.use(it.showing)
        with trio.fail_after(2):
            await it.finished(2 * HANDLED_AT_ONCE)
        assert it.tally.kept == 0
        assert it.program.seen == {}
        assert set(it.screen.shown.values()) == {1}


async def test_one_that_fails_after_the_change_is_shown_and_not_tried(autojump_clock: MockClock) -> None:
    async with world() as it:
        it.program.free, it.program.fails = trio.Event(), True
        it.contact.send(b"slow")
        await until(lambda: it.tally.taken == 1)
        it.taking.use(it.showing)
        it.taking.use(it.handling)
        it.taking.use(it.showing)
        it.program.free.set()
        await it.finished(1)
        assert it.screen.shown == {b"slow": 1}


async def test_while_stdout_is_stuck_others_are_handled(autojump_clock: MockClock) -> None:
    async with world() as it:
        it.taking.use(it.showing)
        it.screen.free = trio.Event()
        for body in (b"first", b"second"):
            it.contact.send(body)
        await until(lambda: it.tally.taken == 1)
        await trio.sleep(5)
        it.taking.use(it.handling)
        assert await it.contact.ask(b"third") == b"THIRD"
        await until(lambda: it.program.seen[b"second"] == 1)
        it.screen.free.set()
        await it.finished(3)
        assert it.screen.shown == {b"first": 1}
        assert it.program.seen == {b"second": 1, b"third": 1}


async def test_however_often_it_changes_none_is_lost_and_none_comes_twice(autojump_clock: MockClock) -> None:
    bodies = [b"%d" % number for number in range(60)]
    async with world() as it, trio.open_nursery() as nursery:

        @nursery.start_soon
        async def change() -> None:
            while True:
                it.taking.use(it.showing)
                await trio.sleep(0.003)
                it.taking.use(it.handling)
                await trio.sleep(0.002)

        for body in bodies:
            it.contact.send(body, ttl_seconds=3600)
            await trio.sleep(0.004)
        await it.finished(len(bodies))
        nursery.cancel_scope.cancel()
        assert it.program.seen + it.screen.shown == dict.fromkeys(bodies, 1)
        assert len(it.program.seen) > 5
        assert len(it.screen.shown) > 5
        assert it.tally.taken == len(bodies)


async def test_what_a_program_was_shown_may_still_be_answered_by_its_line(
    pipe: Pipe, autojump_clock: MockClock
) -> None:
    async with world() as it:
        answers = Answers(LineReader(pipe.reading), Output(), Patience(), it.tally)
        it.taking.use(ShowingAndHolding(it.screen, answers))
        question = it.contact.send(b"question")
        await until(lambda: it.screen.shown[b"question"] == 1)
        it.taking.use(it.handling)
        assert await it.contact.ask(b"other") == b"OTHER"
        assert it.tally.finished == 1
        os.write(pipe.writing, json.dumps({"reply_to": it.screen.last, "body": "answer"}).encode() + b"\n")
        pipe.close(pipe.writing)
        await answers.run()
        assert await question.reply() == b"answer"
        await it.finished(2)
        assert it.program.seen == {b"other": 1}
