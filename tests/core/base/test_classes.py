from __future__ import annotations

from collections import Counter

import pytest

from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import CLASSES, FLASH, TALK, PrivacyClass, check_hops, privacy_class
from tests.seeded import seeded


def test_the_classes_that_are_spoken_and_their_numbers() -> None:
    assert {name: (one.number, one.hops) for name, one in CLASSES.items()} == {
        "flash": (0, (0, 1)),
        "talk": (1, (2, 3)),
    }
    assert privacy_class("talk") is TALK


@pytest.mark.parametrize("name", ["hush", "dark"])
def test_a_class_of_a_later_version_is_told_apart(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' is not available in this version; choose flash or talk"):
        privacy_class(name)


@pytest.mark.parametrize("name", ["", "Talk", "tor"])
def test_a_class_that_never_was(name: str) -> None:
    with pytest.raises(ValueError, match="does not exist"):
        privacy_class(name)


@pytest.mark.parametrize("one", [FLASH, TALK])
def test_hops_are_drawn_with_even_odds(one: PrivacyClass) -> None:
    chance = Chance(seeded(1))
    drawn = Counter(one.draw_hops(chance, None) for _ in range(1000))
    assert sorted(drawn) == sorted(one.hops)
    assert min(drawn.values()) > 400


@pytest.mark.parametrize("asked", [0, 1, 2, 3])
def test_hops_that_were_asked_for_are_taken(asked: int) -> None:
    assert TALK.draw_hops(Chance(seeded(1)), asked) == asked
    assert check_hops(asked) == asked


def test_none_is_the_class_s_own() -> None:
    assert check_hops(None) is None


@pytest.mark.parametrize("wrong", [-1, 4, True, 1.0, "2"])
def test_hops_of_any_other_kind(wrong: object) -> None:
    with pytest.raises(ValueError, match="hops must be 0, 1, 2 or 3"):
        check_hops(wrong)  # type: ignore[arg-type]
