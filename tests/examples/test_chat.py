"""Five talk in a room, and one of them is away for a day."""

from __future__ import annotations

from collections import defaultdict

import trio
from trio.testing import MockClock

import onionshh
from onionshh import testing
from tests.client.letterworld import DAY, DAYS, slowly
from tests.client.world import small, until
from tests.examples import chat
from tests.seeded import seeded

ROOM = bytes(range(32))
NICKS = ("anna", "ben", "cleo", "dan", "eve")


class Member:
    """One member, in all its runs."""

    def __init__(self, net: testing.Network, number: int) -> None:
        self.net = net
        self.nick = NICKS[number]
        self.identity = onionshh.Identity.generate(seeded(number))
        self.heard: list[chat.Line] = []

    async def runs(
        self, saying: list[str], scope: trio.CancelScope, task_status: trio.TaskStatus[None]
    ) -> None:
        """Be there until `scope` is cancelled. Say these things first."""
        with scope:
            async with (
                self.net.join(self.nick) as node,
                node.board(ROOM, author=self.identity, name=self.nick) as room,
            ):
                for text in saying:
                    await chat.say(room, self.nick, text)
                task_status.started()
                async for line in chat.listen(room):
                    self.heard.append(line)

    @property
    def by_nick(self) -> dict[str, list[str]]:
        """What was heard of each."""
        found = defaultdict(list)
        for line in self.heard:
            found[line.nick].append(line.text)
        return dict(found)


async def test_who_was_away_for_a_day_hears_all_that_was_said_once_and_in_order(
    autojump_clock: MockClock,
) -> None:
    with slowly(300.0):
        async with small(8, **DAYS) as net, trio.open_nursery() as nursery:
            members = [Member(net, number) for number in range(5)]
            scopes = [trio.CancelScope() for _ in members]

            async def enter(number: int, saying: list[str]) -> None:
                scopes[number] = trio.CancelScope()

                async def run(task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
                    await members[number].runs(saying, scopes[number], task_status)

                await nursery.start(run)

            for number, nick in enumerate(NICKS):
                await enter(number, [f"I am {nick}"])
            await until(lambda: all(len(member.heard) == 5 for member in members), 900)
            for scope in scopes:
                scope.cancel()
            await trio.sleep(60)
            for number in range(4):
                await enter(number, [f"{NICKS[number]} {count}" for count in range(3)])
            await until(lambda: all(len(member.heard) == 17 for member in members[:4]), 900)
            await trio.sleep(120)
            for scope in scopes[:4]:
                scope.cancel()
            await trio.sleep(DAY - 7200)
            for number in range(4):
                await enter(number, [])
            await enter(4, ["I was away"])
            await until(lambda: all(len(member.heard) == 18 for member in members), 1800)
            for member in members:
                assert member.by_nick == {
                    **{
                        nick: [f"I am {nick}", *(f"{nick} {count}" for count in range(3))]
                        for nick in NICKS[:4]
                    },
                    "eve": ["I am eve", "I was away"],
                }
                assert not any(line.missing for line in member.heard)
                assert len({line.who for line in member.heard}) == 5
            nursery.cancel_scope.cancel()
