"""File descriptors: as many as the system allows, and some of them kept from links.

Systems hand out 1 024 unless a program asks for more, and each link takes one. If links took the last one,
nothing could be dialled, no file read and no transaction written.
"""

from __future__ import annotations

import resource
from contextlib import suppress

MOST = 16_384
"""More would be more memory than links should take."""
RESERVE = 128
"""Kept for what is no link, dials, files and databases; half of all where that is less."""


def raise_limit() -> None:
    """Ask for as many descriptors as this process may have, up to `MOST`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def for_links() -> int:
    """How many links there may be, by the limit of this moment."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if soft == resource.RLIM_INFINITY else min(MOST, soft)
    return most - min(RESERVE, most // 2)
