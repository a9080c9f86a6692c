"""What is drawn for known answers, at every size of a terminal."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from onionshh.cli.top_drawing import frame, picture
from onionshh.cli.top_rates import Rates
from tests.cli.test_status_words import ABOUT, RELAY


def later(seconds: float, **more: Any) -> dict[str, Any]:
    return RELAY | {"up_seconds": RELAY["up_seconds"] + seconds} | more  # type: ignore[operator]


def rates() -> Rates:
    made = Rates()
    made.came(RELAY)
    links = dict(RELAY["links"]) | {"cells_sent": 5_000_250, "bytes_sent": 3 * 1024**3 + 2 * 1024**2}  # type: ignore[call-overload]
    made.came(later(2.0, links=links, drops={"queue-full": 7, "link-ended": 1}))
    return made


def drawn(made: Rates, columns: int, lines: int, **options: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=columns, height=lines)
    console.print(frame(made, columns, lines, **options))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


def test_a_relay_on_a_usual_terminal() -> None:
    assert drawn(rates(), 80, 24) == [
        "relay, onionshh 1.2.3, up 2 hours",
        "all is well",
        "",
        "█",
        "",
        "                            per second      in all",
        "cells sent                         125   5 000 250",
        "cells forwarded                      0   4 000 000",
        "bytes out                      1.0 MiB     3.0 GiB",
        "bytes in                           0 B     1.0 KiB",
        "circuits made                        0          77",
        "circuits refused                     0           1",
        "",
        "circuits                                    12 345",
        "  joined                                       345",
        "  open                                      12 000",
        "links to relays, others                      11, 1",
        "links being opened                               1",
        "queues                        2.0 KiB of 256.0 MiB",
        "mailbox items                                    1",
        "consensus age                           61 seconds",
        "q ends",
    ]


def test_a_high_terminal_has_the_drops_too() -> None:
    assert drawn(rates(), 80, 40)[-5:] == [
        "",
        "drops                       per second      in all",
        "queue-full                         3.5           7",
        "link-ended                         0.5           1",
        "q ends",
    ]


@pytest.mark.parametrize("columns", [1, 10, 24, 25, 40, 79, 80, 300])
@pytest.mark.parametrize("lines", [1, 2, 5, 15, 16, 24, 25, 26, 100])
def test_it_fits_every_terminal(columns: int, lines: int) -> None:
    for made in (rates(), Rates()):
        shown = drawn(made, columns, lines, trouble="it does not answer now; the numbers are the last ones")
        assert len(shown) <= lines
        assert max(map(len, shown)) <= columns


def test_a_host_a_directory_and_trouble() -> None:
    made = Rates()
    made.came(ABOUT | {"kind": "host", "why": "No guard\x1b[2J answers.", "introducers": 6})
    shown = drawn(made, 80, 24)
    assert shown[1] == "not well: No guard\\x1b[2J answers."
    assert "introducers                                      6" in shown
    assert drawn(made, 80, 24, trouble="it does not answer")[1] == "it does not answer"
    made.came(ABOUT | {"kind": "directory", "relays_listed": 8, "consensus_age_seconds": 5})
    assert "relays listed                                    8" in drawn(made, 80, 24)


def test_the_picture_is_as_high_as_its_highest() -> None:
    assert picture([0, 1, 2, 4, 8], plain=False) == "▁▂▃▅█"
    assert picture([0, 1, 2, 4, 8], plain=True) == "_.-+#"
    assert picture([0, 0], plain=True) == "__"
    assert picture([], plain=True) == ""
