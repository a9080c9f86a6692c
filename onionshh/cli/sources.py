"""What a person gives as a file or on stdin: a whisper, a post, an address, a secret."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path
from typing import Final

from onionshh.advice import advice
from onionshh.cli.failures import Usage
from onionshh.cli.talk import note
from onionshh.geometry import KEY
from onionshh.net.store import close_to_others

STDIN: Final = Path("-")
SEEN: Final = "if one of them may have read it, make a new one for all who share it"
_SECRET_FILE_MOST: Final = 4096


def read_source(source: Path, most: int, what: str, *, secret: bool = False) -> bytes:
    """At most `most` bytes of a file or of stdin. If others could read a `secret` file, it is closed to them
    and this is logged, as for a file of keys."""
    if source != STDIN:
        try:
            with source.open("rb") as file:
                if secret and stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    close_to_others(file.fileno(), source, SEEN)
                return file.read(most)
        except OSError as error:
            raise Usage(f"Cannot read the {what} from {source}: {error.strerror}{advice(error)}.") from error
    if sys.stdin is None:
        raise Usage(f"There is nothing to read on stdin; give the {what} as an argument or a file.")
    if sys.stdin.isatty():
        note(f"type the {what}, then Ctrl-D.")
    return sys.stdin.buffer.read(most)


def read_secret(source: Path, what: str) -> bytes:
    """The 32 secret bytes in a file: as they are, or as 64 hex digits. Usage."""
    data = read_source(source, _SECRET_FILE_MOST, what, secret=True)
    if len(data) == KEY:
        return data
    try:
        secret = bytes.fromhex(data.decode("ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) != KEY:
        where = "stdin" if source == STDIN else source
        raise Usage(
            f"What {where} holds is no secret of {KEY} bytes or {2 * KEY} hex digits;"
            f" make one with `(umask 077; head -c {KEY} /dev/urandom > FILE)`."
        )
    return secret
