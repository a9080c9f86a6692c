"""One line for one trouble, and one when it ends."""

from __future__ import annotations

import logging

import pytest

from onionshh.cli.failures import OneLine
from onionshh.cli.remarks import COUNT_MOST_SECONDS, LINES_MOST, Remarks, Trouble

Captured = pytest.CaptureFixture[str]


class Log:
    """A logger of its own whose handler sees the time that the test sets."""

    def __init__(self) -> None:
        self.now = 0.0
        self.handler = Remarks(lambda: self.now)
        self.handler.setFormatter(OneLine())
        self._logger = logging.Logger("test")
        self._logger.addHandler(self.handler)

    def warn(self, line: str, *arguments: object) -> None:
        self._logger.warning(line, *arguments)


def test_a_line_that_comes_again_is_said_once_and_then_counted_ever_less_often(capsys: Captured) -> None:
    log = Log()
    told = []
    for second in range(6 * 3600):
        log.now = second
        log.warn("the disk refuses: %s", "it is full")
        if said := capsys.readouterr().err:
            told.append((second, said))
    assert told[0] == (0, "onionshh: the disk refuses: it is full\n")
    assert told[1] == (60, "onionshh: the disk refuses: it is full (again 59 times in 1 min)\n")
    assert [second for second, _ in told] == [0, 60, 180, 420, 900, 1860, 3780, 7380, 10980, 14580, 18180]
    assert told[-1][0] - told[-2][0] == COUNT_MOST_SECONDS


def test_a_line_that_does_not_come_again_is_forgotten(capsys: Captured) -> None:
    log = Log()
    log.warn("once")
    log.now = 61
    log.handler.tell_counts()
    assert capsys.readouterr().err == "onionshh: once\n"
    log.warn("once")
    assert capsys.readouterr().err == "onionshh: once\n"


def test_many_different_lines_are_one(capsys: Captured) -> None:
    log = Log()
    for number in range(10_000):
        log.warn("trouble %d", number)
    assert capsys.readouterr().err.count("\n") == LINES_MOST
    log.now = 60
    log.handler.tell_counts()
    assert f"(other remarks) (again {10_000 - LINES_MOST} times in 1 min)" in capsys.readouterr().err


def test_a_record_that_is_wrong_ends_nothing(capsys: Captured) -> None:
    log = Log()
    log.warn("%d", "no number")
    assert "could not be put into words" in capsys.readouterr().err


def test_a_trouble_is_said_when_it_begins_for_each_reason_and_when_it_is_over(capsys: Captured) -> None:
    trouble = Trouble("it is over.")
    trouble.off()
    for _ in range(2):
        for why in ("one", "other", "one"):
            trouble.on(why)
        trouble.off()
    trouble.off()
    said = [line.removeprefix("onionshh: ") for line in capsys.readouterr().err.splitlines()]
    assert said == 2 * ["one", "other", "it is over."]
