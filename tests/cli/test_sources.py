"""What a person gives as a file or on stdin: as much of it as was asked for, or one sentence."""

from __future__ import annotations

import io
import os
import stat
from pathlib import Path

import pytest

from onionshh.cli.failures import Usage
from onionshh.cli.sources import STDIN, read_secret, read_source
from tests.cli.conftest import terminal

SECRET = bytes(range(32))
HEX = SECRET.hex()
BAD = (
    "is no secret of 32 bytes or 64 hex digits; make one with `(umask 077; head -c 32 /dev/urandom > FILE)`."
)


def typed(data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """This comes on stdin."""
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(data)))


def test_a_file_or_stdin_is_read_up_to_the_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"\xff\n\0 hello")
    typed(b"\xff\n\0 hello", monkeypatch)
    for source in (file, STDIN):
        assert read_source(source, 100, "post") == b"\xff\n\0 hello"
    typed(b"\xff\n\0 hello", monkeypatch)
    for source in (file, STDIN):
        assert read_source(source, 3, "post") == b"\xff\n\0"


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"^Cannot read the post from .*: No such file .*; check the path\.$"):
        read_source(tmp_path / "none", 9, "post")
    with pytest.raises(Usage, match=r"^Cannot read the post from .*; give a file, not a folder\.$"):
        read_source(tmp_path, 9, "post")


def test_without_stdin_there_is_nothing_to_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(Usage, match="nothing to read on stdin; give the topic as an argument or a file"):
        read_source(STDIN, 9, "topic")


def test_at_a_terminal_it_says_what_to_type(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Terminal(io.TextIOWrapper):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr("sys.stdin", Terminal(io.BytesIO(b"hello")))
    assert read_source(STDIN, 9, "post") == b"hello"
    assert capsys.readouterr().err == "onionshh: type the post, then Ctrl-D.\n"
    with terminal():  # stderr alone is no reason
        typed(b"hello", monkeypatch)
        assert read_source(STDIN, 9, "post") == b"hello"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "data",
    [
        SECRET,
        b"\n" * 32,
        HEX.encode(),
        HEX.upper().encode(),
        f"{HEX}\n".encode(),
        f"  {HEX}\r\n\n".encode(),
        f"{HEX[:32]} {HEX[32:]}\n".encode(),
        f"{HEX[:32]}\n{HEX[32:]}\n".encode(),
    ],
)
def test_a_secret(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_bytes(data)
    typed(data, monkeypatch)
    wanted = data if len(data) == 32 else SECRET
    assert read_secret(file, "secret") == read_secret(STDIN, "secret") == wanted


@pytest.mark.parametrize(
    "data",
    [
        b"",
        SECRET[:31],
        SECRET + b"\n",
        SECRET * 2,
        HEX[:63].encode(),
        HEX[:62].encode(),
        f"{HEX}0".encode(),
        f"{HEX}00".encode(),
        f"0x{HEX}".encode(),
        f"{HEX[:-1]}g".encode(),
        HEX.encode("utf-16"),
        "٣".encode() * 64,
        bytes(100_000),
    ],
)
def test_what_is_no_secret_is_not_shown(data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "secret"
    file.write_bytes(data)
    typed(data, monkeypatch)
    with pytest.raises(Usage) as raised:
        read_secret(file, "secret")
    assert str(raised.value) == f"What {file} holds {BAD}"
    with pytest.raises(Usage) as raised:
        read_secret(STDIN, "secret")
    assert str(raised.value) == f"What stdin holds {BAD}"


def test_a_secret_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Usage, match=r"^Cannot read the topic from .*/none: No such file"):
        read_secret(tmp_path / "none", "topic")
    with pytest.raises(Usage, match=r"^Cannot read the topic from .*: Is a directory"):
        read_secret(tmp_path, "topic")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_secret_that_others_could_read_is_taken_and_closed_and_that_is_said_once(
    mode: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "secret"
    file.write_bytes(SECRET)
    file.chmod(mode)
    for _ in range(2):
        assert read_secret(file, "topic") == SECRET
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert caplog.messages == [
        f"{file} could be read by other users of this machine (mode {mode:04o}); it is closed to them now,"
        " but if one of them may have read it, make a new one for all who share it."
    ]


def test_nothing_is_said_of_a_secret_that_is_closed_or_of_what_is_no_secret(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    secret, post = tmp_path / "secret", tmp_path / "post"
    for file, mode in ((secret, 0o600), (post, 0o644)):
        file.write_bytes(SECRET)
        file.chmod(mode)
    assert read_secret(secret, "topic") == read_source(post, 99, "post") == SECRET
    pipe = tmp_path / "pipe"  # as <(…) of a shell
    os.mkfifo(pipe, 0o644)
    with open(pipe, "r+b", buffering=0) as end:
        end.write(HEX.encode().ljust(4096))
        assert read_secret(pipe, "topic") == SECRET
    assert stat.S_IMODE(post.stat().st_mode) == 0o644
    assert caplog.messages == []
