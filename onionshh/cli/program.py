"""`host --exec`: one run of a program per whisper; its output is the reply.

A program that ends by itself has handled the whisper. A program that could not be started or did not end by
itself has not. Neither has one that says so by its status (75, or 126 and 127 as a shell uses them). Then the
whisper waits for another run.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess
import sys
import termios
from pathlib import Path

import trio

from onionshh.cli.failures import Usage
from onionshh.cli.handling import NotHandled
from onionshh.cli.remarks import why_refused
from onionshh.geometry import WHISPER_MAX

PASSWORDS = frozenset({"ONIONSHH_VIA", "ONIONSHH_TOR_PASSWORD"})
"""Variables of ours that may have a password in them: no program is given them."""
PROGRAM_SECONDS = 60.0
ENDING_SECONDS = 1.0
NOT_HANDLED = {
    os.EX_TEMPFAIL: "asks for another run (status 75)",
    126: "could not run a command (status 126)",
    127: "did not find a command (status 127)",
}


class ProgramFailed(Exception):
    """The program has handled the whisper and gives no reply. The message is the reason, in words."""


def parse_command(text: str) -> list[str]:
    """Program and arguments, quoted as in a shell, though no shell runs. Usage."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Usage(f"--exec {text!r} cannot be read: {error}.") from error
    found = shutil.which(words[0]) if words else None
    if found is None:
        raise Usage(f"--exec needs a program that can be run, and {text!r} is not one: {_why_not(words)}.")
    return [found, *words[1:]]


def _why_not(words: list[str]) -> str:
    if not words:
        return "it names no program"
    program = Path(words[0])
    if program.is_dir():
        return f"{program} is a folder"
    if program.exists():
        return f"{program} may not be run (chmod +x {program})"
    return f"there is no {program}" + ("" if program.parent.name else " where programs are looked for (PATH)")


async def run_program(command: list[str], body: bytes, *, seconds: float = PROGRAM_SECONDS) -> bytes:
    """What the program writes to stdout when it gets `body` on stdin. NotHandled, ProgramFailed.

    The program runs in a session of its own, which is ended as a whole when its time is up or we end. A run
    ends when the program itself ends: processes that it leaves behind go on, and only output until then is
    taken.
    """
    try:
        process = await trio.lowlevel.open_process(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            env={name: value for name, value in os.environ.items() if name not in PASSWORDS},
        )
    except (OSError, MemoryError, RuntimeError) as error:  # RuntimeError: no thread can be had
        raise NotHandled(f"the program cannot be started: {why_refused(error)}") from error
    output = bytearray()
    try:
        with trio.move_on_after(seconds):
            await _converse(process, body, output)
        late = process.poll() is None and len(output) <= WHISPER_MAX
    finally:
        if process.poll() is None:
            with trio.CancelScope(shield=True):
                await _end(process)
    if late:
        raise NotHandled(f"the program took more than {seconds:.0f} s")
    if len(output) > WHISPER_MAX:
        raise NotHandled(f"the program's output is more than {WHISPER_MAX} bytes")
    status = process.returncode or 0
    if status < 0:
        raise NotHandled(f"the program was ended by signal {-status}")
    if status in NOT_HANDLED:
        raise NotHandled(f"the program {NOT_HANDLED[status]}")
    if status:
        raise ProgramFailed(f"the program ended with status {status}")
    return bytes(output)


async def _converse(process: trio.Process, body: bytes, output: bytearray) -> None:
    """Feed the program and read it, until it has ended or its output is too large."""
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise NotHandled("the program has no stdin or stdout")
    async with stdin, stdout, trio.open_nursery() as nursery:
        reading = trio.CancelScope()

        @nursery.start_soon
        async def feed() -> None:
            # A program need not read what it is given.
            with contextlib.suppress(trio.BrokenResourceError):
                await stdin.send_all(body)
            await stdin.aclose()

        @nursery.start_soon
        async def until_ended() -> None:
            await process.wait()
            reading.cancel()

        with reading:
            while len(output) <= WHISPER_MAX and (part := await stdout.receive_some(65536)):
                output += part
        if len(output) <= WHISPER_MAX:
            await process.wait()
            # Processes it left behind may hold its stdout and go on writing: nothing of that is taken.
            left = bytes_waiting(stdout)
            while left and (part := await stdout.receive_some(left)):
                output += part
                left -= len(part)
        nursery.cancel_scope.cancel()


def bytes_waiting(pipe: trio.abc.ReceiveStream) -> int:
    """How many bytes wait in a pipe at this moment."""
    if not isinstance(pipe, trio.lowlevel.FdStream):
        return 0
    count = fcntl.ioctl(pipe.fileno(), termios.FIONREAD, bytes(4))
    return int.from_bytes(count, sys.byteorder)


async def _end(process: trio.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with trio.move_on_after(ENDING_SECONDS):
            await process.wait()
