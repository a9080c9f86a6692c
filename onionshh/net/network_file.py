"""Reads the network file, which describes a network and says where its authorities are.

Trust begins with it. So it is logged if everyone on this machine can change it. People hand it on, so it may
be anybody's.
"""

from __future__ import annotations

from pathlib import Path

from onionshh.advice import advice
from onionshh.config import NetworkFile, parse_network_file
from onionshh.errors import BadNetworkFile
from onionshh.net.store import warn_of_writers

NETWORK_FILE_MOST = 256 * 1024


def read_network_file(path: Path | str) -> NetworkFile:
    """The network file at this path. Raises BadNetworkFile."""
    if not Path(path).name:
        raise BadNetworkFile("No network file is named: the path is empty, or is that of a folder.")
    try:
        with Path(path).open("rb") as file:
            warn_of_writers(file.fileno(), path, "lead you into a network of their own")
            data = file.read(NETWORK_FILE_MOST + 1)
    except FileNotFoundError:
        raise BadNetworkFile(
            f"There is no network file at {path}; ask whoever runs the network for it,"
            " or start a directory, which writes one."
        ) from None
    except OSError as error:
        raise BadNetworkFile(
            f"The network file {path} cannot be read: {error.strerror}{advice(error)}."
        ) from error
    if len(data) > NETWORK_FILE_MOST:
        raise BadNetworkFile(f"{path} is larger than any network file; give the right one.")
    try:
        return parse_network_file(data)
    except BadNetworkFile as error:
        raise BadNetworkFile(f"{path}: {error}") from error
