"""What went wrong, in one sentence that a terminal may be given, with its exit status."""

from __future__ import annotations

import errno
import io
import logging
import sys
from contextlib import suppress

import click
import pytest

from onionshh.cli import main
from onionshh.cli.failures import DEBUG_VARIABLE, Usage, configure_logging, explain, report, worst
from onionshh.errors import (
    BadAddress,
    BadData,
    BadNetworkFile,
    ClockWrong,
    DataInUse,
    Error,
    NoDirectory,
    TooLarge,
)
from onionshh.net.tcp import PortInUse
from tests.cli.test_text import NASTY


@pytest.mark.parametrize(
    "error, status",
    [
        (Usage("x"), 2),
        (BadAddress("x"), 2),
        (BadNetworkFile("x"), 2),
        (BadData("x"), 2),
        (TooLarge("x"), 2),
        (Error("port"), 1),
        (PortInUse("x"), 1),
        (DataInUse("x"), 1),
        (NoDirectory("x"), 1),
        (ClockWrong("x", 60), 1),
        (PermissionError(13, "Permission denied", "/x"), 1),
        (ValueError("unexpected"), 1),
    ],
)
def test_exit_status(error: Exception, status: int) -> None:
    assert explain(error)[1] == status


def test_what_nobody_expected_is_called_a_bug() -> None:
    sentence, _ = explain(KeyError("a\nb"))
    assert sentence.startswith("this is a bug in onionshh: KeyError: 'a")
    assert "\n" not in sentence


def test_of_several_errors_the_unexpected_one_is_told() -> None:
    bug = RuntimeError("bug")
    group = BaseExceptionGroup("", [NoDirectory("x"), BaseExceptionGroup("", [bug])])
    assert worst(group) is bug
    known = NoDirectory("y")
    assert worst(BaseExceptionGroup("", [known, DataInUse("z")])) is known


def test_without_memory() -> None:
    assert "end other programs" in explain(MemoryError())[0]


def test_errors_of_the_system_say_what_to_do_and_where() -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/data/guards")
    assert explain(error) == (
        "No space left on device: /data/guards; make room there.",
        1,
    )
    assert "choose a folder" in explain(OSError(errno.EROFS, "Read-only file system", "/data/lock"))[0]


def test_an_error_that_cannot_be_printed_is_still_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """`--json > /dev/full`: what went wrong is the output itself."""
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert report(OSError(errno.ENOSPC, "No space left on device"), as_json=True) == 1
        monkeypatch.undo()
        with suppress(OSError):
            full.close()


# What a terminal may be given.


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
