"""Which dates a descriptor may have. How the registry uses that is in test_registry.py."""

from __future__ import annotations

import pytest

from onionshh.directory.rules import DESCRIPTOR_LIFE_SECONDS, date_problem
from tests.directory.world import WALL


@pytest.mark.parametrize("ahead", [600, 0, -DESCRIPTOR_LIFE_SECONDS])
def test_dates_that_are_taken(ahead: int) -> None:
    assert date_problem(WALL + ahead, WALL) == ""


@pytest.mark.parametrize(
    ("ahead", "said"), [(601, "601 seconds ahead of"), (-86_401, "86401 seconds behind"), (2**62, "ahead of")]
)
def test_dates_that_are_not(ahead: int, said: str) -> None:
    assert said in date_problem(WALL + ahead, WALL)
