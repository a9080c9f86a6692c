"""Every line that the programs said: what must not be in one, and how often each kind of line came."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from tests.benchmarks.hour.programs import HOSTS_AT, RELAYS_AT, VISITORS_AT, Program

_SECRETS: Final = {
    "an endpoint's address": re.compile(r"shh1[a-z0-9]{8,}"),
    "where a host is": re.compile(re.escape(HOSTS_AT) + r"\d+"),
    "where a visitor is": re.compile(re.escape(VISITORS_AT) + r"\d+"),
    "a long id": re.compile(r"\b[0-9a-f]{32,}\b"),
    "a traceback": re.compile(r"Traceback|Error\("),
    "an object": re.compile(r"<\w+ object|0x[0-9a-f]{6,}|b'"),
}
_OWN: Final = (" numbers for Prometheus are at ", " id ")
"""Lines of a start that tell the operator of the program itself."""
_VARIES: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d\S*\s*"), ""),
    (re.compile(r"\b[0-9a-f]{8}(?:[0-9a-f]{56})?\b"), "ID"),
    (re.compile(r"\b(relay|host|visitor)\d+\b"), r"\1N"),
    (re.compile(re.escape(RELAYS_AT) + r"\d+:\d+"), "AT"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "#"),
)


def secrets_in(text: str) -> list[str]:
    """Which kinds of things are in it that tell of a person or of the program's inside."""
    return [what for what, pattern in _SECRETS.items() if pattern.search(text)]


def blamed(program: Program) -> Iterator[str]:
    """Lines of a program that have such a thing. What a host prints as JSON is for its program."""
    for line in program.said():
        if line.startswith("{") or any(own in line for own in _OWN):
            continue
        for found in secrets_in(line):
            yield f"{program.name}: {found}: {line}"


def kinds(programs: Iterable[Program]) -> list[tuple[str, int]]:
    """Lines without their numbers and names: debug last, then the most frequent first."""
    found: Counter[str] = Counter()
    for program in programs:
        for line in program.said():
            if line.startswith("{"):
                continue
            for pattern, instead in _VARIES:
                line = pattern.sub(instead, line)
            found[f"{program.name.rstrip('0123456789')}: {line}"] += 1
    return sorted(found.items(), key=lambda pair: (" debug " in pair[0], -pair[1]))
