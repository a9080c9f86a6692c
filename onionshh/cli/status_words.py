"""How a relay, host or directory stands, in a few plain sentences.

What is put into words comes over a socket, perhaps from a program of another version. So a number that is
missing is left out, and text is shown as a terminal may be given it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from onionshh.cli.talk import counted
from onionshh.cli.text import one_line
from onionshh.core.base.words import amount, utc

Answer = Mapping[str, Any]
MIB = 1024 * 1024
DROPS_MOST = 8
_STAGES = {
    "open": "end here",
    "dialling": "wait for a link",
    "extending": "wait for the next relay",
    "extended": "go on to another relay",
    "joined": "are joined to another",
}


class Numbers:
    """One object of an answer, whatever is in it."""

    def __init__(self, answer: object) -> None:
        self._values: Answer = answer if isinstance(answer, Mapping) else {}

    def number(self, name: str) -> float:
        """0 if it is not there."""
        value = self._values.get(name)
        return value if isinstance(value, int | float) else 0

    def has(self, name: str) -> bool:
        """Whether there is such a number."""
        return isinstance(self._values.get(name), int | float)

    def text(self, name: str) -> str:
        """Empty if it is not there."""
        value = self._values.get(name)
        return one_line(value) if isinstance(value, str) else ""

    def inside(self, name: str) -> Numbers:
        """An object in it."""
        return Numbers(self._values.get(name))

    def counts(self) -> list[tuple[str, float]]:
        """All its numbers by name, the largest first."""
        named = [(one_line(str(name)), self.number(name)) for name in self._values if self.has(name)]
        return sorted(named, key=lambda pair: (-pair[1], pair[0]))


def in_sentences(answer: Answer) -> list[str]:
    """The whole answer: first whether all is well, then what it does."""
    numbers = Numbers(answer)
    kind = numbers.text("kind")
    own = {"relay": _relay, "host": _host, "directory": _directory}.get(kind)
    lines = [_standing(kind, numbers), _process(numbers), *(own(numbers) if own else ())]
    if numbers.has("consensus_age_seconds"):
        lines.append(f"Its consensus is {amount(numbers.number('consensus_age_seconds'))} old.")
    if kind != "directory":
        lines.append(_drops(numbers.inside("drops").counts()))
    return lines


def whole(number: float) -> str:
    """`65 535`."""
    return f"{number:,.0f}".replace(",", " ")


def size(number: float) -> str:
    """Bytes for people."""
    for unit, length in (("GiB", 1024 * MIB), ("MiB", MIB), ("KiB", 1024)):
        if number >= length:
            return f"{number / length:.1f} {unit}"
    return f"{number:.0f} B"


def many(number: float, one: str, more: str = "") -> str:
    """`1 relay`, `12 345 relays`."""
    return counted(1, one) if number == 1 else f"{whole(number)} {more or one + 's'}"


def _standing(kind: str, numbers: Numbers) -> str:
    if why := numbers.text("why"):
        return f"Not well: {why}"
    return {
        "relay": "All is well: the directory lists this relay.",
        "host": "All is well: strangers reach this endpoint.",
        "directory": "All is well: this directory publishes in time.",
    }.get(kind, "All is well.")


def _process(numbers: Numbers) -> str:
    version, cipher = numbers.text("onionshh"), numbers.text("cipher")
    return f"It has run for {amount(numbers.number('up_seconds'))}, as onionshh {version}, cipher {cipher}."


def _relay(numbers: Numbers) -> Iterator[str]:
    stages = [
        f"{whole(count)} {_STAGES.get(name, name)}"
        for name, count in numbers.inside("circuits_by_stage").counts()
        if count
    ]
    yield f"It carries {many(numbers.number('circuits'), 'circuit')}{_listed(': ', stages)}."
    links = numbers.inside("links")
    opening = many(links.number("opening") + links.number("dialling"), "link is", "links are")
    ours = many(links.number("relays"), "link")
    others = whole(links.number("clients"))
    yield f"It has {ours} with relays and {others} with others; {opening} being opened."
    yield (
        f"It sent {many(links.number('cells_sent'), 'cell')} in {many(links.number('frames_sent'), 'frame')},"
        f" and forwarded {whole(numbers.number('cells_forwarded'))} of them;"
        f" {size(links.number('bytes_sent'))} out, {size(links.number('bytes_received'))} in."
    )
    yield (
        f"It made {many(numbers.number('handshakes_served'), 'circuit')} for others,"
        f" refused {whole(numbers.number('handshakes_refused'))}, and"
        f" {whole(numbers.number('handshakes_waiting'))} wait."
    )
    memory = numbers.inside("memory")
    yield f"Its queues take {size(memory.number('used_bytes'))} of {size(memory.number('most_bytes'))}."
    yield from _month(numbers.inside("monthly"))
    if numbers.has("signing_key_seconds_left"):
        yield _signing_key(numbers.number("signing_key_seconds_left"))
    roles = numbers.inside("roles")
    if roles.has("mailbox_items"):
        room = roles.number("mailbox_room_bytes")
        yield (
            f"Its mailboxes hold {many(roles.number('mailbox_items'), 'item')},"
            f" {size(roles.number('mailbox_bytes'))}{f' of {size(room)}' if room else ''};"
            f" an hour in an empty inbox costs {many(roles.number('mailbox_price'), 'try', 'tries')}."
        )


def _month(monthly: Numbers) -> Iterator[str]:
    """Nothing for a relay without --monthly."""
    most = monthly.number("most_bytes")
    if most:
        used = monthly.number("used_bytes")
        ends = monthly.number("ends")
        until = f", until {utc(int(ends))}" if ends else ""
        yield f"It used {size(used)} of its {size(most)} for the month ({used / most:.0%}){until}."


def _signing_key(left: float) -> str:
    if left > 0:
        return f"Its signing key ends in {amount(left)}."
    return f"Its signing key ended {amount(-left)} ago; make the next one with `onionshh master sign`."


def _host(numbers: Numbers) -> Iterator[str]:
    guards, relays = numbers.number("guards_up"), numbers.number("relays")
    yield f"It has {many(guards, 'guard')} up and knows {many(relays, 'relay')}."
    yield (
        f"It has {many(numbers.number('introducers'), 'introducer')},"
        f" {many(numbers.number('circuits'), 'circuit')} and {many(numbers.number('visitors'), 'visitor')}."
    )
    unfinished = many(numbers.number("unfinished"), "is not finished", "are not finished")
    yield (
        f"It took {many(numbers.number('taken'), 'whisper')} in this run and finished"
        f" {whole(numbers.number('finished'))}; {unfinished}, {whole(numbers.number('given_up'))} given up."
    )
    replies, transfers = numbers.number("replies_waiting"), numbers.number("transfers")
    waiting = many(replies, "reply has", "replies have")
    yield f"{waiting} no receipt yet, and {many(transfers, 'transfer goes', 'transfers go')} on."
    if effort := numbers.number("effort"):
        yield f"Strangers must work {many(effort, 'try', 'tries')} to be let in."
    if numbers.number("inbox_crowded"):
        yield "Its inbox at the relays was half full within a day."


def _directory(numbers: Numbers) -> Iterator[str]:
    known = many(numbers.number("relays_known"), "relay")
    yield f"It knows {known} and lists {whole(numbers.number('relays_listed'))} of them."
    if numbers.number("clock_doubted"):
        yield "Most relays say that its clock is wrong."
    answers = numbers.inside("answers").counts()
    total = many(sum(count for _, count in answers), "request")
    yield f"It answered {total}{_listed(': ', [f'{whole(count)} with {name}' for name, count in answers])}."


def _drops(drops: Iterable[tuple[str, float]]) -> str:
    named = [f"{name} {whole(count)}" for name, count in drops]
    if not named:
        return "It has dropped nothing."
    more = len(named) - DROPS_MOST
    rest = f" and {more} more names" if more > 0 else ""
    return f"It dropped{_listed(' ', named[:DROPS_MOST])}{rest}; `onionshh reasons` says what the names mean."


def _listed(before: str, parts: list[str]) -> str:
    return before + ", ".join(parts) if parts else ""
