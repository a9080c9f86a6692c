"""A socket in a data folder, by which programs of the same user ask the one that runs there.

One line asks, and one line answers; then the connection ends. Both are bounded in size and time, and so is
the number of connections. The socket is 0600. On Linux the kernel also says who asks, and others than our
user and root get no answer.

Whoever serves holds the folder's lock, so there is one at a time. A socket that a killed process left is
replaced. A path to a socket may have about a hundred bytes. Where a longer one is needed, the folder is
opened and the socket is found by way of `/proc/self/fd`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import stat
import struct
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

import trio

from onionshh.advice import advice
from onionshh.errors import Error
from onionshh.net.conditions import Condition

logger = logging.getLogger("onionshh.net")

NAME: Final = "status.sock"
REQUEST_BYTES: Final = 64
ANSWER_BYTES: Final = 1024 * 1024
SECONDS: Final = 5.0
"""For the whole of a connection, at both ends."""
CONNECTIONS: Final = 8
"""At once; further ones wait."""
PATH_BYTES: Final = 100
"""The system takes 103 or 107 bytes."""
_BACKLOG: Final = 16
_PAUSE_SECONDS: Final = 0.1
OPENED: Final = Path("/proc/self/fd")


Answers = Mapping[str, Callable[[], str]]
"""Request -> what makes the answer, one line."""


class NobodyThere(Error):
    """No process answers in this folder."""


@contextlib.contextmanager
def listening(folder: Path) -> Iterator[socket.socket]:
    """Our listening socket in the folder, whose lock we hold, until the block ends. Raises Error, OSError."""
    with _short(folder) as path:
        _remove_stale(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
            listener.setblocking(False)
            os.fchmod(listener.fileno(), 0o600)  # Linux gives the file this mode from the start
            listener.bind(str(path))
            ours = os.lstat(path)
            try:
                os.chmod(path, 0o600)
                listener.listen(_BACKLOG)
                yield listener
            finally:
                with contextlib.suppress(OSError):
                    there = os.lstat(path)
                    if (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino):
                        os.unlink(path)


async def serve(listener: socket.socket, answers: Answers) -> None:
    """Answer until cancelled."""
    places = trio.Semaphore(CONNECTIONS)
    no_room, fault = Condition(logger.warning), Condition(logger.error)

    async def connection(stream: trio.SocketStream) -> None:
        try:
            with trio.move_on_after(SECONDS):
                await _answer(stream, answers, fault)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass
        finally:
            places.release()
            await trio.aclose_forcefully(stream)

    accepting = trio.SocketListener(trio.socket.from_stdlib_socket(listener))
    async with trio.open_nursery() as nursery:
        while True:
            await places.acquire()
            try:
                stream = await accepting.accept()
            except OSError as error:
                places.release()
                no_room.holds(f"nobody can ask for our status now ({error.strerror})")
                await trio.sleep(_PAUSE_SECONDS)
            else:
                no_room.over("our status can be asked for again")
                nursery.start_soon(connection, stream)


async def _answer(stream: trio.SocketStream, answers: Answers, fault: Condition) -> None:
    if not may_ask(stream.socket):
        return
    request = bytearray()
    while b"\n" not in request:
        part = await stream.receive_some(REQUEST_BYTES)
        request += part
        if not part or len(request) > REQUEST_BYTES:
            return
    make = answers.get(request.partition(b"\n")[0].decode("ascii", "replace"))
    try:
        line = '{"error": "unknown request"}' if make is None else make()
        fault.over("our status can be told again")
    except Exception as error:  # a fault of ours in counting must not end what is counted
        fault.holds(f"our status could not be told ({type(error).__name__})")
        line = '{"error": "its numbers could not be taken"}'
    await stream.send_all(line.encode() + b"\n")


def ask(folder: Path, request: str, seconds: float = SECONDS) -> bytes:
    """What the program that runs in the folder answers, without the end of the line. Raises NobodyThere;
    Error when somebody is there and does not answer in time."""
    with _short(folder) as path, socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(seconds)
        try:
            _check(path, folder)
            stream.connect(str(path))
            stream.sendall(request.encode() + b"\n")
            return _line(stream, seconds)
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as error:
            raise NobodyThere(f"No relay, host or directory runs with the folder {folder}.") from error
        except (TimeoutError, BlockingIOError) as error:
            raise Error(
                f"The program that runs in {folder} does not answer within {seconds:.0f} s; it hangs, or this"
                " machine is very busy."
            ) from error
        except ConnectionError as error:
            raise Error(f"The program that runs in {folder} has just ended.") from error
        except OSError as error:
            raise Error(f"Cannot ask in {folder}: {error.strerror}{advice(error)}.") from error


def _line(stream: socket.socket, seconds: float) -> bytes:
    """The one line, in so many seconds for all of it."""
    end, data = time.monotonic() + seconds, bytearray()
    while b"\n" not in data:
        left = end - time.monotonic()
        if left <= 0:
            raise TimeoutError
        stream.settimeout(left)
        part = stream.recv(65536)
        if not part:
            raise ConnectionResetError
        data += part
        if len(data) > ANSWER_BYTES:
            raise Error("What answers there is not onionshh: its answer has no end.")
    return bytes(data.partition(b"\n")[0])


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[Path]:
    """The path of the socket in this folder, short enough for the system. Raises Error."""
    path = folder / NAME
    if len(os.fsencode(path)) <= PATH_BYTES:
        yield path
        return
    if not OPENED.is_dir():
        raise Error(
            f"The path {path} is too long for a socket: it may have {PATH_BYTES} bytes. Use a folder nearer"
            " to the root, or begin in the folder above and give its name alone."
        )
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NobodyThere(f"No relay, host or directory runs with the folder {folder}.") from error
    except OSError as error:
        raise Error(f"Cannot use {folder}: {error.strerror}{advice(error)}.") from error
    try:
        yield OPENED / str(descriptor) / NAME
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    """Remove what a killed process left; Error if it is something else."""
    try:
        about = os.lstat(path)
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(about.st_mode):
        raise Error(f"{NAME} there is not a socket; remove it.")
    os.unlink(path)


def _check(path: Path, folder: Path) -> None:
    """Error unless the socket is ours, or root's, or we are root."""
    about = os.lstat(path)
    if not stat.S_ISSOCK(about.st_mode):
        raise Error(f"{folder / NAME} is not a socket; remove it.")
    if os.geteuid() and about.st_uid not in (os.geteuid(), 0):
        raise Error(f"{folder} is used by another user of this machine; ask as that user.")


def may_ask(peer: trio.socket.SocketType) -> bool:
    """Whether the process at the other end is of our user, or root's. Where the system does not say, the
    socket's mode decides alone."""
    if not hasattr(socket, "SO_PEERCRED"):
        return True
    layout = struct.Struct("3i")
    _, uid, _ = layout.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, layout.size))
    return uid in (os.geteuid(), 0)
