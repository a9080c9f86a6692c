"""The directory's page: the relays, those that are not listed and why, the last day (SPEC 8). Pure.

The page needs no other file and no script. Whatever relays or networks chose (nicknames, addresses, software,
reasons) is escaped where it enters the page. At most `LISTED_SHOWN` and `UNLISTED_SHOWN` relays are shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from onionshh.core.base.params import Params
from onionshh.core.base.words import utc
from onionshh.directory.day import day
from onionshh.directory.entry import Entry, Place, Status, by_name, explained, up_words
from onionshh.directory.figures import ago, every, moment, number, span
from onionshh.directory.history import Point
from onionshh.directory.page_style import SCRIPT, STYLE
from onionshh.wire.consensus import Consensus, RelayRow

LISTED_SHOWN = 1000
UNLISTED_SHOWN = 200
_VERSIONS_SHOWN = 4


@dataclass(frozen=True, slots=True)
class Facts:
    """What a page is made of. `entries`: what is known of each listed relay; of one that was forgotten
    there is nothing. `unlisted`: with where each stands. `now`: Unix seconds. `doubt`: why the directory's
    clock may be wrong, or nothing."""

    consensus: Consensus
    params: Params
    entries: Mapping[bytes, Entry]
    unlisted: Sequence[tuple[Entry, Status]]
    history: Sequence[Point]
    network_file: str
    now: int
    doubt: str = ""


def page(facts: Facts) -> str:
    """The whole page."""
    name, doubt = escape(facts.consensus.network), escape(facts.doubt)
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{name}: relays</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>{STYLE}</style></head><body>
<header>
<p class="kicker">onionshh directory</p>
<h1>{name}</h1>
<p class="lead">{_lead(facts)}</p>
{f'<p class="warning" role="alert">The clock of this directory may be wrong: {doubt}.</p>' if doubt else ""}
<nav aria-label="On this page"><ul><li><a href="#day">The last day</a></li>
<li><a href="#listed">Listed</a></li><li><a href="#unlisted">Not listed</a></li>
<li><a href="#words">What the words mean</a></li><li><a href="#join">Join</a></li></ul></nav>
</header>
<main>
{day(facts.history, interval=facts.params.interval_seconds, now=facts.now)}
{_listed(facts)}
{_unlisted(facts)}
{_words(facts.params)}
<section id="join"><h2>Join</h2>
<p class="about">Save this as <code>network.toml</code>. It says whom to trust, so take it from someone you
know rather than from a page.</p>
<div class="card"><pre>{escape(facts.network_file)}</pre></div></section>
</main>
<footer><p>As of {moment(facts.now)}. For programs: <a href="/relays">relays as JSON</a>,
<a href="/unlisted">those not listed</a>, <a href="/consensus">the signed consensus</a>.</p></footer>
<script>{SCRIPT}</script>
</body></html>
"""


def _lead(facts: Facts) -> str:
    consensus, count, others = facts.consensus, len(facts.consensus.relays), len(facts.unlisted)
    are = "is" if count == 1 else "are"
    also = f"{number(others)} more {'is' if others == 1 else 'are'} known and not listed" if others else ""
    late = facts.now - consensus.fresh_until
    due = "The next one is due at"
    if late > facts.params.interval_seconds:
        due = "No newer one could be made, though one was due at"
    return (
        f"{number(count)} {'relay' if count == 1 else 'relays'} {are} listed"
        f"{', and ' + also if also else ''}."
        f" The list, which is called consensus, was made at {moment(consensus.valid_after)}. {due}"
        f" {moment(consensus.fresh_until)}. Nodes use this one until {moment(consensus.valid_until)} at most."
    )


# The relays of the list.


