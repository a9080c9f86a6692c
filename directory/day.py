"""The part of the directory's page that shows the last day: figures, and a picture of each. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from onionshh.directory.figures import about, clock, every, number, size
from onionshh.directory.history import DAY_SECONDS, SLOT_SECONDS, Point, total, whispers_a_second
from onionshh.directory.picture import steps, strip


def day(points: Sequence[Point], *, interval: int, now: int) -> str:
    """The section: relays listed, what they could carry, and whether each consensus came on time."""
    end = max(now, points[-1].at if points else 0)
    cards = "\n".join(card(points, interval, end) for card in (_relays, _capacity, _consensus))
    return f'<section id="day"><h2>The last day</h2>\n<div class="days">\n{cards}\n</div></section>'


def _relays(points: Sequence[Point], interval: int, end: int) -> str:
    values = [point.relays for point in points]
    least, most = min(values, default=0), max(values, default=0)
    note = f"Always {number(most)}{_looked(interval)}{_since(points, end)}."
    if least != most:
        note = f"At least {number(least)} and at most {number(most)}{_looked(interval)}{_since(points, end)}."
    picture = steps(points, values, end=end, interval=interval, label=f"Relays listed. {note}")
    now = number(values[-1] if values else 0)
    return _card("Relays listed", now, "", note, _scaled(picture, number(most)), end)


def _capacity(points: Sequence[Point], interval: int, end: int) -> str:
    values = [whispers_a_second(point.bandwidth) for point in points]
    last, most = (values[-1], max(values)) if values else (0, 0)
    offered = size(points[-1].bandwidth if points else 0)
    note = (
        f"Short whispers with their receipts, at most: the listed relays offer {offered} a second together,"
        " and nobody checks that."
    )
    label = f"Capacity. Now about {about(last)} short whispers a second, at most about {about(most)}."
    picture = steps(points, values, end=end, interval=interval, label=label)
    return _card("Capacity", about(last), "whispers a second", note, _scaled(picture, about(most)), end)


def _consensus(points: Sequence[Point], interval: int, end: int) -> str:
    made, late, missed = total(points, now=end, interval=interval)
    due = made + missed
    note = f"A new list is due {every(interval)}. All came on time{_since(points, end)}."
    if late or missed:
        came = f"{number(late)} came late and {number(missed)} did not come{_since(points, end)}."
        note = f"A new list is due {every(interval)}. {came}"
    label = f"Consensuses on time: {made - late} of {due}. {note}"
    picture = strip(points, end=end, interval=interval, label=label)
    legend = '<p class="scale"><span>High: on time. Half: late. Flat: none.</span></p>'
    plot = f'{legend}<div class="plot low">{picture}</div>'
    return _card("Consensus on time", number(made - late), f"of {number(due)}", note, plot, end)


def _looked(interval: int) -> str:
    """A point has the last list of its minutes, and what was between is not known."""
    return f", looked at {every(SLOT_SECONDS)}," if interval < SLOT_SECONDS else ""


def _since(points: Sequence[Point], end: int) -> str:
    """What time the history covers: a day, or less in a network that is younger."""
    if not points or points[0].at < end - DAY_SECONDS * 9 // 10:
        return " in the last day"
    first = points[0].at
    return f" since {clock(first - first % SLOT_SECONDS if points[0].made > 1 else first)} UTC"


def _scaled(picture: str, most: str) -> str:
    return f'<p class="scale"><span>{most}</span></p><div class="plot">{picture}</div>'


def _card(title: str, figure: str, unit: str, note: str, plot: str, end: int) -> str:
    middle = clock(end - DAY_SECONDS // 2)
    return (
        f'<div class="card day"><h3>{title}</h3>\n<p class="number">{figure} <small>{unit}</small></p>\n'
        f'<p class="note">{note}</p>\n<figure class="plots">{plot}<figcaption class="axis">'
        f"<span>{clock(end - DAY_SECONDS)} yesterday</span><span>{middle}</span><span>now, UTC</span>"
        "</figcaption></figure></div>"
    )
