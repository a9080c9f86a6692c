"""`--log-level` and `--log-format`: what is said, in which form, and that nothing is said past them."""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from onionshh.cli import logs, main, talk
from onionshh.cli.failures import configure_logging, report
from onionshh.cli.log_lines import DEBUG, WARNING, as_json, as_text, for_journal
from onionshh.cli.logs import begin, log_options, set_format, set_level
from onionshh.cli.remarks import Trouble
from onionshh.client.steps import STEPS
from onionshh.errors import Error

Captured = pytest.CaptureFixture[str]
DATE = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    root, steps = logging.getLogger(), logging.getLogger(STEPS)
    before, level = root.handlers[:], steps.level
    root.handlers.clear()
    steps.setLevel(logging.NOTSET)
    configure_logging()
    yield
    root.handlers[:] = before
    begin([])
    steps.setLevel(level)


class Unraisable:
    """Its end raises where nobody can be told."""

    def __del__(self) -> None:
        raise ValueError("192.0.2.7")


def say_everything() -> None:
    """Every way in which a program says something of itself."""
    talk.tell("listed")
    talk.note("a note")
    Trouble("over").on("a trouble")
    talk.remark("a line\nand another")
    logging.getLogger("onionshh.net").warning("it %s", "rains")
    try:
        raise KeyError("192.0.2.7")
    except KeyError:
        logging.getLogger("onionshh.relay").exception("a fault")
    report(Error("It cannot be."), as_json=False)


def test_without_options_lines_are_for_a_person(capsys: Captured) -> None:
    begin(["relay"])
    say_everything()
    out, err = capsys.readouterr()
    assert re.fullmatch(r"\d\d:\d\d:\d\d listed\n", out)
    fault = err.splitlines()[5]
    assert re.fullmatch(r"onionshh: a fault \(KeyError in test_logs\.py, line \d+\)", fault)
    assert err.splitlines()[:5] == [
        "onionshh: a note",
        "onionshh: a trouble",
        "a line",
        "and another",
        "onionshh: it rains",
    ]
    assert err.endswith("\nonionshh: It cannot be.\n")


def test_text_has_dates_on_both_streams(capsys: Captured) -> None:
    set_format("text")
    say_everything()
    out, err = capsys.readouterr()
    assert re.fullmatch(rf"{DATE} info onionshh: listed\n", out)
    lines = err.splitlines()
    assert re.fullmatch(rf"{DATE} warning onionshh: a note", lines[0])
    assert re.fullmatch(rf"{DATE} warning onionshh\.net: it rains", lines[4])
    assert re.fullmatch(rf"{DATE} error onionshh: It cannot be\.", lines[-1])
    assert re.fullmatch(rf"{DATE} met", talk.stamped("met"))


def test_json_leaves_no_other_line(capsys: Captured) -> None:
    set_format("json")
    say_everything()
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn_explicit("old", UserWarning, "x.py", 1)
    Unraisable()
    out, err = capsys.readouterr()
    for line in (out + err).splitlines():
        assert set(json.loads(line)) == {"time", "level", "logger", "message"}
    loggers = [json.loads(line)["logger"] for line in err.splitlines()]
    assert loggers == [
        *("onionshh", "onionshh", "onionshh", "onionshh.net", "onionshh.relay", "onionshh"),
        *("py.warnings", "onionshh"),
    ]
    assert "192.0.2.7" not in err


def test_a_line_that_was_lost_is_counted_in_the_same_form(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    set_format("json")
    with os.fdopen(writing, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        for _ in range(2000):
            talk.note("x" * 99)
        os.read(reading, 1 << 20)
        talk.note("again")
        lines = [json.loads(line)["message"] for line in os.read(reading, 1 << 20).decode().splitlines()]
        monkeypatch.undo()
    os.close(reading)
    assert re.fullmatch(r"\d+ lines could not be written here\.", lines[0])
    assert lines[1:] == ["again"]


@pytest.mark.parametrize(("level", "count"), [("debug", 8), ("info", 7), ("warning", 6), ("error", 2)])
def test_a_level_says_what_is_worth_a_line(level: str, count: int, capsys: Captured) -> None:
    set_format("json")
    set_level(level)
    say_everything()
    logging.getLogger("onionshh.net").debug("a consensus")
    logging.getLogger("httpcore").debug("connect_tcp host='192.0.2.7'")
    logging.getLogger(STEPS).debug("a circuit: anna, bert")
    out, err = capsys.readouterr()
    assert len((out + err).splitlines()) == count
    assert "192.0.2.7" not in err
    assert "bert" not in err


def test_the_loggers_name_is_that_of_the_steps() -> None:
    assert logs.STEPS == STEPS


def test_the_journal_is_known_by_its_descriptor(monkeypatch: pytest.MonkeyPatch) -> None:
    about = os.fstat(2)
    monkeypatch.setenv("JOURNAL_STREAM", f"{about.st_dev}:{about.st_ino}")
    forms = []
    for arguments in (["relay"], ["whisper"], ["host", "--log-format", "json"]):
        begin(arguments)
        forms.append(talk.stderr.form)
    assert forms == [for_journal, None, as_json]


def test_a_wrong_option_is_told_in_the_form_that_was_asked_for(capsys: Captured, tmp_path: Path) -> None:
    for asked in (["--log-format=json"], ["--log-format", "json"]):
        assert main(["relay", *asked, "--bogus"]) == 2
        assert json.loads(capsys.readouterr().err)["level"] == "error"
    assert main(["relay", "--log-level", "loud"]) == 2
    assert "'loud' is not one of 'debug', 'info', 'warning', 'error'" in capsys.readouterr().err
    assert main(["status", "--data", str(tmp_path)]) == 2
    assert capsys.readouterr().err.startswith("onionshh: ")


def test_a_command_takes_both_options_without_knowing(capsys: Captured) -> None:
    @click.command()
    @log_options
    def command() -> None:
        assert (talk.stderr.least, talk.stderr.form) == (DEBUG, as_text)
        logging.getLogger("onionshh.net").debug("seen")

    command.main(["--log-level", "debug", "--log-format", "text"], standalone_mode=False)
    assert capsys.readouterr().err.endswith(" debug onionshh.net: seen\n")
    logging.getLogger("onionshh.net").debug("not seen")
    assert logging.getLogger("onionshh.net").getEffectiveLevel() == WARNING
    assert capsys.readouterr().err == ""
