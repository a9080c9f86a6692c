"""Amounts of bytes as people write them, and what is refused."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.monthly import BYTES, monthly_of
from onionshh.relay.accounting import Monthly
from tests.cli.conftest import Mistake, network_file


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("500GB", 500 * 10**9),
        ("500 gb", 500 * 10**9),
        ("1.5TiB", 3 * 2**39),
        ("2000kB", 2_000_000),
        ("4096KiB", 2**22),
        ("3MiB", 3 * 2**20),
        ("7MB", 7_000_000),
        ("1GiB", 2**30),
        ("2TB", 2 * 10**12),
        ("750000000", 750_000_000),
        ("1000000B", 1_000_000),
    ],
)
def test_units_are_of_a_thousand_or_of_1024(text: str, amount: int) -> None:
    assert BYTES.convert(text, None, None) == amount


@pytest.mark.parametrize(
    "text", ["", "GB", "-5GB", "5 000MB", "5PB", "1e9", "5GBB", "nan", "inf", "١GB", "999kB", "9" * 18 + "TB"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter, match=r"500GB|1MB"):
        BYTES.convert(text, None, None)


@pytest.mark.parametrize("number", [-1, 0, 999_999, 2**60 + 1])
def test_a_number_of_a_file_has_the_same_bounds(number: int) -> None:
    assert BYTES.convert(10**6, None, None) == 10**6
    with pytest.raises(click.BadParameter, match="too little or too much"):
        BYTES.convert(number, None, None)


def test_a_day_needs_an_amount() -> None:
    assert monthly_of(None, None) is None
    assert monthly_of(10**9, None) == Monthly(10**9, 1)
    assert monthly_of(10**9, 28) == Monthly(10**9, 28)
    with pytest.raises(Usage, match="--month-day needs --monthly"):
        monthly_of(None, 3)


def test_a_relay_says_what_is_wrong(mistake: Mistake, tmp_path: Path) -> None:
    file = network_file(tmp_path / "net.toml", 1)
    common = ("relay", "--network", file, "--listen", "127.0.0.1:0", "--data", tmp_path / "data")
    assert "write 500GB" in mistake(2, *common, "--monthly", "much")
    assert "29" in mistake(2, *common, "--monthly", "5GB", "--month-day", 29)
    assert "--month-day needs" in mistake(2, *common, "--month-day", 2)
    assert not (tmp_path / "data").exists()
