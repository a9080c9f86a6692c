"""What a terminal is given: nothing that it would obey, whatever its encoding, and never an end of ours."""

from __future__ import annotations

import io
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest

from onionshh.cli.text import LINE_CHARACTERS, one_line, printable, shown, steady_streams

EVERYTHING = "".join(map(chr, range(sys.maxunicode + 1)))
OBEYED = ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
TURNING = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
UNSEEN = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u115f\u3164\uffa0\ufe0f\U000e0100\U000e0041"
NASTY = f"\x1b[2J\x1b]0;title\x07\x9b2J\x7f\r\b\u2028\u2029\x85\udc9b{TURNING}{UNSEEN}"


def test_of_all_characters_none_that_is_obeyed_is_left() -> None:
    text = shown(EVERYTHING)
    left = {one for one in text if unicodedata.category(one) in OBEYED}
    assert left == {"\n", "\t"}
    assert not set(UNSEEN) & set(text)
    line = one_line(EVERYTHING[:LINE_CHARACTERS])
    assert not {one for one in line if unicodedata.category(one) in OBEYED or one.isspace()} - {" "}


def test_what_simply_shows_stays() -> None:
    for text in ("Grüße, шёпот, 囁き, 🤫!", "a\tb\nc", "C:\\dir [b]bold[/b]", ""):
        assert shown(text) == text
        assert printable(text.encode()) == text


def test_what_does_not_show_is_written_out() -> None:
    assert shown("a\x1b[2J\x9b\u202eb\U000e0041") == r"a\x1b[2J\x9b\u202eb\U000e0041"
    assert printable(b"\xff\x1b") == "�\\x1b"
    assert one_line(" a\r\n\u2028 b\x1b[2J\udc9b ") == r"a b\x1b[2J\udc9b"
    assert shown(NASTY).isprintable()


def test_a_line_has_an_end() -> None:
    line = one_line("x" * 10 * LINE_CHARACTERS)
    assert len(line) == LINE_CHARACTERS + 1
    assert line.endswith("…")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "cp437"])
@pytest.mark.parametrize("errors", ["strict", "surrogateescape"])
def test_a_stream_takes_any_text(encoding: str, errors: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the C locale Python itself would write the lone surrogate U+DC9B as the byte 0x9b."""
    for name in ("stdout", "stderr"):
        raw = io.BytesIO()
        monkeypatch.setattr(sys, name, io.TextIOWrapper(raw, encoding=encoding, errors=errors))
        steady_streams()
        stream = getattr(sys, name)
        print("ü🤫\udc9b", file=stream, flush=True)
        written = raw.getvalue()
        monkeypatch.undo()
        assert b"\x9b" not in written.replace("🤫".encode(), b"")
        assert written.endswith(b"\\udc9b\n")


def test_descriptors_that_were_closed_are_nobody_elses(tmp_path: Path) -> None:
    """`onionshh host --json >&-`: the next file would be number 1, and the lines be written into it."""
    script = (
        "import os\nfrom onionshh.cli.text import steady_streams\nsteady_streams()\n"
        f"other = os.open({str(tmp_path / 'file')!r}, os.O_RDWR | os.O_CREAT)\n"
        "print('said')\nprint('remark', file=__import__('sys').stderr)\n"
        "try:\n    os.write(1, b'line')\nexcept OSError:\n    pass\n"  # that it is lost may be noticed
        "os._exit(other)"
    )
    command = ["sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(command, check=False).returncode > 2
    assert (tmp_path / "file").read_bytes() == b""
