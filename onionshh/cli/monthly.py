"""`relay --monthly`: an amount of bytes as people write it, and the day on which its month begins."""

from __future__ import annotations

import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, TypeVar

import click

from onionshh.cli.defaults import InWords
from onionshh.cli.failures import Usage
from onionshh.relay.accounting import Monthly
from onionshh.relay.allowance import BYTES_MOST, MONTH_DAY_MOST

F = TypeVar("F", bound=Callable[..., Any])

LEAST: Final = 1_000_000
_UNITS: Final = {
    "": 1,
    "b": 1,
    **{f"{letter}b": 1000**power for power, letter in enumerate("kmgt", 1)},
    **{f"{letter}ib": 1024**power for power, letter in enumerate("kmgt", 1)},
}
_AMOUNT: Final = re.compile(r"([0-9]{1,18}(?:\.[0-9]{1,9})?) ?([A-Za-z]{0,3})", re.ASCII)


class _Bytes(click.types.IntParamType):
    """`500GB`, `1.5 TiB` or a number of bytes."""

    name = "bytes"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, int):
            amount = value
        else:
            found = _AMOUNT.fullmatch(value.strip())
            unit = _UNITS.get(found[2].lower()) if found is not None else None
            if found is None or unit is None:
                said = f"{value!r} is not an amount of bytes; write 500GB, 1.5TiB or 750000000."
                self.fail(said, param, ctx)
            amount = int(Decimal(found[1]) * unit)
        if not LEAST <= amount <= BYTES_MOST:
            self.fail(f"{value!r} is too little or too much; from 1MB to 1000000TB.", param, ctx)
        return amount


BYTES: Final = _Bytes()


def monthly_options(command: F) -> F:
    """`--monthly` and `--month-day`; see `monthly_of`."""
    day = click.option(
        "--month-day",
        cls=InWords,
        type=click.IntRange(1, MONTH_DAY_MOST),
        metavar="N",
        show_default="1",
        help="Day on which the month of --monthly begins, at midnight UTC.",
    )
    amount = click.option(
        "--monthly",
        cls=InWords,
        type=BYTES,
        metavar="AMOUNT",
        show_default="no limit",
        help="Bytes that it may send and receive over links in a month, as 500GB or 1.5TiB; it then"
        " hibernates.",
    )
    return amount(day(command))


def monthly_of(monthly: int | None, month_day: int | None) -> Monthly | None:
    """What these two options mean together. Usage."""
    if monthly is None:
        if month_day is not None:
            raise Usage("--month-day needs --monthly AMOUNT.")
        return None
    return Monthly(monthly, month_day or 1)
