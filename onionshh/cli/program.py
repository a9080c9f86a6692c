"""`host --exec`: one run of a program for each whisper, its output the reply."""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess

import trio

from onionshh.cli.failures import Usage
from onionshh.geometry import WHISPER_MAX

PROGRAM_SECONDS = 60.0
ENDING_SECONDS = 1.0


class ProgramFailed(Exception):
    """The run gave no reply; the reason in words."""


def parse_command(text: str) -> list[str]:
    """Program and arguments, quoted as in a shell, though no shell runs. Usage."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise Usage(f"--exec {text!r} cannot be read: {error}.") from error
    found = shutil.which(words[0]) if words else None
    if found is None:
        raise Usage(f"--exec needs a program that can be run, not {text!r}.")
    return [found, *words[1:]]


async def run_program(command: list[str], body: bytes, *, seconds: float = PROGRAM_SECONDS) -> bytes:
    """What the program writes to stdout when it gets `body` on stdin. ProgramFailed.

    It runs in a session of its own, which is ended as a whole when its time is up or we end.
    """
    try:
        process = await trio.lowlevel.open_process(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        raise ProgramFailed(f"the program cannot be started: {error.strerror}") from error
    ended = False
    try:
        with trio.move_on_after(seconds):
            output = await _converse(process, body)
            status = await process.wait()
            ended = True
    finally:
        if not ended:
            with trio.CancelScope(shield=True):
                await _end(process)
    if not ended:
        raise ProgramFailed(f"the program took more than {seconds:.0f} s")
    if status:
        raise ProgramFailed(f"the program ended with status {status}")
    return output


async def _converse(process: trio.Process, body: bytes) -> bytes:
    stdin, stdout = process.stdin, process.stdout
    if stdin is None or stdout is None:
        raise ProgramFailed("the program has no stdin or stdout")
    output = bytearray()
    async with stdin, stdout, trio.open_nursery() as nursery:

        async def feed() -> None:
            # A program need not read what it is given.
            with contextlib.suppress(trio.BrokenResourceError):
                await stdin.send_all(body)
            await stdin.aclose()

        nursery.start_soon(feed)
        while len(output) <= WHISPER_MAX and (part := await stdout.receive_some(65536)):
            output += part
        nursery.cancel_scope.cancel()
    if len(output) > WHISPER_MAX:
        await _end(process)
        raise ProgramFailed(f"the program's output is more than {WHISPER_MAX} bytes")
    return bytes(output)


async def _end(process: trio.Process) -> None:
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, number)
        with trio.move_on_after(ENDING_SECONDS):
            await process.wait()
