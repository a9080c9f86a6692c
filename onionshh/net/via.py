"""What `--via` says: the proxy through which everything of a node leaves this machine.

`socks5://HOST:PORT` is any SOCKS5 proxy, `tor` is the one of C tor. The text may have a password. So no
message repeats the text, and the record hides it from `repr`.

C tor puts two streams on one circuit unless their SOCKS credentials differ (its IsolateSOCKSAuth). Left
alone, it would carry a node's links to both of its guards over one exit, which then sees that they are one
node's. So a node gives each destination credentials of its own, drawn from a secret of this run: the same
destination finds its circuit again, another one never shares it, nor does another node on the same machine.
A proxy that was not said to be tor gets none of that: it may refuse credentials that it does not know.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes, urlsplit

from onionshh.ids import RandomBytes

TOR_HOST: Final = "127.0.0.1"
TOR_PORT: Final = 9050
CREDENTIAL_MOST: Final = 255
"""Bytes of a user or a password (RFC 1929)."""
SOCKS_SECONDS: Final = 10.0
TOR_SECONDS: Final = 50.0
"""How much longer than a direct connection one may take: C tor may have to build circuits first."""
SECRET_BYTES: Final = 16

_TOR = re.compile(r"tor(?:=(.*))?", re.DOTALL)
_HELP: Final = (
    "write socks5://HOST:PORT, socks5://USER:PASSWORD@HOST:PORT, tor, or tor=HOST:PORT"
    " (signs in a password as in a URL, %40 for @)"
)


@dataclass(frozen=True, slots=True)
class Via:
    """One proxy. `tor`: it is C tor, which reaches onion services. `user` and `password` (bytes) are empty
    where none were given. Nothing but the kind is shown by `repr`."""

    host: str = field(repr=False)
    port: int = field(repr=False)
    tor: bool = False
    user: bytes = field(default=b"", repr=False)
    password: bytes = field(default=b"", repr=False)

    @property
    def slower_seconds(self) -> float:
        """How much longer than a direct connection one through this proxy may take."""
        return TOR_SECONDS if self.tor else SOCKS_SECONDS


def parse_via(text: str) -> Via:
    """The proxy that a person named. ValueError says what is wrong, without the text."""
    if not isinstance(text, str):
        raise TypeError(f"A proxy is named by text, not by {type(text).__name__}.")
    given = text.strip()
    tor = _TOR.fullmatch(given)
    if tor is not None:
        where = tor[1]
        if where is None:
            return Via(TOR_HOST, TOR_PORT, tor=True)
        if "@" in where:
            raise _bad("tor takes no user and no password")
        given = f"socks5://{where}"
    try:
        parts = urlsplit(given)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise _bad("that is not a proxy") from None
    if parts.scheme != "socks5":
        raise _bad("that is not a proxy")
    if parts.path not in ("", "/") or parts.query or parts.fragment:
        raise _bad("nothing may follow the port")
    if not host or not port or not (host.isascii() and host.isprintable()):
        raise _bad("the proxy needs a host and a port")
    user, password = (unquote_to_bytes(part or "") for part in (parts.username, parts.password))
    if (parts.username is not None) and not user:
        raise _bad("the user is empty")
    if max(len(user), len(password)) > CREDENTIAL_MOST:
        raise _bad(f"a user and a password have at most {CREDENTIAL_MOST} bytes")
    return Via(host, port, tor is not None, user, password)


def _bad(what: str) -> ValueError:
    return ValueError(f"via: {what}; {_HELP}.")


class Credentials:
    """What a proxy is told of who asks. `random_bytes` gives the secret of this run."""

    def __init__(self, via: Via, random_bytes: RandomBytes) -> None:
        self._via = via
        self._secret = random_bytes(SECRET_BYTES)

    def to(self, host: str, port: int) -> tuple[bytes, bytes] | None:
        """User and password for a connection to this destination; None to give none."""
        via = self._via
        if via.user:
            return via.user, via.password
        if not via.tor:
            return None
        digest = hashlib.sha3_256(self._secret + f"{host}:{port}".encode()).hexdigest()
        return digest[:32].encode(), digest[32:].encode()
