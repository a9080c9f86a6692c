"""How much strangers must work, from what introducers say, truthful and lying ones (SPEC 15)."""

from __future__ import annotations

from random import Random

import pytest

from onionshh.core.endpoint.admission import (
    EFFORT_MOST,
    SEED_SECONDS,
    START_EFFORT,
    STEP_SECONDS,
    Admission,
)
from onionshh.wire.messages import IntroLoad
from tests.seeded import seeded

WALL = 1_790_000_000
SOME, PAID = IntroLoad(5, 0), IntroLoad(5, 1)
STANDING = 6


class World:
    """An endpoint with six introducers, and its time. Each step is five minutes."""

    def __init__(self) -> None:
        self.admission = Admission(seeded(1))
        self.now = 100.0

    @property
    def wall(self) -> int:
        return WALL + int(self.now)

    def says(self, load: IntroLoad, *introducers: int) -> list[bool]:
        return [self.admission.load(bytes((one,)), load, self.now, self.wall) for one in introducers]

    def step(self, standing: int = STANDING) -> bool:
        self.now += STEP_SECONDS
        return self.admission.tick(standing, self.now, self.wall)

    @property
    def effort(self) -> int:
        proof = self.admission.proof
        return 0 if proof is None else proof.effort

    @property
    def seed(self) -> bytes:
        proof = self.admission.proof
        assert proof is not None
        return proof.seed

    def raised(self, effort: int) -> None:
        """So much is wanted now."""
        self.says(SOME, 0)
        while self.effort < effort:
            self.says(PAID, *range(STANDING))
            self.step()
        assert self.effort == effort


def test_without_load_strangers_prove_nothing() -> None:
    world = World()
    assert world.admission.proof is None
    assert world.admission.next_deadline is None
    assert not world.step()
    assert world.admission.proof is None


@pytest.mark.parametrize("load", [SOME, PAID])
def test_the_first_who_was_turned_away_brings_the_first_effort_at_once(load: IntroLoad) -> None:
    world = World()
    assert world.says(load, 0, 1) == [True, False]
    proof = world.admission.proof
    assert proof is not None
    assert (proof.effort, proof.expires, len(proof.seed)) == (START_EFFORT, world.wall + SEED_SECONDS, 32)
    assert world.admission.next_deadline == world.now + STEP_SECONDS
    assert START_EFFORT == 64


def test_when_nothing_was_turned_away_it_falls_by_a_third_and_ends() -> None:
    world = World()
    world.raised(1024)
    world.says(SOME, 0)
    world.step()
    seen = []
    while world.admission.proof is not None:
        seen.append(world.effort)
        assert world.step()
    assert seen == [682, 454, 302, 201, 134, 89]
    assert world.admission.next_deadline is None
    assert world.says(SOME, 0) == [True]
    assert world.effort == START_EFFORT


def test_the_first_effort_ends_after_one_quiet_step() -> None:
    world = World()
    world.says(SOME, 0)
    assert not world.admission.tick(STANDING, world.now + STEP_SECONDS - 0.1, world.wall)
    assert not world.step(), "some were turned away since it began"
    assert world.effort == START_EFFORT
    assert world.step()
    assert world.admission.proof is None


@pytest.mark.parametrize("introducers, raises", [(0, False), (1, False), (3, False), (4, True), (6, True)])
def test_only_more_than_half_drive_it_up(introducers: int, raises: bool) -> None:
    world = World()
    world.raised(1024)
    world.says(PAID, *range(introducers))
    world.says(SOME, *range(introducers, STANDING))
    assert world.step()
    assert world.effort == (2048 if raises else 682)


def test_each_introducer_counts_once_and_only_since_the_last_step() -> None:
    world = World()
    world.raised(128)
    world.says(PAID, 0, 0, 0, 0, 0)
    world.step()
    assert world.effort == 85
    for one in range(4):  # one after the other, never more than half together
        world.says(PAID, one)
        world.step()
    assert world.effort == START_EFFORT


@pytest.mark.parametrize("turned_away", [1, 1000, 0xFFFFFFFF])
def test_whoever_pays_nothing_cannot_drive_it_up(turned_away: int) -> None:
    world = World()
    for _ in range(50):
        world.says(IntroLoad(turned_away, 0), *range(STANDING))
        world.step()
        assert world.effort == START_EFFORT


def test_one_lying_introducer_of_six_brings_the_first_effort_and_no_more() -> None:
    world = World()
    for _ in range(50):
        world.says(IntroLoad(0xFFFFFFFF, 0xFFFFFFFF), 0, 0, 0)
        world.step()
        assert world.effort == START_EFFORT
    world.step()
    assert world.admission.proof is None


@pytest.mark.parametrize("standing, raises", [(0, True), (1, True), (2, False), (3, False)])
def test_with_few_introducers_one_of_two_is_not_more_than_half(standing: int, raises: bool) -> None:
    world = World()
    world.says(PAID, 0)
    world.step(standing)
    assert world.effort == (128 if raises else 64)


def test_there_is_a_most() -> None:
    world = World()
    world.says(SOME, 0)
    for _ in range(30):
        world.says(PAID, *range(STANDING))
        world.step()
    assert world.effort == EFFORT_MOST == 10_000


def test_a_change_brings_a_new_seed_and_the_same_effort_keeps_it_for_an_hour() -> None:
    world = World()
    world.says(SOME, 0)
    first, began = world.seed, world.now
    changes = []
    while world.now < began + 2 * SEED_SECONDS:
        world.says(SOME, 0)
        if world.step():
            changes.append(world.now - began)
            assert world.seed != first
            first = world.seed
        proof = world.admission.proof
        assert proof is not None
        assert proof.expires - world.wall >= SEED_SECONDS // 2 - STEP_SECONDS
        assert world.effort == START_EFFORT
    assert changes == [SEED_SECONDS / 2 * n for n in (1, 2, 3, 4)]
    world.says(PAID, *range(STANDING))
    assert world.step()
    assert world.seed != first


@pytest.mark.parametrize("seed", range(5))
def test_whatever_is_said_it_stays_within_its_bounds(seed: int) -> None:
    world, chance = World(), Random(seed)
    for _ in range(300):
        for _ in range(chance.randint(0, 8)):
            turned_away = chance.randint(1, 0xFFFFFFFF)
            world.says(IntroLoad(turned_away, chance.randint(0, turned_away)), chance.randint(0, 9))
        before = world.effort
        world.step(chance.randint(0, 8))
        assert world.effort in (0, *range(START_EFFORT, EFFORT_MOST + 1))
        assert world.effort <= max(2 * before, START_EFFORT)
        assert (world.admission.next_deadline is None) == (world.admission.proof is None)
        proof = world.admission.proof
        assert proof is None or proof.expires > world.wall + SEED_SECONDS // 2 - STEP_SECONDS
