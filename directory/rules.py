"""Which date a relay's descriptor may have (SPEC 8). Pure."""

from __future__ import annotations

from onionshh.core.base.words import utc
from onionshh.directory.entry import CLOCK_SECONDS

DESCRIPTOR_LIFE_SECONDS = 24 * 3600


def date_problem(published: int, wall: int) -> str:
    """Why a descriptor of that date may not come at this time, both in Unix seconds."""
    ahead = published - wall
    if -DESCRIPTOR_LIFE_SECONDS <= ahead <= CLOCK_SECONDS:
        return ""
    way = "ahead of" if ahead > 0 else "behind"
    return (
        f"the relay's clock is about {abs(ahead)} seconds {way} the directory's: the descriptor is of"
        f" {utc(published)}, here it is {utc(wall)}; set right whichever is wrong"
    )
