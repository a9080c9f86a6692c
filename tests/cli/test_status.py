"""`onionshh status`: sentences or the record, and an exit status for monitors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from onionshh.cli import main, status
from tests.cli.conftest import Mistake
from tests.cli.test_status_words import RELAY


@pytest.fixture
def answer(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the program answers in this test."""
    made = dict(RELAY)
    monkeypatch.setattr(status, "asked", lambda _: made)
    return made


def test_it_says_first_whether_all_is_well(
    answer: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["status", "--data", "x"]) == 0
    assert capsys.readouterr().out.startswith("All is well: the directory lists this relay.\nIt has run for")
    answer["why"] = "This relay has no consensus yet."
    assert main(["status", "--data", "x"]) == 1
    assert capsys.readouterr().out.startswith("Not well: This relay has no consensus yet.\n")


def test_a_program_gets_the_record(answer: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status", "--data", "x", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == answer


def test_nothing_runs_there(mistake: Mistake, tmp_path: Path) -> None:
    sentence = f"No relay, host or directory runs with the folder {tmp_path}."
    assert mistake(2, "status", "--data", tmp_path) == sentence
    assert mistake(2, "status", "--data", tmp_path, "--json") == sentence
