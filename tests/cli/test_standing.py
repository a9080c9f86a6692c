"""Whether strangers reach the endpoint: what is said of it stays true, and is said once."""

from __future__ import annotations

import json

import pytest
from trio.testing import MockClock

from onionshh.cli.lines import Output
from onionshh.cli.standing import SETTLED_LOOKS, Standing
from onionshh.cli.voice import JsonVoice, PeopleVoice, Voice
from onionshh.client.hosting.reachability import Reachability
from tests.cli.conftest import Heard, speaking

WANTED = 6


@pytest.fixture(params=[PeopleVoice, JsonVoice])
def voice(request: pytest.FixtureRequest, heard: Heard) -> Voice:
    made: Voice = request.param(Output(heard.writing))
    return made


async def test_the_number_of_introducers_is_told_when_it_has_settled(
    voice: Voice, heard: Heard, autojump_clock: MockClock
) -> None:
    """The first one makes it reachable; more come, one goes and comes back, most go."""
    standing = Standing(voice, WANTED)

    def stands(number: int, looks: int = SETTLED_LOOKS) -> None:
        for _ in range(looks):
            standing.looked(Reachability(True, number, 3.2), late=True)

    async with speaking(voice):
        standing.changed(Reachability(True, 1, 3.2))
        for number in (2, 3, 4, 5):
            stands(number, looks=1)
        stands(6, looks=100)
        stands(5, looks=100)
        stands(6)
        stands(7)  # one that is about to end, and the one that takes its place
        stands(0)  # the loss is told by itself
        stands(2)
        stands(1)
        lines = await heard.lines(4)
    said = [json.loads(one) if one.startswith("{") else one.partition(" ")[2] for one in lines]
    if isinstance(voice, PeopleVoice):
        assert said == [
            "reachable through 1 introducer, after 3.2 s",
            "reachable through 6 introducers now",
            "reachable through 2 introducers now",
            "reachable through 1 introducer now",
        ]
    else:
        assert said[0] == {"event": "reachable", "introducers": 1, "seconds": 3.2}
        assert said[1:] == [{"event": "introducers", "introducers": number} for number in (6, 2, 1)]


async def test_why_it_is_not_reachable_is_told_once_for_each_reason(
    heard: Heard, autojump_clock: MockClock
) -> None:
    voice = PeopleVoice(Output(heard.writing))
    standing = Standing(voice, WANTED)

    def stays(why: str, late: bool = True) -> None:
        for _ in range(10):
            standing.looked(Reachability(False, 0, 0.0, why), late)

    async with speaking(voice):
        stays("it has just started", late=False)
        for _ in range(3):
            stays("it has no introducer")
            stays("its descriptor is not on the ring")
        standing.changed(Reachability(True, 6, 60.0))
        standing.changed(Reachability(False, 0, 0.0, "it has no introducer"))
        stays("it has no introducer")
        lines = [line.partition(" ")[2] for line in await heard.lines(4)]
    assert lines == [
        "not reachable: it has no introducer",
        "not reachable: its descriptor is not on the ring",
        "reachable through 6 introducers, after 60.0 s",
        "not reachable: it has no introducer",
    ]