def _listed(facts: Facts) -> str:
    rows = sorted(facts.consensus.relays, key=lambda row: (by_name(row.nickname), row.identity))
    whole = sum(row.weight for row in rows) or 1
    body = "".join(
        _listed_row(row, facts.entries.get(row.identity), whole, facts.now) for row in rows[:LISTED_SHOWN]
    )
    heads = ("Relay", "Flags", "Version", "Last check", "Answers for", "Listed since", "Share")
    table = _table("Listed relays by name", heads, body) if rows else _empty("No relay is listed yet.")
    return (
        f'<section id="listed"><h2>Listed relays</h2>\n<p class="about">Sorted by name.{_versions(rows)}'
        f"{_left_off(len(rows), LISTED_SHOWN, '/relays')}</p>\n{table}</section>"
    )


def _listed_row(row: RelayRow, entry: Entry | None, whole: int, now: int) -> str:
    flags = "".join(f"<li>{name.capitalize()}</li>" for name in row.flag_names)
    up = up_words(entry.up_hours(now)) if entry is not None else ""
    return "".join(
        (
            '<tr role="row">',
            _named(row.nickname, _listed_at(row, entry), row.identity),
            _cell("Flags", f'<ul class="flags">{flags}</ul>' if flags else "none"),
            _cell("Version", escape(row.software) or "not said", "software"),
            _cell("Last check", _check(entry, now)),
            _cell("Answers for", up or "not known", "nowrap"),
            _cell("Listed since", utc(row.first_seen)[:10], "nowrap"),
            _cell("Share", f"{100 * row.weight / whole:.1f} %", "nowrap"),
            "</tr>\n",
        )
    )


def _listed_at(row: RelayRow, entry: Entry | None) -> Iterator[str]:
    """The addresses of a listed relay, and those that it names besides, with why they are not in the list."""
    places = {place.address: place for place in entry.places} if entry is not None else {}
    for address in row.addresses:
        yield _address(places.pop(address, Place(address, True)))
    for place in places.values():
        yield _address(place, otherwise="not in this list")


def _versions(rows: Sequence[RelayRow]) -> str:
    """Which versions there are, those of most relays first."""
    counts: dict[str, int] = {}
    for row in rows:
        counts[row.software] = counts.get(row.software, 0) + 1
    most = sorted(counts, key=lambda software: (-counts[software], software))
    if not most:
        return ""
    said = [f"{escape(one) or 'a version not said'} on {number(counts[one])}" for one in most]
    if len(said) > _VERSIONS_SHOWN:
        said[_VERSIONS_SHOWN:] = [f"{number(len(said) - _VERSIONS_SHOWN)} others"]
    return f" Versions: {', '.join(said)}."


# Those that are not in it.


def _unlisted(facts: Facts) -> str:
    shown = facts.unlisted[:UNLISTED_SHOWN]
    body = "".join(_unlisted_row(entry, status, facts.now) for entry, status in shown)
    heads = ("Relay", "Why it is not listed", "Last check", "Version")
    table = _table("Relays that are not listed, by name", heads, body)
    return (
        '<section id="unlisted"><h2>Not listed, and why</h2>\n<p class="about">Relays that this directory has'
        " heard of. Each is checked in every interval, and comes with the next list once it answers."
        f"{_left_off(len(facts.unlisted), UNLISTED_SHOWN, '/unlisted')}</p>\n"
        f"{table if shown else _empty('Every relay that is known is listed.')}</section>"
    )


def _unlisted_row(entry: Entry, status: Status, now: int) -> str:
    relay = entry.newest
    why = f'<p class="why">{escape(explained(entry, status))}</p>'
    return "".join(
        (
            '<tr role="row">',
            _named(relay.nickname, _not_listed_at(entry), relay.identity),
            _cell("Why", why + _gone(entry, now)),
            _cell("Last check", _check(entry, now)),
            _cell("Version", escape(relay.software) or "not said", "software"),
            "</tr>\n",
        )
    )


def _not_listed_at(entry: Entry) -> Iterator[str]:
    """The addresses of a relay that is not listed. Of one alone it is said elsewhere what came of it."""
    for place in entry.places:
        yield _address(place if len(entry.places) > 1 else Place(place.address, None))


