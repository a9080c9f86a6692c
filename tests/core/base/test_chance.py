"""Chance: every draw is even, in its bounds, and the seed's and nobody else's."""

from __future__ import annotations

from collections import Counter
from math import exp

import pytest

from onionshh.core.base.chance import Chance
from tests.seeded import seeded


def chance(seed: int) -> Chance:
    return Chance(seeded(seed))


def draws(c: Chance) -> list[object]:
    items = list(range(50))
    return [
        c.below(2**64),
        c.unit(),
        c.between(1.5, 9.5),
        c.exponential(2.0),
        c.choice(items),
        c.shuffled(items),
        c.weighted(items, range(50)),
        c.bytes(8),
    ]


def test_the_seed_governs_every_draw() -> None:
    one, same, other = draws(chance(1)), draws(chance(1)), draws(chance(2))
    assert one == same
    assert all(mine != theirs for mine, theirs in zip(one, other, strict=True))


def even(counts: Counter[int], expected: list[float]) -> bool:
    """Chi squared within six standard deviations of its mean, for a fixed seed."""
    assert set(counts) <= set(range(len(expected)))
    squares = sum((counts[i] - e) ** 2 / e for i, e in enumerate(expected))
    freedom = len(expected) - 1
    return bool(squares < freedom + 6 * (2 * freedom) ** 0.5)


@pytest.mark.parametrize("n", [1, 2, 3, 7, 10, 100])
def test_below_is_even(n: int) -> None:
    c = chance(n)
    counts = Counter(c.below(n) for _ in range(200 * n))
    assert len(counts) == n
    assert n == 1 or even(counts, [200.0] * n)


def test_below_reaches_far_bounds() -> None:
    c = chance(3)
    assert max(c.below(2**64) for _ in range(100)) > 2**63


@pytest.mark.parametrize("n", [0, -1])
def test_below_nothing_is_an_error(n: int) -> None:
    with pytest.raises(ValueError):
        chance(0).below(n)


def test_unit_and_between() -> None:
    c = chance(4)
    assert even(Counter(int(c.unit() * 20) for _ in range(4000)), [200.0] * 20)
    drawn = [c.between(1.5, 9.5) for _ in range(4000)]
    assert 1.5 <= min(drawn) < 1.6
    assert 9.4 < max(drawn) < 9.5
    assert sum(drawn) / 4000 == pytest.approx(5.5, abs=0.15)


def test_unit_never_reaches_one() -> None:
    assert 0.999 < Chance(lambda n: b"\xff" * n).unit() < 1.0
    assert Chance(bytes).unit() == 0.0
    assert Chance(lambda n: b"\xff" * n).exponential(1.0) < 40  # 53 bits, so log never meets 0


def test_exponential() -> None:
    c = chance(5)
    drawn = [c.exponential(2.0) for _ in range(5000)]
    assert min(drawn) >= 0
    assert sum(drawn) / 5000 == pytest.approx(2.0, rel=0.06)
    for at in (0.5, 2.0, 6.0):
        assert sum(x > at for x in drawn) / 5000 == pytest.approx(exp(-at / 2), abs=0.025)


def test_choice_is_even() -> None:
    c = chance(6)
    assert even(Counter(c.choice(range(8)) for _ in range(1600)), [200.0] * 8)
    with pytest.raises(ValueError):
        c.choice([])


def test_shuffled_gives_every_order_as_often() -> None:
    c = chance(7)
    orders = Counter(tuple(c.shuffled("abc")) for _ in range(1200))
    assert len(orders) == 6
    assert even(Counter(dict(enumerate(orders.values()))), [200.0] * 6)


def test_shuffled_leaves_its_argument_alone() -> None:
    items = [1, 2, 3, 4, 5]
    mixed = chance(8).shuffled(items)
    assert items == [1, 2, 3, 4, 5]
    assert sorted(mixed) == items
    assert chance(8).shuffled([]) == []


def test_weighted_follows_the_weights() -> None:
    c = chance(9)
    counts = Counter(c.weighted(range(4), [100, 300, 0, 600]) for _ in range(2000))
    assert counts[2] == 0
    assert even(Counter({0: counts[0], 1: counts[1], 2: counts[3]}), [200.0, 600.0, 1200.0])


def test_weighted_without_weights_is_even() -> None:
    c = chance(10)
    assert even(Counter(c.weighted(range(5), [0] * 5) for _ in range(1000)), [200.0] * 5)
