"""What a terminal is given: nothing that it would obey, whatever its encoding, and never an end of ours."""

from __future__ import annotations

import io
import logging
import subprocess
import sys
import unicodedata
from pathlib import Path

import click
import pytest

from onionshh.cli import main
from onionshh.cli.failures import DEBUG_VARIABLE, configure_logging, explain, report
from onionshh.cli.text import LINE_CHARACTERS, one_line, printable, shown, steady_streams
from onionshh.errors import Error

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


# Who tells


def test_click_s_own_errors(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([f"a{NASTY}"], [f"--a{NASTY}"], ["relays", NASTY], ["demo", "--hops", NASTY]):
        assert main(arguments) == 2
        err = capsys.readouterr().err
        assert err.endswith("\n")
        assert err[:-1].isprintable()


def test_whatever_is_raised() -> None:
    error = OSError(2, NASTY, NASTY)
    for one in (Error(NASTY), error, click.BadParameter(NASTY), ValueError(NASTY)):
        assert explain(one)[0].isprintable()


def test_tracebacks(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, "1")
    with pytest.raises(Error) as caught:
        raise Error(NASTY)
    assert report(caught.value, as_json=True) == 1
    out, err = capsys.readouterr()
    assert "Traceback" in err
    for text in (out, err):
        assert text.replace("\n", "").isprintable()


@pytest.mark.parametrize("debug", ["", "1"])
def test_logged_lines(
    debug: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(DEBUG_VARIABLE, debug)
    root = logging.getLogger()
    before = root.handlers[:]
    root.handlers.clear()
    try:
        configure_logging()
        try:
            raise OSError(NASTY)
        except OSError:
            logging.getLogger("onionshh").warning("a %s", NASTY, exc_info=True)
    finally:
        root.handlers[:] = before
    assert capsys.readouterr().err.replace("\n", "").isprintable()


def test_an_error_whose_stderr_is_full_has_its_status(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.StringIO):
        def write(self, text: str, /) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    assert main(["no-such-command"]) == 2