def _gone(entry: Entry, now: int) -> str:
    if not entry.turned or entry.checked is not None:
        return ""
    return f'<span class="left">It left the list {ago(entry.turned, now)}.</span>'


# Parts of both tables.


def _table(caption: str, heads: Sequence[str], body: str) -> str:
    """A table whose rows are cards where there is little room. Roles are named, since such a style takes
    away those that the elements have."""
    cells = "".join(f'<th scope="col" role="columnheader">{head}</th>' for head in heads)
    return (
        f'<div class="card sheet"><table role="table"><caption class="aside">{caption}</caption>\n'
        f'<thead role="rowgroup"><tr role="row">{cells}</tr></thead>\n'
        f'<tbody role="rowgroup">\n{body}</tbody></table></div>'
    )


def _empty(sentence: str) -> str:
    return f'<div class="card sheet"><p class="empty">{sentence}</p></div>'


def _left_off(count: int, shown: int, path: str) -> str:
    if count <= shown:
        return ""
    return f' The first {number(shown)} of {number(count)}; <a href="{path}">the others as JSON</a>.'


def _named(nickname: str, addresses: Iterable[str], identity: bytes) -> str:
    name = escape(nickname)
    return (
        f'<th scope="row" role="rowheader"><span class="name">{name}</span>'
        f"{''.join(addresses)}"
        f'<div class="ident"><code class="id" data-name="{name}">{identity.hex()}</code></div></th>'
    )


def _address(place: Place, *, otherwise: str = "") -> str:
    """An address in a line of its own, and why the directory did not reach the relay there, or what to say
    `otherwise`."""
    word = "not asked" if place.answered is None else "not reached"
    said = f"{word}: {place.why}" if place.why else otherwise
    why = f'<span class="missed">{escape(said)}</span>' if said else ""
    return f' <span class="address">{escape(str(place.address))}{why}</span>'


def _cell(label: str, value: str, kind: str = "") -> str:
    return f'<td role="cell" data-label="{label}"><div class="value {kind}">{value}</div></td>'.replace(
        ' "', '"'
    )


def _check(entry: Entry | None, now: int) -> str:
    """When a relay was last checked, and what came of it."""
    if entry is None or entry.answered is None:
        return "not yet"
    word = (
        '<span class="state">answered</span>' if entry.answered else '<span class="state no">no answer</span>'
    )
    return f'{word} <span class="when">{ago(entry.tested, now)}</span>'


# What it all means.


def _words(params: Params) -> str:
    age, often = span(params.guard_age_seconds), every(params.interval_seconds)
    fast = number(params.fast_bytes_per_second)
    words = (
        (
            "Guard",
            f"May be the first relay of a path. It has been listed for {age}, or for as long as half of all"
            " relays if that is less.",
        ),
        ("Ring", "Keeps the sealed notes by which people find an address. It cannot read them."),
        ("Fast", f"Says that it can pass on at least {fast} bytes a second. Nobody checks that."),
        ("Version", "The program that the relay says it runs. Nobody checks that."),
        (
            "Last check",
            f"The directory connects to each relay {often}, at each of its addresses, and sees whether it"
            f" holds its keys. A relay leaves the list after {number(params.failed_checks)} checks in a row"
            " without an answer at any of them.",
        ),
        ("Answers for", "For so long the relay has answered every check of this directory, in whole hours."),
        (
            "Share",
            f"How often it is chosen among all relays. No relay gets more than {params.weight_cap_percent} %"
            " of the choices, unless there are few relays.",
        ),
        ("Id", "The relay's public key. Two relays can have one name, and never one id."),
    )
    rows = "".join(f"<div><dt>{word}</dt><dd>{said}</dd></div>\n" for word, said in words)
    return f'<section id="words"><h2>What the words mean</h2>\n<dl class="words">\n{rows}</dl></section>'
