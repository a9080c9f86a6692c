"""How far a transfer is, on a terminal and without one."""

from __future__ import annotations

import sys

import pytest

from onionshh.cli.bar import CELLS, Bar, drawn, filled
from onionshh.cli.talk import note
from onionshh.client.transfer import TransferProgress
from tests.cli.conftest import seen, terminal


@pytest.mark.parametrize(
    "sent, size, full, said",
    [
        (0, 300_000, 0, "0 %, 0 of 293 KiB"),
        (150_000, 300_000, CELLS // 2, "50 %, 147 of 293 KiB"),
        (299_999, 300_000, CELLS - 1, "99 %, 293 of 293 KiB"),
        (300_000, 300_000, CELLS, "100 %, 293 of 293 KiB"),
        (0, 0, CELLS, "100 %, 0 of 0 KiB"),
    ],
)
def test_the_bar_grows(sent: int, size: int, full: int, said: str) -> None:
    assert drawn(TransferProgress(sent, size)) == f"[{'#' * full}{'-' * (CELLS - full)}] {said}"


def test_a_share_fills_the_cells() -> None:
    assert [filled(share).count("#") for share in (0.0, 0.5, 1.0)] == [0, CELLS // 2, CELLS]


def test_without_a_size_there_are_only_bytes() -> None:
    assert drawn(TransferProgress(150_000, None)) == "147 KiB"


def test_on_a_terminal_one_line_is_drawn_over_again_and_cleared() -> None:
    with terminal() as screen:
        bar = Bar()
        bar.clear()
        bar.show("1 KiB")
        bar.show("2 KiB")
        bar.clear()
        bar.clear()
        said = b"\r\x1b[K1 KiB\r\x1b[K2 KiB\r\x1b[K"
        assert seen(screen, len(said)) == said


def test_what_is_said_takes_its_place() -> None:
    with terminal() as screen:
        bar = Bar()
        bar.show("1 KiB")
        note("a step")
        note("another")
        bar.show("2 KiB")
        bar.clear()
        said = b"\r\x1b[K1 KiB\r\x1b[Konionshh: a step\r\nonionshh: another\r\n\r\x1b[K2 KiB\r\x1b[K"
        assert seen(screen, len(said)) == said


def test_a_terminal_that_is_gone_ends_nothing() -> None:
    with terminal():
        bar = Bar()
        sys.stderr.close()
        bar.show("1 KiB")
        bar.clear()


def test_without_a_terminal_nothing_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    bar = Bar()
    bar.show("1 KiB")
    bar.clear()
    assert capsys.readouterr() == ("", "")
