from __future__ import annotations

from random import Random

import pytest

from onionshh.core.base.holders import Holders


def largest(holders: Holders[int]) -> list[int]:
    return list(holders.of_the_largest())


def test_the_items_of_whoever_holds_most_oldest_first() -> None:
    holders: Holders[int] = Holders()
    assert largest(holders) == []
    holders.add("a", 1)
    assert largest(holders) == [1]
    holders.add("b", 2)
    assert largest(holders) == [1, 2]  # both hold one
    holders.add("b", 3)
    assert largest(holders) == [2, 3]
    holders.add("a", 4)
    holders.remove("b", 2)
    assert largest(holders) == [1, 4]
    assert [holders.count(name) for name in "abc"] == [2, 1, 0]
    for name, item in (("a", 1), ("a", 4), ("b", 3)):
        holders.remove(name, item)
    assert largest(holders) == []
    assert not holders._items
    assert not holders._rows


def test_what_nobody_holds_cannot_be_removed() -> None:
    holders: Holders[int] = Holders()
    holders.add("a", 1)
    for name, item in (("a", 2), ("b", 1)):
        with pytest.raises(KeyError):
            holders.remove(name, item)
    assert largest(holders) == [1]


def test_the_rows_hold_after_any_sequence() -> None:
    random = Random(1)
    holders: Holders[int] = Holders()
    kept: dict[str, list[int]] = {name: [] for name in "abcdef"}
    for number in range(5000):
        name = random.choice("abcdef")
        if kept[name] and random.random() < 0.5:
            holders.remove(name, kept[name].pop(random.randrange(len(kept[name]))))
        else:
            holders.add(name, number)
            kept[name].append(number)
        most = max(len(items) for items in kept.values())
        expected = {item for items in kept.values() if len(items) == most for item in items if most}
        assert set(largest(holders)) == expected
