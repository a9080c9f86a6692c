"""Hash chains: every tag opens once, and a lost cell does not hold the window back (SPEC 12)."""

from __future__ import annotations

from random import Random

import pytest

from onionshh.core.session.chains import (
    SKIPPED_MOST,
    WINDOW,
    AcceptingChain,
    SpendingChain,
    Step,
    next_step,
    tag_of,
)
from tests.core.session import plain
from tests.crypto.test_known import h, known
from tests.seeded import seeded

KEY = seeded(1)(32)
STEPS = [Step(step) for step in plain.steps(KEY, 400)]


def accepted(chain: AcceptingChain) -> set[int]:
    return {index for _, index in chain.tags()}


def test_the_steps_and_tags_are_the_known_ones() -> None:
    kept = known("session.json")
    spending = SpendingChain(h(kept["V"]))
    accepting = AcceptingChain(h(kept["V"]))
    for index, (step, tag) in enumerate(kept["steps"]):
        assert spending.spend() == (index, h(step))
        assert tag_of(Step(h(step))) == h(tag) == plain.tag(h(step))
        assert accepting.step(index) == h(step)
    assert plain.steps(h(kept["V"]), 3) == [h(step) for step, _ in kept["steps"]]


def test_a_step_and_the_next_key_tell_nothing_of_each_other() -> None:
    step, key = next_step(KEY)
    assert len(step) == len(key) == 32
    assert len({step, key, KEY, next_step(key)[0], next_step(step)[0]}) == 5


def test_a_spent_step_is_gone_from_memory() -> None:
    chain = SpendingChain(KEY)
    index, step = chain.spend()
    assert (index, step) == (0, STEPS[0])
    assert chain.key == next_step(KEY)[1]
    assert chain.spend() == (1, STEPS[1])


def test_an_answer_settles_all_before_it_and_nothing_after_it() -> None:
    chain = SpendingChain(KEY)
    for _ in range(10):
        chain.spend()
    assert chain.unanswered == 10
    chain.answered(6)
    assert (chain.settled, chain.unanswered) == (7, 3)
    chain.answered(2)
    assert chain.unanswered == 3, "an older answer takes nothing back"
    chain.answered(500)
    assert (chain.settled, chain.unanswered) == (10, 0), "no answer settles what was not spent"


def test_the_window_reaches_31_ahead() -> None:
    chain = AcceptingChain(KEY)
    assert accepted(chain) == set(range(WINDOW))
    assert dict(chain.tags()) == {tag_of(step): index for index, step in enumerate(STEPS[:WINDOW])}
    assert chain.step(WINDOW - 1) == STEPS[WINDOW - 1]
    assert chain.step(WINDOW) is None
    assert chain.burn(WINDOW) == ([], [])
    assert chain.base == 0


def test_the_highest_used_tag_slides_the_window_and_skipped_ones_open_once() -> None:
    chain = AcceptingChain(KEY)
    gone, new = chain.burn(5)
    assert gone == [tag_of(STEPS[5])]
    assert new == [(tag_of(STEPS[number]), number) for number in range(WINDOW, WINDOW + 6)]
    assert chain.base == 6
    assert accepted(chain) == {*range(5), *range(6, 6 + WINDOW)}
    assert chain.step(5) is None
    assert chain.step(3) == STEPS[3]
    assert chain.burn(3) == ([tag_of(STEPS[3])], [])
    assert chain.step(3) is None
    assert chain.burn(3) == ([], [])


def test_a_lost_cell_does_not_hold_the_window_back() -> None:
    chain = AcceptingChain(KEY)
    for index in range(1, 200):
        assert chain.step(index) == STEPS[index]
        chain.burn(index)
    assert chain.step(0) == STEPS[0]
    assert len(chain.skipped) == 1


def test_at_most_32_skipped_steps_are_kept_and_the_oldest_go() -> None:
    chain = AcceptingChain(KEY)
    chain.burn(31)
    assert sorted(chain.skipped) == list(range(31))
    gone, _ = chain.burn(36)
    assert sorted(chain.skipped) == [*range(3, 31), *range(32, 36)]
    assert len(chain.skipped) == SKIPPED_MOST
    assert set(gone) == {tag_of(STEPS[index]) for index in (0, 1, 2, 36)}
    assert chain.step(2) is None


def test_what_is_kept_opens_no_step_that_was_used() -> None:
    """Of the key on disk follow only later steps."""
    chain = AcceptingChain(KEY)
    chain.burn(7)
    assert plain.steps(chain.key, 3) == STEPS[8:11]
    assert 7 not in chain.skipped


def test_no_key_shows_in_a_repr() -> None:
    spending, accepting = SpendingChain(KEY), AcceptingChain(KEY)
    for said in (repr(spending), repr(accepting)):
        assert KEY.hex() not in said
        assert repr(KEY) not in said


@pytest.mark.parametrize("seed", range(4))
def test_any_script_against_a_simple_model(seed: int) -> None:
    """The model is a base and a list of what was skipped. Now and then the chain goes to disk and back."""
    random = Random(seed)
    chain = AcceptingChain(KEY)
    base = 0
    skipped: list[int] = []
    used: set[int] = set()
    index_of = dict(chain.tags())
    while base < 330:
        number = random.choice(
            (base, base, base + 1, base + random.randrange(-70, 40), random.randrange(350))
        )
        number = max(0, number)
        may = number in skipped or base <= number < base + WINDOW
        assert chain.step(number) == (STEPS[number] if may else None)
        assert not may or number not in used, "no step opens twice"
        gone, new = chain.burn(number)
        if may and number >= base:
            skipped = [*skipped, *range(base, number)][-SKIPPED_MOST:]
            base = number + 1
        elif may:
            skipped.remove(number)
        used |= {number} if may else set()
        for tag in gone:
            del index_of[tag]
        index_of |= dict(new)
        assert (chain.base, list(chain.skipped)) == (base, skipped)
        if not random.randrange(10):
            chain = AcceptingChain(chain.key, chain.base, dict(chain.skipped))
            assert index_of == dict(chain.tags())
            assert accepted(chain) == {*skipped, *range(base, base + WINDOW)}
