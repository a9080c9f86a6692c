"""Whose program answers at a TCP port of this machine, as Linux tells everyone.

A port above 1023 belongs to whoever takes it first. So before a secret goes to a program of the system by
such a port, we look whether a person's program has taken it. Elsewhere than on Linux nothing is known.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

TABLES: Final = (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6"))
"""As the process sees them: a service of systemd may see nothing else of /proc."""
_LISTENS: Final = "0A"
_PEOPLE_FROM: Final = 1000
"""The first user id of a person (UID_MIN of most systems)."""
_SERVICES: Final = range(61_184, 65_536)
"""Users that systemd makes for a service, and the one that stands for a user of another namespace."""


def strangers(there: tuple[str, int], ours: tuple[str, int], tables: Iterable[str] | None = None) -> set[int]:
    """The people, by user id, whose programs listen at `there` or have taken our connection to it, except
    ourselves. `there`, `ours`: IPv4 address and port of both ends. `tables`: of a test."""
    texts = _read() if tables is None else tables
    rows = [row for text in texts for row in _rows(text)]
    users = {
        user
        for local, remote, state, user in rows
        if local[1] == there[1]
        and (
            (state == _LISTENS and local[0] in (there[0], "0.0.0.0", "::"))
            or (local[0] == there[0] and remote == ours)
        )
    }
    return {user for user in users if user >= _PEOPLE_FROM and user not in _SERVICES} - {os.geteuid()}


def _read() -> Iterator[str]:
    for table in TABLES:
        try:
            yield table.read_text(encoding="ascii")
        except (OSError, UnicodeDecodeError):
            continue


def _rows(text: str) -> Iterator[tuple[tuple[str, int], tuple[str, int], str, int]]:
    """Local end, remote end, state and user of each row; what has another form is left out."""
    for line in text.splitlines()[1:]:
        fields = line.split()
        try:
            yield _end(fields[1]), _end(fields[2]), fields[3], int(fields[7])
        except (IndexError, ValueError):
            continue


def _end(text: str) -> tuple[str, int]:
    """An end as the kernel writes it: words of 32 bits in the machine's order, then the port."""
    words, _, port = text.partition(":")
    raw = b"".join(int(words[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, len(words), 8))
    if len(raw) == 4:
        return socket.inet_ntop(socket.AF_INET, raw), int(port, 16)
    address = ipaddress.IPv6Address(raw)
    return str(address.ipv4_mapped or address), int(port, 16)
