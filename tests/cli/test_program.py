"""`host --exec`: what a program of somebody else's may do, and when it has handled a whisper."""

from __future__ import annotations

import os
import resource
import signal
import stat
import time
from pathlib import Path

import pytest
import trio

from onionshh.cli import program
from onionshh.cli.failures import Usage
from onionshh.cli.handling import NotHandled
from onionshh.cli.program import ProgramFailed, parse_command, run_program


def script(folder: Path, text: str) -> list[str]:
    path = folder / "program"
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return [str(path)]


async def test_a_program_answers_with_what_it_writes(tmp_path: Path) -> None:
    assert await run_program(script(tmp_path, "tr a-z A-Z"), b"hello\xff") == b"HELLO\xff"


async def test_a_program_need_not_read(tmp_path: Path) -> None:
    assert await run_program(script(tmp_path, "echo hi"), bytes(65535)) == b"hi\n"


async def test_a_program_that_fails_by_itself_has_handled_the_whisper(tmp_path: Path) -> None:
    with pytest.raises(ProgramFailed, match="status 3"):
        await run_program(script(tmp_path, "exit 3"), b"")


@pytest.mark.parametrize(
    "text, why",
    [
        ("head -c 65536 /dev/zero", "more than 65535 bytes"),
        ("head -c 65536 /dev/zero; exec sleep 60", "more than 65535 bytes"),
        ("kill -KILL $$", "ended by signal 9"),
        ("kill -PIPE $$", "ended by signal 13"),
        ("exit 75", "asks for another run"),
        ("/etc/passwd", "could not run"),
        ("no-such-program-here", "did not find"),
    ],
)
async def test_what_did_not_come_to_its_own_end_has_not(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(NotHandled, match=why):
        await run_program(script(tmp_path, text), b"x")


@pytest.mark.parametrize("text", ["sleep 60 & sleep 60", "exec >&-; sleep 60", "exec <&-; sleep 60"])
async def test_a_program_has_its_time(tmp_path: Path, text: str) -> None:
    with pytest.raises(NotHandled, match="took more than"):
        await run_program(script(tmp_path, text), bytes(65535), seconds=0.2)


async def test_a_program_that_is_not_there_or_cannot_run(tmp_path: Path) -> None:
    command = script(tmp_path, "cat")
    Path(command[0]).chmod(0o600)
    with pytest.raises(NotHandled, match="cannot be started: Permission denied"):
        await run_program(command, b"")
    Path(command[0]).unlink()
    with pytest.raises(NotHandled, match="cannot be started: No such file"):
        await run_program(command, b"")


async def test_a_program_for_which_there_are_no_descriptors(tmp_path: Path) -> None:
    command = script(tmp_path, "cat")
    assert await run_program(command, b"x") == b"x"  # what is opened once is open
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest = os.dup(0)
    os.close(lowest)
    for room in range(6):
        resource.setrlimit(resource.RLIMIT_NOFILE, (lowest + room, hard))
        try:
            with pytest.raises(NotHandled, match="cannot be started: Too many open files"):
                await run_program(command, b"x")
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.dup(0) == lowest, "nothing that was opened half is left"
    os.close(lowest)
    assert await run_program(command, b"x") == b"x"


async def test_the_end_of_the_program_is_the_end_of_the_run(tmp_path: Path) -> None:
    """What it leaves behind, with its stdout, costs neither the reply nor a place, and goes on."""
    child = tmp_path / "child"
    started = trio.current_time()
    command = script(tmp_path, f"echo reply; sleep 60 & echo $! > {child}")
    assert await run_program(command, b"x" * 65535) == b"reply\n"
    assert trio.current_time() - started < 30  # not 60
    pid = int(child.read_text())
    assert _alive(pid)
    os.kill(pid, signal.SIGKILL)


async def test_what_is_left_behind_writes_nothing_into_the_reply(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It writes on as soon as the program is over and what it wrote was counted."""
    over = tmp_path / "over"
    counted = program.bytes_waiting

    def then_more(pipe: trio.abc.ReceiveStream) -> int:
        count = counted(pipe)
        over.touch()
        while counted(pipe) == count:
            time.sleep(0.01)
        return count

    monkeypatch.setattr(program, "bytes_waiting", then_more)
    spam = f"until test -e {over}; do sleep 0.01; done; while echo spam; do :; done"
    command = script(tmp_path, f"({spam}) & echo answer")
    assert await run_program(command, b"") == b"answer\n"


async def test_all_that_was_written_is_taken_though_something_holds_the_pipe(tmp_path: Path) -> None:
    command = script(tmp_path, "sleep 5 & head -c 60000 /dev/zero; echo end")
    assert await run_program(command, b"") == bytes(60000) + b"end\n"


async def test_the_largest_reply(tmp_path: Path) -> None:
    assert len(await run_program(script(tmp_path, "head -c 65535 /dev/zero"), b"")) == 65535


async def test_a_program_ends_with_us(tmp_path: Path) -> None:
    """Its whole session: nothing it started is left."""
    command = script(tmp_path, f"sleep 60 & echo $! > {tmp_path}/child; sleep 60")
    child = tmp_path / "child"
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_program, command, b"")
            while not (child.exists() and child.read_text().strip()):
                await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
    pid = int(child.read_text())
    with trio.fail_after(60):
        while _alive(pid):
            await trio.sleep(0.01)


def _alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_a_command_may_have_arguments() -> None:
    assert parse_command("sh -c 'a b'")[1:] == ["-c", "a b"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it names no program"),
        ("no-such-program-here x", r"there is no no-such-program-here where programs are looked for"),
        ("/no/such/program", r"there is no /no/such/program\."),
        ("'", "cannot be read"),
        ("/etc/passwd", "may not be run"),
        ("/etc", "is a folder"),
    ],
)
def test_a_command_that_cannot_run(text: str, why: str) -> None:
    with pytest.raises(Usage, match=f"--exec.*{why}"):
        parse_command(text)


async def test_a_program_is_given_no_password_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONIONSHH_VIA", "socks5://bob:hunter2@127.0.0.1:1080")
    monkeypatch.setenv("ONIONSHH_NETWORK", "net.toml")
    said = await run_program(script(tmp_path, "echo $ONIONSHH_VIA $ONIONSHH_NETWORK"), b"")
    assert said == b"net.toml\n"
