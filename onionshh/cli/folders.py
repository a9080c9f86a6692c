"""Where a visitor's guards and consensus lie when no folder is given: one folder a network (XDG)."""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from onionshh.config import NetworkFile

_HASH_DIGITS = 12


def state_folder() -> Path:
    """The XDG state directory's part that is ours."""
    configured = os.environ.get("XDG_STATE_HOME", "")
    # The XDG specification: a path that is not absolute is to be ignored.
    base = Path(configured) if os.path.isabs(configured) else Path.home() / ".local" / "state"
    return base / "onionshh"


def network_folder(network: NetworkFile) -> Path:
    """A network's own: two of one name and other keys never share guards."""
    digest = hashlib.sha3_256(b"".join(sorted(network.keys))).hexdigest()[:_HASH_DIGITS]
    return state_folder() / f"{re.sub('[^A-Za-z0-9-]', '-', network.name)}-{digest}"
