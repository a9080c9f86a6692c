"""Each form of a log line."""

from __future__ import annotations

import json
import os

import pytest

from onionshh.cli.log_lines import (
    DEBUG,
    ERROR,
    INFO,
    WARNING,
    Said,
    as_json,
    as_text,
    for_journal,
    iso_time,
    leads_to_journal,
    level_name,
)

WALL = 1_790_000_000.25
TIME = "2026-09-21T14:13:20.250Z"


def test_text_has_date_level_and_logger() -> None:
    assert iso_time(WALL) == TIME
    assert (
        as_text(Said("it rains", WARNING, "onionshh.net"), WALL) == f"{TIME} warning onionshh.net: it rains"
    )


def test_json_has_four_keys_on_one_line() -> None:
    line = as_json(Said('a "b"\nc\x1b', ERROR), WALL)
    assert line.isprintable()
    assert json.loads(line) == {
        "time": TIME,
        "level": "error",
        "logger": "onionshh",
        "message": 'a "b"\nc\x1b',
    }


def test_the_journal_gets_levels_and_no_dates() -> None:
    assert for_journal(Said("it rains"), WALL) == "<6>it rains"
    assert for_journal(Said("it rains", WARNING, "onionshh.net"), WALL) == "<4>onionshh.net: it rains"
    assert for_journal(Said("one\ntwo", ERROR), WALL) == "<3>one\n<3>two"
    assert for_journal(Said("x", DEBUG), WALL) == "<7>x"


@pytest.mark.parametrize(
    ("level", "name"), [(1, "debug"), (DEBUG, "debug"), (INFO, "info"), (35, "warning"), (50, "error")]
)
def test_every_level_has_a_name(level: int, name: str) -> None:
    assert level_name(level) == name


def test_only_the_descriptor_that_systemd_names_leads_to_the_journal() -> None:
    reading, writing = os.pipe()
    try:
        about = os.fstat(writing)
        named = {"JOURNAL_STREAM": f"{about.st_dev}:{about.st_ino}"}
        assert leads_to_journal(writing, named)
        assert not leads_to_journal(writing, {})
        assert not leads_to_journal(writing, {"JOURNAL_STREAM": "1:2"})
    finally:
        os.close(reading)
        os.close(writing)
    assert not leads_to_journal(writing, named)
