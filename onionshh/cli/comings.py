"""Which relays came and went, and why, as a directory says it: by nickname and id, without addresses.

A line for each relay, as long as few come or go at a time. Ids and nicknames are in the consensus, which is
public.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from onionshh.cli.log_lines import INFO, WARNING
from onionshh.cli.talk import counted
from onionshh.wire.consensus import Consensus, RelayRow

if TYPE_CHECKING:
    from onionshh.directory.authority import DirectoryAuthority

NAMED_MOST = 16
"""Named at one time; further ones are counted."""


class Comings:
    """Compares each consensus with the one before it."""

    def __init__(self, authority: DirectoryAuthority) -> None:
        self._authority = authority
        self._seen: Consensus | None = None

    def look(self) -> Iterator[tuple[str, int]]:
        """What there is to say now, each line with its level. First how many relays are listed, if that has
        changed. Of the first consensus only that is said."""
        before, now = self._seen, self._authority.consensus
        if now is None or now is before:
            return
        self._seen = now
        listed = _rows(now)
        if before is None or len(before.relays) != len(listed):
            yield f"{counted(len(listed), 'relay')} listed", INFO
        if before is None:
            return
        known = _rows(before)
        came = [(f"{_named(row)} came", INFO) for key, row in listed.items() if key not in known]
        yield from _limited(came, "came")
        gone = [(self._went(row), WARNING) for key, row in known.items() if key not in listed]
        yield from _limited(gone, "went")

    def _went(self, row: RelayRow) -> str:
        why, newest = self._authority.status(row.identity).why, self._authority.registry.newest(row.identity)
        for address in (row.address, newest.address if newest is not None else row.address):
            why = why.replace(address, "it")
        return f"{_named(row)} went: {why or 'it is not known any more'}"


def _rows(consensus: Consensus) -> Mapping[bytes, RelayRow]:
    return {row.identity: row for row in consensus.relays}


def _named(row: RelayRow) -> str:
    return f"relay {row.nickname} ({row.identity.hex()})"


def _limited(lines: list[tuple[str, int]], verb: str) -> Iterator[tuple[str, int]]:
    yield from lines[:NAMED_MOST]
    if len(lines) > NAMED_MOST:
        yield f"{counted(len(lines) - NAMED_MOST, 'more relay')} {verb}", lines[0][1]
