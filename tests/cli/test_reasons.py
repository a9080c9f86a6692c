"""`onionshh reasons`: each name with its sentence."""

from __future__ import annotations

import pytest

from onionshh.cli import main
from onionshh.cli.reasons import reasons
from onionshh.reasons import Reason


def test_all_of_them_in_the_order_of_the_source(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reasons"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines == [f"{reason}: {reason.sentence}" for reason in Reason]
    assert reasons.name == "reasons"


def test_those_that_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reasons", "queue-full", "link-idle"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first == f"queue-full: {Reason.QUEUE_FULL.sentence}"
    assert second.startswith("link-idle: ")


def test_a_name_that_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reasons", "queue-ful"]) == 2
    assert "There is no reason 'queue-ful'; `onionshh reasons` lists all." in capsys.readouterr().err
