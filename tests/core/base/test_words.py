from __future__ import annotations

import pytest

from onionshh.core.base.words import amount, utc


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 seconds"),
        (1, "1 second"),
        (-119.9, "119 seconds"),
        (120, "2 minutes"),
        (7199, "119 minutes"),
        (-7200, "2 hours"),
        (19 * 86400, "456 hours"),
        (20 * 86400, "20 days"),
    ],
)
def test_how_long(seconds: float, said: str) -> None:
    assert amount(seconds) == said


def test_when() -> None:
    assert utc(0) == "1970-01-01 00:00:00 UTC"
    assert utc(2**62) == f"second {2**62}"
