"""What the demo says of its path is so."""

from __future__ import annotations

from onionshh.cli.demo import what_they_see


def test_a_relay_that_is_the_guard_of_both_is_told() -> None:
    said = "\n".join(what_they_see(["a", "b", "c"], "m", ["d", "e", "a"]))
    assert "a sees the visitor's machine; a sees the endpoint's" in said
    assert "here a is the guard of both" in said
    assert "neither the address nor what is said" in said
    assert "m, which the visitor chose, is where both circuits meet, and sees neither end" in said


def test_two_guards_are_two() -> None:
    said = "\n".join(what_they_see(["a", "b", "c"], "m", ["d", "e", "f"]))
    assert "a sees the visitor's machine; f sees the endpoint's" in said
    assert "guard of both" not in said


def test_without_hops_the_meeting_relay_sees_the_visitor() -> None:
    said = "\n".join(what_they_see([], "m", ["d", "e", "f"]))
    assert "m sees the visitor's machine; f sees the endpoint's" in said
    assert "neither end" not in said
