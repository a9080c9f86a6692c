"""The directory: a relay's word about itself, and its HTTP server with the real application behind it."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio
from trio.testing import MockClock, memory_stream_pair

from onionshh.directory import state_1, state_2
from onionshh.directory.app import app
from onionshh.directory.authority import DirectoryAuthority
from onionshh.net.clocks import Clock
from onionshh.net.http import Limits, serve_connection
from onionshh.net.store import run_inline
from onionshh.wire import descriptor as wire_descriptor
from tests.directory import old
from tests.directory.world import WALL, Prober, one_machine, signed, store_in
from tests.fuzz.doors import CERTIFIED_BODY, certified_document, relay_document
from tests.fuzz.target import Left, Target
from tests.seeded import seeded

_LIMITS = Limits(head_bytes=4096, body_bytes=8192, pieces=64, requests=4)
_LOG = logging.getLogger("onionshh.directory")
_SOURCE = "192.0.2.1"
_IN_MEMORY = "/dev/shm" if Path("/dev/shm").is_dir() else None
"""A folder that takes no time to sync, where the system has one."""


class _Heard(logging.Handler):
    """Keeps what went wrong inside: the server logs it and ends that connection alone."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.said: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record)


def _authority(folder: str) -> DirectoryAuthority:
    return DirectoryAuthority(
        store_in(Path(folder)),
        params=one_machine(),
        clock=Clock(WALL),
        probe=Prober(),
        random_bytes=seeded(1),
        run_blocking=run_inline,
    )


def _in_folder(work: Callable[[str], Awaitable[None]]) -> None:
    """In virtual time, with a data folder of its own."""
    with tempfile.TemporaryDirectory(prefix="onionshh-fuzz-", dir=_IN_MEMORY) as folder:
        trio.run(work, folder, clock=MockClock(autojump_threshold=0))


def _submit(data: bytes) -> None:
    async def work(folder: str) -> None:
        _authority(folder).submit_untrusted(data, _SOURCE)

    _in_folder(work)


def _serve(data: bytes) -> None:
    """A whole connection: these bytes, then its end. Nothing may be raised, nor logged as an error."""

    async def work(folder: str) -> None:
        authority = _authority(folder)
        await authority.publish()
        ours, theirs = memory_stream_pair()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_read_all, ours)
            nursery.start_soon(_say, ours, data)
            await serve_connection(
                app(authority), theirs, peer=(_SOURCE, 4711), wall=lambda: WALL, limits=_LIMITS
            )

    heard = _Heard()
    _LOG.addHandler(heard)
    try:
        _in_folder(work)
    finally:
        _LOG.removeHandler(heard)
    for record in heard.said:
        raise Left(record.getMessage()) from (record.exc_info[1] if record.exc_info else None)


async def _say(stream: trio.abc.HalfCloseableStream, data: bytes) -> None:
    with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
        if data:
            await stream.send_all(data)
        await stream.send_eof()


async def _read_all(stream: trio.abc.Stream) -> None:
    with contextlib.suppress(trio.BrokenResourceError):
        while await stream.receive_some(65536):
            pass


_RELAY = signed(1)
_RELAY_BODY = wire_descriptor.split_untrusted(_RELAY)[0]


def _request(start: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join((f"{start} HTTP/1.1", "Host: d", *headers, "", "")).encode() + body


DIRECTORY = (
    Target("directory.state_1.brought_up_untrusted", state_1.brought_up_untrusted, (old.state(),)),
    Target("directory.state_2.brought_up_untrusted", state_2.brought_up_untrusted, (old.state_2(),)),
    Target("directory.authority.DirectoryAuthority.submit_untrusted", _submit, (_RELAY,)),
    Target(
        "directory.authority.DirectoryAuthority.submit_untrusted:signed",
        lambda data: _submit(relay_document(data)),
        (_RELAY_BODY,),
    ),
    Target(
        "directory.authority.DirectoryAuthority.submit_untrusted:certified",
        lambda data: _submit(certified_document(data)),
        (CERTIFIED_BODY,),
    ),
    Target(
        "directory.http.serve_connection",
        _serve,
        (
            _request("GET /")
            + _request("GET /consensus", 'If-None-Match: "x"')
            + _request("HEAD /relays")
            + _request("GET /unlisted"),
            _request("POST /relay", f"Content-Length: {len(_RELAY)}", "Expect: 100-continue", body=_RELAY),
            _request("POST /relay", "Transfer-Encoding: chunked", body=b"5\r\nhello\r\n0\r\n\r\n"),
            _request(f"GET /relay/{'0' * 64}?q=%41"),
            _request("GET http://d/relay/%zz%00", "Connection: close"),
        ),
    ),
)
