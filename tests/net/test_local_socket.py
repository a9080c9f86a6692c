"""The socket in a data folder: who is answered, what a slow or wrong asker can do, what is left behind."""

from __future__ import annotations

import os
import socket
import stat
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import pytest
import trio

from onionshh.errors import Error
from onionshh.net import local_socket
from onionshh.net.local_socket import ANSWER_BYTES, CONNECTIONS, NAME, NobodyThere, ask, listening, serve


def fault() -> str:
    raise LookupError("192.0.2.7")


@asynccontextmanager
async def serving(folder: Path) -> AsyncIterator[None]:
    with listening(folder) as listener:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, listener, {"status": lambda: '{"well": 1}', "fault": fault})
            yield
            nursery.cancel_scope.cancel()


async def asking(folder: Path, request: str = "status") -> bytes:
    return await trio.to_thread.run_sync(ask, folder, request)


@contextmanager
def answering(folder: Path, data: bytes) -> Iterator[None]:
    """Something that is not onionshh: it says this to the first who comes, and goes on holding the line."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / NAME))
        listener.listen()
        done = threading.Event()

        def run() -> None:
            stream, _ = listener.accept()
            with stream:
                try:
                    stream.sendall(data)
                except OSError:
                    return
                done.wait()

        thread = threading.Thread(target=run)
        thread.start()
        yield
        done.set()
        thread.join()


async def test_one_line_asks_and_one_line_answers(tmp_path: Path) -> None:
    async with serving(tmp_path):
        about = os.lstat(tmp_path / NAME)
        assert stat.S_ISSOCK(about.st_mode)
        assert stat.S_IMODE(about.st_mode) == 0o600
        for _ in range(3):
            assert await asking(tmp_path) == b'{"well": 1}'
        assert await asking(tmp_path, "other") == b'{"error": "unknown request"}'
    assert not list(tmp_path.iterdir())
    with pytest.raises(NobodyThere, match="No relay, host or directory runs with"):
        ask(tmp_path, "status")


async def test_a_fault_in_counting_ends_nothing_and_is_said_once_without_details(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(tmp_path):
        for _ in range(2):
            assert b"error" in await asking(tmp_path, "fault")
        assert await asking(tmp_path) == b'{"well": 1}'
    assert caplog.messages == ["our status could not be told (LookupError)", "our status can be told again"]


async def test_a_path_that_is_too_long_for_a_socket_works_too(tmp_path: Path) -> None:
    folder = tmp_path / ("a" * 100) / ("b" * 100)
    folder.mkdir(parents=True)
    async with serving(folder):
        assert await asking(folder) == b'{"well": 1}'
    assert not list(folder.iterdir())
    with pytest.raises(NobodyThere):
        ask(folder, "status")
    with pytest.raises(NobodyThere):
        ask(folder / "missing", "status")


async def test_without_proc_a_long_path_gets_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_socket, "OPENED", tmp_path / "missing")
    folder = tmp_path / ("a" * 100)
    folder.mkdir()
    with pytest.raises(Error, match="too long for a socket: it may have 100 bytes"), listening(folder):
        pass


async def test_what_a_killed_process_left_is_replaced(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(tmp_path / NAME))
    with pytest.raises(NobodyThere):
        ask(tmp_path, "status")
    async with serving(tmp_path):
        assert await asking(tmp_path) == b'{"well": 1}'


async def test_another_file_of_this_name_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / NAME).write_text("mine")
    with pytest.raises(Error, match=r"status\.sock there is not a socket; remove it"), listening(tmp_path):
        pass
    with pytest.raises(Error, match="is not a socket"):
        ask(tmp_path, "status")
    assert (tmp_path / NAME).read_text() == "mine"


async def test_one_that_somebody_else_made_since_is_not_removed(tmp_path: Path) -> None:
    async with serving(tmp_path):
        os.rename(tmp_path / NAME, tmp_path / "ours")
        with socket.socket(socket.AF_UNIX) as other:
            other.bind(str(tmp_path / NAME))
    assert (tmp_path / NAME).exists()


async def test_those_who_say_nothing_or_too_much_hold_up_nobody_for_long(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local_socket, "SECONDS", 0.2)
    async with serving(tmp_path):
        silent = [await trio.open_unix_socket(tmp_path / NAME) for _ in range(CONNECTIONS)]
        assert await asking(tmp_path) == b'{"well": 1}'
        for stream in silent:
            assert await stream.receive_some(10) == b""
            await stream.aclose()
        async with await trio.open_unix_socket(tmp_path / NAME) as stream:
            await stream.send_all(b"x" * 65)
            with pytest.raises(trio.BrokenResourceError):
                await stream.receive_some(10)
                await stream.send_all(b"more")
                await stream.receive_some(10)
        assert await asking(tmp_path) == b'{"well": 1}'


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (b'{"half": ', "does not answer within 0 s"),
        (b"x" * (ANSWER_BYTES + 100_000), "its answer has no end"),
    ],
)
def test_an_answer_is_not_waited_for_without_end(tmp_path: Path, said: bytes, sentence: str) -> None:
    with answering(tmp_path, said), pytest.raises(Error, match=sentence):
        ask(tmp_path, "status", 0.3)


async def test_nobody_but_our_user_and_root_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    us = os.geteuid()
    async with serving(tmp_path):
        with monkeypatch.context() as patch:
            patch.setattr(os, "geteuid", lambda: us + 1)
            if us:  # root may always ask
                with pytest.raises(Error):
                    await asking(tmp_path)
            else:
                assert await asking(tmp_path)
            patch.setattr(local_socket, "may_ask", lambda _: False)
            with pytest.raises(Error):
                await asking(tmp_path)
