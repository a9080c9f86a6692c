"""What a terminal may be given: text that it shows, and nothing that it obeys.

Whispers, replies, a directory's reasons, names in files and typed text come from outside. A terminal obeys
some of what it is given: escape sequences, marks that turn the direction of writing, separators that begin a
new line. So anything that does not simply show is written out (`\\x1b`, `\\u202e`), here and nowhere else.
Which letters a terminal has depends on its encoding. `steady_streams` makes sure that missing letters are
written out too, and that none ends the program.
"""

from __future__ import annotations

import io
import os
import sys

LINE_CHARACTERS = 4000
"""Characters of one line; a directory may give its reasons in 64 KiB."""

# Letters and marks that take no room: Default_Ignorable_Code_Point, as far as Python calls them printable.
_UNSEEN = frozenset(
    chr(code)
    for codes in (
        (0x034F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x3164, 0xFFA0),
        range(0x180B, 0x1810),
        range(0xFE00, 0xFE10),
        range(0xE0100, 0xE01F0),
    )
    for code in codes
)


def shown(text: str) -> str:
    """Text of any number of lines; breaks and tabs stay."""
    return "".join(letter if letter in "\n\t" else _one(letter) for letter in text)


def printable(body: bytes) -> str:
    """A peer's bytes as text; what is not valid UTF-8 is �."""
    return shown(body.decode(errors="replace"))


def one_line(text: str) -> str:
    """Text as one line: blanks and breaks in a row become one blank."""
    more = "…" if len(text) > LINE_CHARACTERS else ""
    visible = "".join(letter if letter.isspace() else _one(letter) for letter in text[:LINE_CHARACTERS])
    return " ".join(visible.split()) + more


def steady_streams() -> None:
    """Call this once, when the program starts. It makes stdout and stderr take any text, and makes sure that
    the first three descriptors are open. If our parent process had closed one, the next file would get its
    number, perhaps a database, and our output would be written into it. A placeholder for stdin cannot be
    read, and one for stdout or stderr cannot be written, so that the loss is noticed.
    """
    for number, mode in enumerate((os.O_WRONLY, os.O_RDONLY, os.O_RDONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # it gets the lowest free number
    if sys.stderr is None:  # `print` would take None for stdout
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115, it stays
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _one(letter: str) -> str:
    if letter.isprintable() and letter not in _UNSEEN:
        return letter
    code = ord(letter)
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
