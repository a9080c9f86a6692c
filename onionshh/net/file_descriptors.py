"""File descriptors: as many as the system allows, with some reserved for other uses than links.

Systems give a program 1 024 unless it asks for more, and each link takes one. If links took the last one, we
could not connect to anyone, read a file or write a transaction.
"""

from __future__ import annotations

import resource
from contextlib import suppress

MOST = 16_384
"""With more, links would take too much memory."""
RESERVE = 128
"""Reserved for new connections, files and databases. If half of all is less, half is reserved."""


def raise_limit() -> None:
    """Ask for as many descriptors as this process may have, up to `MOST`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST if hard == resource.RLIM_INFINITY else min(MOST, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def for_links() -> int:
    """How many links there may be under the present limit."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = MOST if soft == resource.RLIM_INFINITY else min(MOST, soft)
    return most - min(RESERVE, most // 2)
