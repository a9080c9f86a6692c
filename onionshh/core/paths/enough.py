"""Whether a network has relays enough for a whisper to arrive, and what it lacks (SPEC 6, 10). Pure.

The way from an endpoint to the meeting relay is the longest path, and every whisper that arrives live needs
one. So many relays must fit together: of no common family, in no common subnet. Besides, some relay must be
allowed to keep the endpoint's descriptor, which takes days in a network that is new.
"""

from __future__ import annotations

from onionshh.core.base.chance import Chance
from onionshh.core.base.classes import PATH_RELAYS_MOST
from onionshh.core.base.words import amount
from onionshh.core.paths.path import PathImpossible, choose_path
from onionshh.core.paths.view import View
from onionshh.ids import RelayId


def lacking(view: View, chance: Chance, own: frozenset[RelayId] = frozenset()) -> str:
    """What this network lacks, in a sentence; empty if it has enough. `own`: relays that we never use."""
    count = sum(row.identity not in own for row in view.relays)
    if count < PATH_RELAYS_MOST:
        return f"a path takes {PATH_RELAYS_MOST} relays, and the network has {count}"
    have = _together(view, chance, own)
    if have < PATH_RELAYS_MOST:
        return (
            f"a path takes {PATH_RELAYS_MOST} relays, and of the {count} in the network no more than {have}"
            " fit together (no family or subnet twice)"
        )
    if view.shared_random(view.period) is not None and not view.ring_relays(view.period):
        age = view.params.ring_age_seconds
        return (
            "no relay keeps descriptors of endpoints yet; each does so after it has been listed for"
            f" {amount(age)} (ring_age_seconds), and then from the next period on"
        )
    return ""


def _together(view: View, chance: Chance, own: frozenset[RelayId]) -> int:
    """How many relays fit into one path, as far as a search finds them."""
    try:
        return len(choose_path(view, chance, relays=PATH_RELAYS_MOST, exclude=own))
    except PathImpossible as error:
        return error.have
