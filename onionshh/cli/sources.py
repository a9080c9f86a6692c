"""What a person gives as a file or on stdin: a whisper, a post, an address, a secret."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from onionshh.advice import advice
from onionshh.cli.failures import Usage
from onionshh.cli.talk import note
from onionshh.geometry import KEY

STDIN: Final = Path("-")
_SECRET_FILE_MOST: Final = 4096


def read_source(source: Path, most: int, what: str) -> bytes:
    """At most `most` bytes of a file or of stdin."""
    if source != STDIN:
        try:
            with source.open("rb") as file:
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
    data = read_source(source, _SECRET_FILE_MOST, what)
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
            f" make one with `head -c {KEY} /dev/urandom > FILE`."
        )
    return secret
