"""The network file: from which authorities a node takes its view of the network (SPEC 8).

Trust starts here and nowhere else. A network file is TOML. The directory's first start makes it and people
hand it on, who may have saved it anew in their editor. Here its text is parsed and formatted;
`net/network_file.py` reads it from disk.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from urllib.parse import urlsplit

from onionshh.errors import BadNetworkFile
from onionshh.geometry import KEY

NETWORK_FILE_VERSION = 1
MOST_AUTHORITIES = 32
NAME_MOST = 64

_VERSION_MOST = 2**31 - 1
"""A larger number may have too many digits to be written in a sentence."""
_NAME = re.compile(rf"[A-Za-z0-9][A-Za-z0-9 ._-]{{0,{NAME_MOST - 1}}}")
_MARK = "\ufeff"
"""The byte order mark that some editors put before UTF-8."""
_HELP = "Ask whoever runs the network for its network file, or make one by starting a directory."


@dataclass(frozen=True, slots=True)
class Authority:
    """One directory authority: where it answers and the Ed25519 key (32 bytes) it signs with."""

    url: str
    key: bytes


@dataclass(frozen=True, slots=True)
class NetworkFile:
    """A network's name, its authorities, and how many of them must have signed a consensus."""

    name: str
    threshold: int
    authorities: tuple[Authority, ...]

    @property
    def needed(self) -> int:
        """How many signatures a consensus needs: the threshold, and in any case more than half (SPEC 8)."""
        return max(self.threshold, len(self.authorities) // 2 + 1)

    @property
    def keys(self) -> frozenset[bytes]:
        """The keys whose signatures count."""
        return frozenset(authority.key for authority in self.authorities)


def good_name(name: str) -> bool:
    """Whether this can name a network: 1 to 64 letters, digits, blanks, dots, dashes."""
    return _NAME.fullmatch(name) is not None


def parse_network_file(given: str | bytes) -> NetworkFile:
    """Parse the text of a network file. Raises BadNetworkFile: one sentence, and what to do."""
    text = (given if isinstance(given, str) else _decoded(given)).removeprefix(_MARK)
    if not text.strip():
        raise _bad("The network file is empty")
    try:
        table = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # not TOMLDecodeError for a number of 5 000 digits
        raise _bad(f"The network file is not valid TOML ({error})") from error
    version = table.get("version", NETWORK_FILE_VERSION)
    if type(version) is not int or not 0 <= version <= _VERSION_MOST:
        raise _bad(
            f"The network file's version must be a whole number, as in version = {NETWORK_FILE_VERSION}"
        )
    if version != NETWORK_FILE_VERSION:
        raise BadNetworkFile(
            f"The network file has version {version!r} and this onionshh reads {NETWORK_FILE_VERSION};"
            " install the onionshh that fits."
        )
    name = table.get("name")
    if not isinstance(name, str) or not good_name(name):
        raise _bad(
            f'The network file needs name = "…", 1 to {NAME_MOST} letters, digits, blanks, dots or dashes'
        )
    rows = table.get("authority")
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_AUTHORITIES:
        raise _bad(f"The network file needs 1 to {MOST_AUTHORITIES} tables [[authority]] with url and key")
    authorities = tuple(_authority(row, number) for number, row in enumerate(rows, 1))
    if len({authority.key for authority in authorities}) != len(authorities):
        raise _bad("The network file names the same authority key twice")
    threshold = table.get("threshold", len(authorities) // 2 + 1)
    if type(threshold) is not int or not 1 <= threshold <= len(authorities):
        raise _bad(
            f"The network file's threshold must be a whole number from 1 to {len(authorities)},"
            " the number of its authorities"
        )
    return NetworkFile(name, threshold, authorities)


def format_network_file(network: NetworkFile) -> str:
    """The text of a network file; `parse_network_file` gives the same back."""
    lines = [
        "# onionshh network file: where this network's directory is and whose signature counts.",
        "# Everyone who joins the network needs a copy; nothing in it is secret.",
        f"version = {NETWORK_FILE_VERSION}",
        f"name = {json.dumps(network.name)}",
        f"threshold = {network.threshold}",
    ]
    for authority in network.authorities:
        lines += ["", "[[authority]]", f"url = {json.dumps(authority.url)}", f'key = "{authority.key.hex()}"']
    return "\n".join(lines) + "\n"


def _decoded(data: bytes) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in data:
        raise BadNetworkFile("The network file is not UTF-8 text but UTF-16, or not text; save it as UTF-8.")
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadNetworkFile(
            f"The network file is not UTF-8 text (line {line} has the byte 0x{data[error.start]:02x});"
            " save it as UTF-8."
        ) from error


def _authority(row: object, number: int) -> Authority:
    if not isinstance(row, dict):
        raise _bad(f"Authority {number} of the network file must be a table [[authority]] with url and key")
    url, key = row.get("url"), row.get("key")
    if not isinstance(url, str) or not _good_url(url):
        raise _bad(f'Authority {number} of the network file needs url = "http://HOST:PORT"')
    if not isinstance(key, str) or re.fullmatch(rf"[0-9a-fA-F]{{{2 * KEY}}}", key) is None:
        raise _bad(f'Authority {number} of the network file needs key = "…", {2 * KEY} hexadecimal digits')
    return Authority(url.rstrip("/"), bytes.fromhex(key))


def _good_url(url: str) -> bool:
    if not (url.isascii() and url.isprintable()) or " " in url or len(url) > 2048:
        return False
    try:
        parts = urlsplit(url)
        _ = parts.port  # raises for a port that is not a number
    except ValueError:
        return False
    bare = not (parts.query or parts.fragment or parts.username or parts.password)
    return parts.scheme in ("http", "https") and bool(parts.hostname) and bare


def _bad(what: str) -> BadNetworkFile:
    return BadNetworkFile(f"{what}. {_HELP}")
