"""Whose clock is wrong if our clock says that a consensus is out of date: ours or the directory's?"""

from __future__ import annotations

from typing import NamedTuple

from onionshh.core.base.words import amount, utc
from onionshh.core.trust import EARLY_SECONDS, ConsensusNotYet, ConsensusOutOfTime
from onionshh.errors import ClockWrong, Error, NoDirectory


class ListOutOfTime(NoDirectory):
    """A directory serves a list with wrong dates, though its clock agrees with ours."""


class ClockWitness(NamedTuple):
    """A directory whose list has wrong dates by our clock, and the directory's own time (`date`)."""

    url: str
    found: ConsensusOutOfTime
    date: int | None


def out_of_time(witnesses: list[ClockWitness], wall: int) -> Error:
    """The error that says whose clock differs: ours, the directory's, or that of its list."""
    with_us = [
        witness
        for witness in witnesses
        if witness.date is not None and abs(witness.date - wall) <= EARLY_SECONDS
    ]
    if 2 * len(with_us) >= len(witnesses):
        return _list_out_of_time(with_us[0], wall)
    against = [witness for witness in witnesses if witness not in with_us]
    odd = against[0]
    there = odd.found.valid_after if odd.date is None else odd.date
    difference = f"This machine's clock is about {amount(wall - there)} {_way(wall - there)}"
    offset = odd.found.offset_seconds
    if len(against) > 1 and len({(witness.found.offset_seconds > 0) for witness in against}) == 1:
        return ClockWrong(
            f"{difference} those of {len(against)} directories: here it is {utc(wall)}, there {utc(there)};"
            " set it right.",
            offset,
        )
    if odd.date is None:
        return ClockWrong(
            f"{difference} the directory's list: here it is {utc(wall)}, the list of {odd.url} is of"
            f" {utc(there)}. Set right whichever is wrong.",
            offset,
        )
    ends = odd.found.valid_until
    if odd.found.valid_after - EARLY_SECONDS <= odd.date < ends:
        return ClockWrong(
            f"{difference} that of the directory {odd.url}: here it is {utc(wall)}, there {utc(there)}."
            " Set right whichever is wrong.",
            offset,
        )
    return ClockWrong(
        f"{difference} that of the directory {odd.url}, and its list agrees with neither: here it is"
        f" {utc(wall)}, there {utc(there)}, the list is of {utc(odd.found.valid_after)}. Set right whichever"
        " is wrong.",
        offset,
    )


def _list_out_of_time(witness: ClockWitness, wall: int) -> ListOutOfTime:
    """The directory's clock agrees with ours, but its list does not. Only its operator can repair that."""
    offset = wall - witness.found.valid_after
    if isinstance(witness.found, ConsensusNotYet):
        fault = f"is dated {utc(witness.found.valid_after)}, about {amount(offset)} ahead"
    else:
        fault = f"is of {utc(witness.found.valid_after)}, about {amount(offset)} ago, and has expired"
    return ListOutOfTime(
        f"The list of relays that the directory {witness.url} serves {fault}, though its clock agrees with"
        f" this machine's ({utc(wall)}): whoever runs the directory must see to it."
    )


def _way(offset: int) -> str:
    return "ahead of" if offset > 0 else "behind"
