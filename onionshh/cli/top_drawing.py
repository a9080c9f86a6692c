"""What `onionshh top` shows: a head, rates, gauges and drops, for any size of a terminal.

It is made of lines, each cut to the width. If the terminal is too low, the picture goes first, then the
drops that are rarest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from rich.console import Group, RenderableType
from rich.text import Text

from onionshh.cli.status_words import Numbers, size, whole
from onionshh.cli.top_rates import Rate, Rates
from onionshh.core.base.words import amount

NUMBER_COLUMNS: Final = 12
NAME_COLUMNS: Final = 26
PICTURE_LEAST: Final = 16
"""Lines that a terminal must have for the picture."""
_BARS: Final = "▁▂▃▄▅▆▇█"
_PLAIN_BARS: Final = "_.-=+*%#"
_FOOT: Final = "q ends"


def frame(
    rates: Rates, columns: int, lines: int, *, trouble: str = "", plain: bool = False
) -> RenderableType:
    """All of it. `trouble`: why the numbers are old; `plain`: ASCII alone."""
    body = [_head(rates.now), _health(rates.now, trouble), Text()]
    names = max(1, min(NAME_COLUMNS, columns - 2 * NUMBER_COLUMNS))
    body.append(_row(names, "", "per second", "in all", "dim"))
    body += [_rate(names, rate) for rate in rates.counters()]
    body += [Text(), *_gauges(rates.now, names)]
    if lines >= PICTURE_LEAST and rates.picture:
        body[3:3] = [Text(picture(list(rates.picture)[-columns:], plain=plain), "cyan"), Text()]
    drops = rates.drops()
    room = lines - len(body) - 3  # two for the heading of the drops, one for the foot
    if drops and room > 0:
        body += [Text(), _row(names, "drops", "per second", "in all", "dim")]
        body += [_rate(names, rate) for rate in drops[:room]]
    shown = body[: max(1, lines - 1)]
    if lines > 1:
        shown.append(Text(_FOOT, "dim"))
    for line in shown:
        line.truncate(max(1, columns))
        line.no_wrap = True
    return Group(*shown)


def picture(values: Sequence[float], *, plain: bool) -> str:
    """A column for each value; the highest is full."""
    bars = _PLAIN_BARS if plain else _BARS
    most = max(values, default=0.0) or 1.0
    return "".join(bars[min(len(bars) - 1, int(len(bars) * value / most))] for value in values)


def _head(numbers: Numbers) -> Text:
    up = amount(numbers.number("up_seconds"))
    return Text(f"{numbers.text('kind')}, onionshh {numbers.text('onionshh')}, up {up}", "bold")


def _health(numbers: Numbers, trouble: str) -> Text:
    if trouble:
        return Text(trouble, "yellow")
    why = numbers.text("why")
    return Text(f"not well: {why}", "red") if why else Text("all is well", "green")


def _rate(names: int, rate: Rate) -> Text:
    of = size if rate.in_bytes else _per_second
    per_second = "" if rate.per_second is None else of(rate.per_second)
    return _row(names, rate.name, per_second, (size if rate.in_bytes else whole)(rate.total))


def _per_second(rate: float) -> str:
    return whole(rate) if rate >= 100 or rate == 0 else f"{rate:.1f}" if rate >= 0.1 else "< 0.1"


def _row(names: int, name: str, first: str, second: str, style: str = "") -> Text:
    text = f"{name[:names]:<{names}}{first:>{NUMBER_COLUMNS}}{second:>{NUMBER_COLUMNS}}"
    return Text(text, style)


def _gauges(numbers: Numbers, names: int) -> Iterator[Text]:
    of_kind = {"relay": _of_relay, "host": _of_host, "directory": _of_directory}.get(numbers.text("kind"))
    for name, value in of_kind(numbers) if of_kind else ():
        yield Text(f"{name[:names]:<{names}}{value:>{2 * NUMBER_COLUMNS}}")
    if numbers.has("consensus_age_seconds"):
        age = amount(numbers.number("consensus_age_seconds"))
        yield Text(f"{'consensus age'[:names]:<{names}}{age:>{2 * NUMBER_COLUMNS}}")


def _of_relay(numbers: Numbers) -> Iterator[tuple[str, str]]:
    yield "circuits", whole(numbers.number("circuits"))
    for name, count in sorted(numbers.inside("circuits_by_stage").counts()):
        if count:
            yield f"  {name}", whole(count)
    links = numbers.inside("links")
    yield "links to relays, others", f"{whole(links.number('relays'))}, {whole(links.number('clients'))}"
    yield "links being opened", whole(links.number("opening") + links.number("dialling"))
    memory = numbers.inside("memory")
    yield "queues", f"{size(memory.number('used_bytes'))} of {size(memory.number('most_bytes'))}"
    roles = numbers.inside("roles")
    if roles.has("mailbox_items"):
        yield "mailbox items", whole(roles.number("mailbox_items"))


def _of_host(numbers: Numbers) -> Iterator[tuple[str, str]]:
    for name, field in (
        ("guards up", "guards_up"),
        ("introducers", "introducers"),
        ("circuits", "circuits"),
        ("visitors", "visitors"),
        ("whispers not finished", "unfinished"),
        ("replies that wait", "replies_waiting"),
        ("transfers", "transfers"),
        ("effort in tries", "effort"),
    ):
        yield name, whole(numbers.number(field))


def _of_directory(numbers: Numbers) -> Iterator[tuple[str, str]]:
    yield "relays listed", whole(numbers.number("relays_listed"))
    yield "relays known", whole(numbers.number("relays_known"))
