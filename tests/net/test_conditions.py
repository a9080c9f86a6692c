"""What is wrong is said once, and so is its end."""

from __future__ import annotations

from onionshh.net.conditions import Condition


def test_a_condition_is_one_line_and_its_end_another() -> None:
    said: list[str] = []
    condition = Condition(said.append)
    condition.over("well")
    for number in range(5):
        condition.holds(f"bad {number}")
        assert condition.now == f"bad {number}"
    condition.over("well")
    condition.over("well")
    condition.holds("bad again")
    assert said == ["bad 0", "well", "bad again"]
