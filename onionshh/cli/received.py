"""`host --receive`: each transfer becomes a file in one folder.

A file is written beside its name, synced, and named when it is whole. Only then is the transfer finished. If
the program dies in between, the transfer is shown again, and its file is found. The sender decides nothing
about the name but the digits of the id. No file that is there already is ever replaced.
"""

from __future__ import annotations

import filecmp
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from functools import partial
from itertools import count
from pathlib import Path
from typing import Final

import trio

from onionshh.advice import advice
from onionshh.cli.failures import Usage
from onionshh.cli.handling import Patience
from onionshh.cli.log_lines import INFO
from onionshh.cli.talk import counted, note
from onionshh.cli.voice import Voice
from onionshh.client.endpoint import Endpoint
from onionshh.client.incoming import IncomingTransfer
from onionshh.errors import Closed
from onionshh.net.store import RunBlocking, run_in_thread, sync_folder

DIGITS: Final = 8
"""Of the id, in a file's name."""
TRANSFERS_LOOK_SECONDS: Final = 10.0


class ReceivedFiles:
    """The folder, which is made if it is not there. None: no files are made, and transfers wait on the
    endpoint's disk. Usage."""

    def __init__(self, folder: Path | None, run_blocking: RunBlocking = run_in_thread) -> None:
        self._run_blocking = run_blocking
        self._folder = _made(folder)
        self._waiting = trio.CancelScope()
        """The wait for the next transfer."""

    def move(self, folder: Path | None) -> None:
        """Files are made in this folder from the next one on, or no more are made. Usage."""
        before, self._folder = self._folder, _made(folder)
        if (before is None) != (folder is None):
            self._waiting.cancel()

    async def run(self, endpoint: Endpoint, voice: Voice) -> None:
        """Make files, until the endpoint is closed. While there is no folder, mention what waits."""
        patience, going_on = Patience("transfer"), True
        while going_on:
            incoming: IncomingTransfer | None = None
            with trio.CancelScope() as self._waiting:
                if self._folder is None:
                    await _mention(endpoint)
                else:
                    incoming = await patience.next_transfer(endpoint)
                going_on = incoming is not None
            if incoming is not None:
                going_on = await self._keep(incoming, patience, voice)

    async def _keep(self, incoming: IncomingTransfer, patience: Patience, voice: Voice) -> bool:
        """Make a file of it. False if the endpoint is closed: it is shown again when that runs again."""
        path: Path | None = None
        if not incoming.failed:
            try:
                path = await patience(lambda: self.save(incoming))
                await patience(incoming.done)
            except NoFolder:
                incoming.let_go()
                return True
            except Closed:
                return False
        voice.received(incoming, path)
        return True

    async def save(self, incoming: IncomingTransfer) -> Path:
        """Make a file of this transfer, if there is none by now. OSError, BadData, Closed, NoFolder."""
        folder = self._folder
        if folder is None:
            raise NoFolder
        rough = folder / f".{incoming.id}.part"
        try:
            descriptor = await self._run_blocking(partial(_new, rough))
            try:
                async for piece in incoming:
                    await self._run_blocking(partial(_write, descriptor, piece))
                await self._run_blocking(partial(os.fsync, descriptor))
            finally:
                os.close(descriptor)
            return await self._run_blocking(partial(_named, rough, _names(folder, incoming)))
        finally:
            with suppress(OSError):
                rough.unlink()


class NoFolder(Exception):
    """No files are made any more. The transfer waits on."""


def _made(folder: Path | None) -> Path | None:
    try:
        if folder is not None:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Usage(f"Cannot use {folder} for transfers: {error.strerror}{advice(error)}.") from error
    return folder


async def _mention(endpoint: Endpoint) -> None:
    """Nobody takes transfers, so their owner should hear of them. Returns once the endpoint is closed."""
    said = 0
    with suppress(Closed):
        while True:
            await trio.sleep(TRANSFERS_LOOK_SECONDS)
            waiting = endpoint.status().transfers
            if waiting > said:
                note(
                    f"{counted(waiting, 'transfer')} here or on the way; --receive DIR makes files of them.",
                    INFO,
                )
            said = waiting


def _names(folder: Path, incoming: IncomingTransfer) -> Iterator[Path]:
    """Names for it, the best one first."""
    when = time.strftime("%Y%m%d-%H%M%S", time.gmtime(incoming.received_at))
    yield folder / f"{when}-{incoming.id[:DIGITS]}"
    yield folder / f"{when}-{incoming.id}"
    for number in count(2):
        yield folder / f"{when}-{incoming.id}-{number}"


def _new(path: Path) -> int:
    """A new file that only its owner can read. What lay there is from a run that died."""
    with suppress(FileNotFoundError):
        path.unlink()
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _write(descriptor: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(descriptor, left) :]


def _named(rough: Path, names: Iterator[Path]) -> Path:
    """Give the file the first name that is free, or that has this content already."""
    while True:
        name = next(names)
        try:
            _take_name(rough, name)
        except FileExistsError:
            if name.is_file() and not name.is_symlink() and filecmp.cmp(rough, name, shallow=False):
                return name
        else:
            sync_folder(name.parent)
            return name


def _take_name(rough: Path, name: Path) -> None:
    """FileExistsError if the name is taken."""
    try:
        os.link(rough, name)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        if os.path.lexists(name):
            raise FileExistsError(name) from None
        os.rename(rough, name)
