"""Finds the network of this machine: the one that `onionshh network` runs, and no other.

That network lies in the user's own state folder and holds a lock as long as it runs. Its directories are at
loopback addresses, so a network found this way never leads off this machine.
"""

from __future__ import annotations

import ipaddress
import os
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from onionshh.config import NetworkFile, parse_network_file
from onionshh.errors import BadData, BadNetworkFile
from onionshh.net.store import DataDirectory, read_file

VARIABLE = "ONIONSHH_NETWORK"
FOLDER = "one-machine"
FILE = "network.toml"
_FILE_MOST = 256 * 1024


def user_folder() -> Path | None:
    """Our folder in the XDG state directory. None without a home folder, as in containers."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    if os.path.isabs(configured):
        return Path(configured) / "onionshh"
    home = os.environ["HOME"] if "HOME" in os.environ else os.path.expanduser("~")
    return Path(home) / ".local" / "state" / "onionshh" if os.path.isabs(home) else None


def find_network() -> Path:
    """The network file that ONIONSHH_NETWORK names, else that of this machine's network. BadNetworkFile."""
    named = os.environ.get(VARIABLE, "")
    found = Path(named) if named else running_network()
    if found is None:
        raise BadNetworkFile(
            "Which network? Give its network file (--network for a command), or put its path into"
            f" {VARIABLE}, or start one on this machine with `onionshh network`."
        )
    return found


def running_network() -> Path | None:
    """The network file of the network that runs on this machine. None while no network runs."""
    base = user_folder()
    if base is None or not (base / FOLDER / FILE).is_file():
        return None
    with suppress(BadData, BadNetworkFile, OSError):
        if not DataDirectory(base / FOLDER).is_held():
            return None  # a network that has ended left the file behind
        data = read_file(base / FOLDER / FILE, _FILE_MOST)
        if data is not None and is_of_this_machine(parse_network_file(data)):
            return base / FOLDER / FILE
    return None


def is_of_this_machine(network: NetworkFile) -> bool:
    """Whether each of its directories is at a loopback address."""
    return all(_is_loopback(urlsplit(authority.url).hostname or "") for authority in network.authorities)


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False
