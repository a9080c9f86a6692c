"""`onionshh top` without a terminal, and with wrong options. On a terminal: tests/system/test_top.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from onionshh.cli.top import LEAST_SECONDS, MOST_SECONDS
from tests.cli.conftest import Mistake


def test_without_a_terminal_there_is_one_sentence(mistake: Mistake, tmp_path: Path) -> None:
    sentence = "`onionshh top` draws on a terminal; without one, use `onionshh status --json`."
    assert mistake(2, "top", "--data", tmp_path) == sentence


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", LEAST_SECONDS / 2, MOST_SECONDS + 1, "x"])
def test_an_interval_that_cannot_be(seconds: object, mistake: Mistake, tmp_path: Path) -> None:
    assert "--interval" in mistake(2, "top", "--data", tmp_path, "--interval", seconds)
